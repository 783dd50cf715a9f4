from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.dataset import face_dataset as data
from x2c_edge import controls
from x2c_edge.face.crop_geometry import affine_from_landmarks, eye_roll, invert, transform
from x2c_edge.pipelines.rotation import about_view, rotation_matrix

SIZE = 64
EXACT = data.Jitter()


def landmarks(seed: int, roll: float = 0.0) -> np.ndarray:
    """A scattered but plausible face in a 192 pixel picture: eyes level, then turned by ``roll``."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(60, 130, (len(data.IDS), 2))
    for i, at in ((33, (70, 80)), (133, (85, 80)), (362, (105, 80)), (263, (120, 80))):
        points[data.IDS.index(i)] = at
    c, s = np.cos(roll), np.sin(roll)
    return (points - 96) @ np.array([[c, s], [-s, c]]) + 96


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@given(st.integers(0, 1000), st.floats(-1.5, 1.5))
def test_the_crop_is_the_runtime_s(seed: int, roll: float):
    points = landmarks(seed, roll)
    affine, angle = data.crop_affine(points, SIZE, EXACT, rng())
    right = points[[data.IDS.index(33), data.IDS.index(133)]].mean(0)
    left = points[[data.IDS.index(263), data.IDS.index(362)]].mean(0)
    assert angle == pytest.approx(roll, abs=1e-9)
    assert angle == pytest.approx(eye_roll(right, left))
    np.testing.assert_allclose(affine, affine_from_landmarks(points, angle, SIZE, data.CROP_SCALE), atol=1e-9)


@given(st.integers(0, 1000), st.floats(-1.5, 1.5))
def test_the_landmarks_box_fills_the_crop_s_middle(seed: int, roll: float):
    points = landmarks(seed, roll)
    affine, _ = data.crop_affine(points, SIZE, EXACT, rng())
    inside = data.to_crop(points, affine)
    low, high = inside.min(0), inside.max(0)
    np.testing.assert_allclose((low + high) / 2, (SIZE - 1) / 2, atol=1e-6)
    assert (high - low).max() == pytest.approx(SIZE / data.CROP_SCALE)
    np.testing.assert_allclose(transform(inside, affine), points, atol=1e-9)
    np.testing.assert_allclose(transform(points, invert(affine)), inside, atol=1e-6)


def test_jitter_moves_turns_and_zooms_by_what_it_says():
    points, generator = landmarks(0), rng()
    made = [data.crop_affine(points, SIZE, data.Jitter(0.1, 8.0, 0.05), generator) for _ in range(800)]
    exact, _ = data.crop_affine(points, SIZE, EXACT, rng())
    zoom = np.array([np.hypot(a[0, 0], a[1, 0]) for a, _ in made]) / exact[0, 0]
    assert np.log(zoom).std() == pytest.approx(0.1, rel=0.15)
    assert np.degrees([angle for _, angle in made]).std() == pytest.approx(8, rel=0.15)
    middle = np.array([(SIZE - 1) / 2] * 2)
    side = exact[0, 0] * SIZE
    shifts = np.array([transform(middle, a) - transform(middle, exact) for a, _ in made]) / side
    assert shifts.std(0) == pytest.approx([0.05, 0.05], rel=0.4)


def test_a_crop_shows_what_the_labels_point_at():
    """A white spot on a landmark is found in the crop where ``to_crop`` says."""
    for seed in range(5):
        points = landmarks(seed, 0.3 * seed)
        image = np.zeros((192, 192, 3), np.uint8)
        spot = points[data.IDS.index(4)]
        yy, xx = np.mgrid[0:192, 0:192]
        image[..., :] = (255 * np.exp(-((xx - spot[0]) ** 2 + (yy - spot[1]) ** 2) / 8))[..., None]
        affine, _ = data.crop_affine(points, SIZE, data.Jitter(0.05, 5, 0.02), rng())
        crop = data.sample(image, affine, SIZE)[..., 0].astype(float)
        assert crop.max() > 100
        yy, xx = np.mgrid[0:SIZE, 0:SIZE]
        centroid = np.array([(crop * xx).sum(), (crop * yy).sum()]) / crop.sum()
        np.testing.assert_allclose(centroid, data.to_crop(spot, affine), atol=0.2)


def test_outside_the_picture_a_crop_is_black():
    image = np.full((192, 192, 3), 200, np.uint8)
    crop = data.sample(image, data.similarity(np.array([500.0, 500.0]), 0.0, 1.0, SIZE), SIZE)
    assert not crop.any()


@given(st.floats(-3, 3), st.floats(-1.5, 1.5), st.floats(-3, 3))
def test_rotations_are_the_pipeline_s(yaw: float, pitch: float, roll: float):
    ypr = np.array([[yaw, pitch, roll]])
    rotation = data.rotation_from_angles(ypr)
    np.testing.assert_allclose(rotation[0], rotation_matrix(yaw, pitch, roll), atol=1e-12)
    np.testing.assert_allclose(data.angles_from_rotation(rotation), ypr, atol=1e-9)
    np.testing.assert_allclose(data.roll_matrix(np.array([roll]))[0], about_view(roll), atol=1e-12)


def test_mirror_columns_swap_sides_and_are_their_own_inverse():
    names = ["jawLeft", "jawOpen", "jawRight", "eyeLookInLeft", "eyeLookInRight"]
    columns = data.mirror_columns(names)
    assert columns == [2, 1, 0, 4, 3]
    np.testing.assert_array_equal(np.array(columns)[columns], range(5))


@settings(max_examples=60)
@given(st.integers(0, 100_000))
def test_spoiled_crops_stay_pictures(seed: int):
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (192, 192, 3), dtype=np.uint8)
    for crop in (data.no_face(image, SIZE, generator), data.roughen(image[:SIZE, :SIZE].copy(), generator)):
        assert crop.shape == (SIZE, SIZE, 3)
        assert crop.dtype == np.uint8


def test_spoiling_is_repeatable_and_various(portrait: np.ndarray):
    image = cv2.resize(portrait, (192, 192))

    def series(seed: int) -> list[bytes]:
        generator = np.random.default_rng(seed)
        return [data.no_face(image, SIZE, generator).tobytes() for _ in range(20)]

    assert series(1) == series(1)
    assert len(set(series(1))) == 20


def test_the_validation_split_is_as_its_readme_says(shared):
    faces = data.load("val")
    n = len(faces.images)
    assert n == 406
    assert all(image.shape == (192, 192, 3) for image in faces.images)
    assert faces.points.shape == (n, len(data.IDS), 2)
    assert faces.controls.shape == faces.mirrored_controls.shape == (n, 30)
    np.testing.assert_allclose(
        faces.rotation @ faces.rotation.transpose(0, 2, 1), np.tile(np.eye(3), (n, 1, 1)), atol=1e-6
    )
    box = faces.points.max(1) - faces.points.min(1)
    assert 85 < np.median(box.max(1)) <= 97  # the box of all 478 landmarks is 96 pixels
    head = [c.index for c in controls.CONTROLS if c.group == "head"]
    np.testing.assert_array_equal(faces.controls[:, head], 0)
    assert np.isfinite(faces.controls).all()
    # The mirror image's labels are the labels' mirror image.
    np.testing.assert_allclose(faces.mirrored_controls, controls.mirrored(faces.controls), atol=1e-9)
