"""Properties of the keypoint formulas (docs/spec/liveportrait.md sections 5 to 7)."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from x2c_edge.nets import keypoints
from x2c_edge.nets.keypoints import Motion

SEEDS = st.integers(0, 2**32 - 1)


def _motion(rng: np.random.Generator, *lead: int, dtype: type = np.float64) -> Motion:
    angles = rng.uniform(-60, 60, size=(3, *lead))
    return Motion(
        kp=rng.normal(scale=0.3, size=(*lead, 21, 3)).astype(dtype),
        exp=rng.normal(scale=0.05, size=(*lead, 21, 3)).astype(dtype),
        rotation=keypoints.rotation(*angles.astype(dtype)),
        t=rng.normal(scale=0.1, size=(*lead, 3)).astype(dtype),
        scale=rng.uniform(0.8, 1.5, size=(*lead, 1)).astype(dtype),
    )


def _axis_rotations(pitch: float, yaw: float, roll: float) -> np.ndarray:
    a, b, c = np.deg2rad([pitch, yaw, roll])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (rz @ ry @ rx).T


@given(*[st.floats(-180, 180)] * 3)
def test_rotation_is_the_product_of_the_axis_rotations(pitch, yaw, roll):
    ours = keypoints.rotation(np.float64(pitch), np.float64(yaw), np.float64(roll))
    np.testing.assert_allclose(ours, _axis_rotations(pitch, yaw, roll), atol=1e-12)


@given(st.integers(0, 65))
def test_a_certain_bin_is_its_angle(index):
    logits = np.full((2, 66), -1e4, dtype=np.float32)
    logits[:, index] = 1e4
    np.testing.assert_allclose(keypoints.angle_from_bins(logits), 3 * index - 97.5)


def test_degrees_pass_unchanged():
    np.testing.assert_array_equal(keypoints.angle_from_bins(np.array([[12.5], [-3.0]])), [12.5, -3.0])


@given(SEEDS)
def test_no_motion_gives_the_source(seed):
    rng = np.random.default_rng(seed)
    source, reference = _motion(rng), _motion(rng)
    moved = keypoints.relative_motion(source, reference, reference)
    np.testing.assert_allclose(keypoints.transformed(moved), keypoints.transformed(source), atol=1e-12)


@given(SEEDS)
def test_there_and_back_is_the_identity(seed):
    """Moving by (a relative to b) and then by (b relative to a) restores pose, expression and scale."""
    rng = np.random.default_rng(seed)
    source, a, b = _motion(rng), _motion(rng), _motion(rng)
    # The rotations compose from the left, so the way back undoes the way there.
    back = keypoints.relative_motion(keypoints.relative_motion(source, a, b), b, a)
    np.testing.assert_allclose(back.rotation, source.rotation, atol=1e-12)
    np.testing.assert_allclose(back.exp, source.exp, atol=1e-12)
    np.testing.assert_allclose(back.scale, source.scale, rtol=1e-12)
    np.testing.assert_allclose(keypoints.transformed(back), keypoints.transformed(source), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_clip_at_once_equals_frame_by_frame(dtype):
    rng = np.random.default_rng(5)
    source, reference, clip = (_motion(rng, *lead, dtype=dtype) for lead in ((), (), (6,)))
    together = keypoints.transformed(keypoints.relative_motion(source, clip, reference))
    assert together.dtype == dtype
    for i in range(6):
        frame = Motion(**{f.name: getattr(clip, f.name)[i] for f in dataclasses.fields(Motion)})
        alone = keypoints.transformed(keypoints.relative_motion(source, frame, reference))
        np.testing.assert_allclose(together[i], alone, atol=1e-6)


def test_the_source_is_not_written_to_and_its_depth_offset_is_ignored():
    rng = np.random.default_rng(6)
    source, current, reference = _motion(rng), _motion(rng), _motion(rng)
    before = source.t.copy()
    moved = keypoints.relative_motion(source, current, reference)
    np.testing.assert_array_equal(source.t, before)
    assert moved.t[2] == 0
    shifted = dataclasses.replace(source, t=source.t + np.array([0, 0, 5]))
    np.testing.assert_array_equal(keypoints.transformed(shifted), keypoints.transformed(source))


@given(SEEDS, st.integers(4, 24))
def test_hull_volume_equals_scipy(seed, count):
    points = np.random.default_rng(seed).normal(size=(count, 3))
    np.testing.assert_allclose(keypoints.hull_volume(points), ConvexHull(points).volume, rtol=1e-6, atol=1e-8)


@given(SEEDS)
def test_hull_volume_with_coplanar_and_repeated_points(seed):
    """Points on a coarse lattice: many lie in one plane or on each other."""
    points = np.random.default_rng(seed).integers(0, 3, size=(21, 3)).astype(float)
    np.testing.assert_allclose(keypoints.hull_volume(points), ConvexHull(points).volume, rtol=1e-6)


def test_hull_volume_of_known_bodies():
    cube = np.array(list(np.ndindex(2, 2, 2)), dtype=np.float32)
    assert keypoints.hull_volume(cube) == pytest.approx(1, abs=1e-7)
    assert keypoints.hull_volume(cube * [2, 3, 0]) == 0
    assert keypoints.hull_volume(cube[:3]) == 0
    assert keypoints.motion_multiplier(2 * cube, cube) == pytest.approx(8**0.5)
    with pytest.raises(ValueError, match="one plane"):
        keypoints.motion_multiplier(cube, cube * [0, 1, 1])


def test_stitching_input_and_delta():
    source, driving = np.arange(63.0).reshape(1, 21, 3), np.arange(126.0).reshape(2, 21, 3)
    row = keypoints.stitching_input(source, driving)
    np.testing.assert_array_equal(row[1], np.concatenate([np.arange(63), np.arange(63, 126)]))
    delta = np.zeros((2, 65))
    delta[1, 4], delta[1, 63:] = 10, (100, 1000)
    moved = keypoints.stitched(driving, delta) - driving
    assert not moved[0].any()
    np.testing.assert_array_equal(moved[1, 1], [100, 1010, 0])
    np.testing.assert_array_equal(moved[1, 20], [100, 1000, 0])
