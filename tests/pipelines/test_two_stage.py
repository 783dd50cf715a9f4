"""The two-stage pipeline at small sizes against the published arithmetic, and its references."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tests import published_files as files
from tools.bench.plain_two_stage import PlainTwoStage
from x2c_edge import packs
from x2c_edge.backends.open import open_backend
from x2c_edge.controls import NEUTRAL
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.face.crop_geometry import affine_from_box
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.nets import arch
from x2c_edge.nets.landmarks import LANDMARK_IDS, OVAL
from x2c_edge.pipelines.calibration import CalibrationSettings, Calibrator
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.motion_crop import motion_affine, motion_square
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.retargeter import MotionSettings, Neutral, Retargeter
from x2c_edge.pipelines.two_stage import TwoStagePipeline


@pytest.fixture(scope="session")
def states():
    return files.random_states()


@pytest.fixture(scope="session")
def _pack_folder(states, _packs_folder, tmp_path_factory):
    return files.two_stage_pack(tmp_path_factory.mktemp("two-stage"), states, _packs_folder / "small")


@pytest.fixture(scope="session")
def pack(_pack_folder):
    return packs.open_pack(str(_pack_folder))


@pytest.fixture(scope="session")
def pipeline(pack):
    return TwoStagePipeline(pack, open_backend("torch", 1))


@pytest.fixture
def frames(portrait):
    """Three faces."""
    turned = cv2.warpAffine(portrait, cv2.getRotationMatrix2D((120, 120), 9, 1.1), (240, 240))
    return [
        Frame(i, i * 10**7, image) for i, image in enumerate((portrait, turned, portrait[:, ::-1].copy()))
    ]


def crop_of(frame: Frame) -> FaceCrop:
    return FaceCrop(frame, affine_from_box(70, 40, 100, 120, 32, 1.4), 32, 1.0)


def neutral(pipeline, frame) -> Reference:
    pipeline.refer_to(None)
    m = pipeline.measure(crop_of(frame))
    assert m.motion is not None
    return Reference(m.values, m.rotation, m.motion)


@pytest.fixture
def plain(pack, states):
    nets = {}
    for kind in files.FILES:
        config = files.SMALL.mapping[0] if kind == "mapping" else getattr(files.SMALL, kind)
        nets[kind] = arch.ARCHS[kind].net(config).eval().requires_grad_(False)
        nets[kind].load_state_dict(states[kind])
    picture = cv2.imread(str(pack.files["robot_image"].file))[..., ::-1]
    return PlainTwoStage(nets, picture, pack.nets["mapping"].picture)


def test_controls_are_those_of_the_published_arithmetic(pipeline, plain, frames):
    reference = neutral(pipeline, frames[0])
    plain.refer_to(torch.from_numpy(pipeline._face.copy()))
    pipeline.refer_to(reference)
    seen = []
    for frame in frames:
        m = pipeline.measure(crop_of(frame))
        assert m.relative
        expected = plain.measure(torch.from_numpy(pipeline._face.copy()))
        np.testing.assert_allclose(pipeline._image, plain.image, atol=2e-5)
        np.testing.assert_allclose(m.values, expected, atol=2e-5)
        seen.append(m.values)
    assert np.abs(seen[0] - seen[1]).max() > 1e-4


def test_the_reference_itself_leaves_the_robot_s_picture_alone(pipeline, frames):
    pipeline.refer_to(neutral(pipeline, frames[0]))
    pipeline.measure(crop_of(frames[0]))
    np.testing.assert_allclose(pipeline._kp_moved, pipeline.kp_source, atol=2e-6)


def test_the_multiplier_of_a_reference_is_one(pack, pipeline, frames):
    reference = neutral(pipeline, frames[0])
    scaled = TwoStagePipeline(pack, open_backend("torch", 1), multiplier=True)
    for p in (pipeline, scaled):
        p.refer_to(reference)
    crop = crop_of(frames[1])
    np.testing.assert_allclose(pipeline.measure(crop).values, scaled.measure(crop).values, atol=1e-5)


def test_without_a_reference_only_the_motion_is_measured(pipeline, frames):
    neutral(pipeline, frames[0])
    ran = dict(zip(pipeline.plan.names, pipeline.plan.durations_ns, strict=True))
    assert ran["keypoints"] > 0
    assert ran["generator"] == 0
    m = pipeline.measure(crop_of(frames[0]))
    assert not m.relative
    assert m.robot_face is None


def test_a_crop_without_a_face_stops_after_the_tracker(pack, tmp_path, frames):
    weights = load_file(pack.nets["single_stage"].file)
    weights["face.bias"] = weights["face.bias"].copy()
    weights["face.bias"][0] = -8
    file = tmp_path / "blind.safetensors"
    save_file(weights, file)
    net = replace(pack.nets["single_stage"], file=file)
    pipeline = TwoStagePipeline(
        replace(pack, nets=pack.nets | {"single_stage": net}), open_backend("torch", 1)
    )
    m = pipeline.measure(crop_of(frames[0]))
    assert m.presence < 0.1
    assert m.motion is None
    assert np.count_nonzero(pipeline.plan.durations_ns) == 1


def test_the_robot_s_face_is_made_when_asked_for(pack, pipeline, frames):
    reference = neutral(pipeline, frames[0])
    keeping = TwoStagePipeline(pack, open_backend("torch", 1), keep_face=True)
    for p in (pipeline, keeping):
        p.refer_to(reference)
    assert pipeline.measure(crop_of(frames[1])).robot_face is None
    face = keeping.measure(crop_of(frames[1])).robot_face
    assert face.dtype == np.uint8
    np.testing.assert_array_equal(face, (keeping._image[0].transpose(1, 2, 0) * 255).astype(np.uint8))


def test_radians_stay_radians(pack, frames, pipeline):
    reference = neutral(pipeline, frames[0])
    net = replace(pack.nets["mapping"], options={"angle_unit": "radian"})
    other = TwoStagePipeline(replace(pack, nets=pack.nets | {"mapping": net}), open_backend("torch", 1))
    for p in (pipeline, other):
        p.refer_to(reference)
    degrees, radians = (p.measure(crop_of(frames[1])).values for p in (pipeline, other))
    np.testing.assert_allclose(np.radians(radians[8:13]), degrees[8:13], rtol=1e-5)
    np.testing.assert_allclose(radians[13:27], degrees[13:27], rtol=1e-5)


def test_bf16_is_close(pack, pipeline, frames):
    try:
        backend = open_backend("torch", 1, bf16=True)
    except BadArgumentError:
        pytest.skip("no bfloat16 here")
    reference = neutral(pipeline, frames[0])
    rough = TwoStagePipeline(pack, backend)
    for p in (pipeline, rough):
        p.refer_to(reference)
    crop = crop_of(frames[1])
    np.testing.assert_allclose(rough.measure(crop).values, pipeline.measure(crop).values, atol=0.02)


def test_nothing_of_ours_is_allocated_per_frame(pipeline, frames):
    """NumPy and Python memory; what torch's operators use inside comes from torch's own allocator."""
    pipeline.refer_to(neutral(pipeline, frames[0]))
    crop = crop_of(frames[1])
    for _ in range(3):
        pipeline.measure(crop)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(3):
            pipeline.measure(crop)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000
    assert peak - before < 150_000  # the smallest volume buffer has 160 kB


def test_a_reference_is_averaged_saved_and_loaded(pipeline, frames, tmp_path):
    pipeline.refer_to(None)
    settings = CalibrationSettings(
        min_sharpness=1e-9, max_wander_deg=99, max_face_motion=99, max_angle_deg=180, timeout=1
    )
    calibrator, reference = Calibrator(settings), None
    for i in range(60):
        reference = calibrator.add(i * 40_000_000, pipeline.measure(crop_of(frames[0])))
        if reference is not None:
            break
    assert reference is not None
    alone = pipeline.measure(crop_of(frames[0])).motion
    np.testing.assert_allclose(reference.motion.rotation, alone.rotation, atol=1e-6)
    np.testing.assert_allclose(reference.motion.exp, alone.exp, atol=1e-6)
    reference.save(tmp_path / "driver.json")
    again = Reference.load(tmp_path / "driver.json")
    np.testing.assert_array_equal(again.motion.exp, reference.motion.exp)
    assert again.motion.scale == reference.motion.scale
    pipeline.refer_to(again)


def test_rotations_are_averaged_as_rotations():
    def turn(a):
        c, s = np.cos(a), np.sin(a)
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    motions = [FaceMotion(turn(a), np.full((2, 3), a), np.full(3, a), a) for a in (0.1, 0.2, 0.3)]
    mean = FaceMotion.average(motions)
    np.testing.assert_allclose(mean.rotation, turn(0.2), atol=1e-12)
    assert mean.scale == 0.2


@pytest.mark.parametrize("damage", ["shape", "nan", "scale", "key"])
def test_a_damaged_motion_is_refused(pipeline, frames, tmp_path, damage):
    path = tmp_path / "driver.json"
    neutral(pipeline, frames[0]).save(path)
    data = json.loads(path.read_text())
    if damage == "shape":
        data["motion"]["t"] = [1.0]
    elif damage == "nan":
        data["motion"]["exp"][0][0] = float("nan")
    elif damage == "scale":
        data["motion"]["scale"] = 0
    else:
        del data["motion"]["rotation"]
    path.write_text(json.dumps(data))
    with pytest.raises(BadArgumentError, match="calibrate again"):
        Reference.load(path)


def test_a_single_stage_reference_does_not_serve(pipeline):
    with pytest.raises(BadArgumentError, match="holds no motion"):
        pipeline.refer_to(Reference(NEUTRAL.copy(), np.eye(3)))


def test_a_relative_measurement_takes_gain_and_mirror_only(pipeline, frames):
    reference = neutral(pipeline, frames[0])
    pipeline.refer_to(reference)
    m = pipeline.measure(crop_of(frames[1]))
    first = Neutral(reference, anchor=reference)
    plain = Retargeter(MotionSettings()).expression(m, first, 0, 0, "two-stage")
    np.testing.assert_allclose(plain.values, m.values, atol=1e-12)
    doubled = Retargeter(MotionSettings(gain={"lips": 2.0})).expression(m, first, 0, 0, "two-stage")
    np.testing.assert_allclose(doubled.values[15:27] - NEUTRAL[15:27], 2 * (m.values - NEUTRAL)[15:27])


def test_a_pack_without_a_part_is_refused(pack):
    nets = {k: v for k, v in pack.nets.items() if k != "stitching"}
    with pytest.raises(NotFoundError, match="stitching"):
        TwoStagePipeline(replace(pack, nets=nets), open_backend("torch", 1))


def test_a_pack_whose_sizes_disagree_is_refused(pack):
    config = pack.nets["motion"].config | {"keypoints": 20}
    nets = pack.nets | {"motion": replace(pack.nets["motion"], config=config)}
    with pytest.raises(NotFoundError):
        TwoStagePipeline(replace(pack, nets=nets), open_backend("torch", 1))


def test_the_motion_crop_shows_brows_to_chin_at_the_published_scale():
    points = np.zeros((len(LANDMARK_IDS), 2))
    angle = 2 * np.pi * np.arange(len(OVAL)) / len(OVAL)
    for i, a in zip(OVAL, angle, strict=True):  # clockwise from the top: a face 140 wide and 180 high
        points[LANDMARK_IDS.index(i)] = 300 + 70 * np.sin(a), 200 - 90 * np.cos(a)
    others = [i for i, name in enumerate(LANDMARK_IDS) if name not in OVAL]
    points[others] = 300, 200
    points[LANDMARK_IDS.index(61)] = points[LANDMARK_IDS.index(291)] = 300, 250
    affine = motion_affine(motion_square(points), 256)
    box = points[[i for i, name in enumerate(LANDMARK_IDS) if name not in {*OVAL[:7], *OVAL[-6:]}]]
    side = max(np.ptp(box, axis=0))
    np.testing.assert_allclose(affine[0, 0] * 256, 2.2 * side)
    assert affine[0, 1] == affine[1, 0] == 0
    centre = affine[:, :2] @ [127.75, 127.75] + affine[:, 2]
    expected = (box.min(axis=0) + box.max(axis=0)) / 2 + [0, 0.04 * 2.2 * side]
    np.testing.assert_allclose(centre, expected)


def test_a_glance_is_the_tracker_alone(pipeline, frames):
    """What a detector found is looked at twice, and the first time only to see where it is."""
    pipeline.refer_to(neutral(pipeline, frames[0]))
    crop = crop_of(frames[1])
    whole = pipeline.measure(crop)
    assert (pipeline.plan.durations_ns > 0).all()
    seen = pipeline.glance(crop)
    names = np.array(pipeline.plan.names)
    assert set(names[pipeline.plan.durations_ns > 0]) == {"track"}
    np.testing.assert_array_equal(seen.landmarks, whole.landmarks)
    assert seen.presence == whole.presence
