from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.manifest import edit_manifest
from x2c_edge import packs
from x2c_edge.backends.open import open_backend
from x2c_edge.controls import N_CONTROLS
from x2c_edge.errors import NotFoundError
from x2c_edge.face.crop_geometry import Square, square_affine, transform
from x2c_edge.face.follow import FaceFollower
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.pipelines.rotation import angles
from x2c_edge.pipelines.single_stage import SingleStagePipeline
from x2c_edge.pipelines.tracker import sharpness


@pytest.fixture
def pipeline(small_pack: Path) -> SingleStagePipeline:
    return SingleStagePipeline(packs.open_pack(str(small_pack)), open_backend("torch", 1))


def crop(image: np.ndarray, roll: float = 0.0, side: float = 150.0) -> FaceCrop:
    return FaceCrop(Frame(4, 99, image), square_affine(Square(108, 92, side, roll), 32), 32, 1.0)


def test_it_knows_its_crop_and_its_steps(pipeline: SingleStagePipeline):
    assert (pipeline.name, pipeline.crop_size, pipeline.crop_scale) == ("single-stage", 32, 1.4)
    assert pipeline.plan.names == ["crop", "net", "decode"]


def test_a_measurement_has_the_shapes_of_its_docstring(pipeline: SingleStagePipeline, portrait: np.ndarray):
    m = pipeline.measure(crop(portrait))
    assert m.values.shape == (N_CONTROLS,)
    assert m.landmarks.shape == (len(LANDMARK_IDS), 2)
    assert m.values.dtype == m.landmarks.dtype == np.float64
    np.testing.assert_allclose(m.rotation @ m.rotation.T, np.eye(3), atol=1e-9)
    assert 0 < m.presence < 1
    assert m.sharpness > 0.035
    assert (pipeline.plan.durations_ns > 0).all()


def test_landmarks_are_in_frame_pixels(pipeline: SingleStagePipeline, portrait: np.ndarray):
    """The small net puts the eyes' corners at fixed places of the crop, whatever the crop's place."""
    for roll in (0.0, 0.4):
        c = crop(portrait, roll)
        m = pipeline.measure(c)
        at = 15.5 + 16 * np.array([[-0.4, -0.2], [0.4, -0.2]])
        expected = transform(at, c.affine)
        found = m.landmarks[[LANDMARK_IDS.index(33), LANDMARK_IDS.index(263)]]
        np.testing.assert_allclose(found, expected, atol=10)  # of a side of 150: its random part


def test_the_crop_s_roll_is_taken_out_of_the_pose(pipeline: SingleStagePipeline, portrait: np.ndarray):
    """A clockwise crop sees the head turned anticlockwise; the measurement is in the frame's axes."""
    upright = pipeline.measure(crop(portrait))
    roll = 0.3
    m = pipeline.measure(crop(portrait, roll))
    # The small net sees nearly the same pose in every crop, so the frame's pose turns with the crop.
    turned = math.remainder(angles(m.rotation)[2] - angles(upright.rotation)[2], 2 * math.pi)
    assert turned == pytest.approx(-roll, abs=0.1)


def test_the_same_crop_gives_the_same_measurement(pipeline: SingleStagePipeline, portrait: np.ndarray):
    first = pipeline.measure(crop(portrait))
    pipeline.measure(crop(portrait[::-1].copy()))
    again = pipeline.measure(crop(portrait))
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)


def test_an_earlier_measurement_is_not_overwritten(pipeline: SingleStagePipeline, portrait: np.ndarray):
    first = pipeline.measure(crop(portrait))
    kept = first.values.copy(), first.landmarks.copy()
    pipeline.measure(crop(portrait[::-1].copy()))
    np.testing.assert_array_equal(first.values, kept[0])
    np.testing.assert_array_equal(first.landmarks, kept[1])


def test_a_large_face_is_not_aliased(pipeline: SingleStagePipeline):
    """One pixel stripes of a face that fills 600 pixels must come out grey, not as a pattern."""
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    c = FaceCrop(Frame(0, 0, stripes), square_affine(Square(320, 320, 32 * 4.0), 32), 32, 1.0)
    m = pipeline.measure(c)
    plain = pipeline.measure(FaceCrop(Frame(0, 0, np.full_like(stripes, 128)), c.affine, 32, 1.0))
    np.testing.assert_allclose(m.values, plain.values, atol=0.02)


@pytest.mark.parametrize("scale", [None, "wide", 0.0, -1.4, float("nan"), 1e9])
def test_a_crop_scale_that_makes_no_sense(small_pack: Path, scale: object):
    options = {} if scale is None else {"crop_scale": scale}
    edit_manifest(small_pack, lambda m: m["nets"]["single_stage"].update(options=options))
    with pytest.raises(NotFoundError, match="crop_scale") as error:
        SingleStagePipeline(packs.open_pack(str(small_pack)), open_backend("torch", 1))
    assert "\n" not in str(error.value)


def test_a_pack_for_another_pipeline(small_pack: Path):
    edit_manifest(small_pack, lambda m: m.update(nets={"other": m["nets"]["single_stage"]}))
    with pytest.raises(NotFoundError, match="no single-stage net"):
        SingleStagePipeline(packs.open_pack(str(small_pack)), open_backend("torch", 1))


def test_sharpness_tells_blur_from_detail(portrait: np.ndarray):
    def of(sigma: float) -> float:
        grey = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)
        face = cv2.resize(grey[40:150, 50:160], (128, 128), interpolation=cv2.INTER_AREA)
        if sigma:
            face = cv2.GaussianBlur(face, (0, 0), sigma)
        return sharpness(face.astype(np.float32) / 255)

    assert of(0) > of(1.5) > of(4)
    assert of(10) < 0.035 < of(0)  # the calibration's threshold: a face out of all focus
    assert sharpness(np.zeros((8, 8), np.float32)) == 0


def test_the_shipped_network_sees_the_portrait(real_pack: str, portrait: np.ndarray):
    pack = packs.open_pack(real_pack)
    pipeline = SingleStagePipeline(pack, open_backend("torch", 1))
    follower = FaceFollower(LANDMARK_IDS)
    frame = Frame(0, 0, portrait)
    m = None
    for _ in range(3):
        found = follower.locate(frame)
        assert found is not None
        m = pipeline.measure(found)
        assert follower.update(found, m.landmarks, m.presence)
    assert m.presence > 0.9
    right, left = m.landmarks[LANDMARK_IDS.index(468)], m.landmarks[LANDMARK_IDS.index(473)]
    assert right[0] < left[0]
    np.testing.assert_allclose((right + left) / 2, [106, 84], atol=8)  # between the eyes, by eye
    assert np.abs(np.degrees(angles(m.rotation))).max() < 25
