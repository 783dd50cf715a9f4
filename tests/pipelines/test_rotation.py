from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.pipelines.rotation import about_view, angles, mean_rotation, rotation_matrix

YAW = st.floats(-math.pi + 0.01, math.pi - 0.01)
PITCH = st.floats(-1.5, 1.5)


@given(YAW, PITCH, YAW)
def test_angles_are_there_and_back(yaw: float, pitch: float, roll: float):
    np.testing.assert_allclose(angles(rotation_matrix(yaw, pitch, roll)), (yaw, pitch, roll), atol=1e-9)


@given(YAW, PITCH, YAW)
def test_rotations_are_orthonormal_and_right_handed(yaw: float, pitch: float, roll: float):
    r = rotation_matrix(yaw, pitch, roll)
    np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(r) == pytest.approx(1)


def test_directions_are_those_of_the_docstring():
    """x right, y up, z towards the camera; the face looks along z."""
    look, up = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    assert (rotation_matrix(0.3, 0, 0) @ look)[0] > 0.29  # to the picture's right
    assert (rotation_matrix(0, 0.3, 0) @ look)[1] > 0.29  # upwards
    assert (rotation_matrix(0, 0, 0.3) @ up)[0] < -0.29  # anticlockwise in the picture
    np.testing.assert_allclose(about_view(0.3), rotation_matrix(0, 0, 0.3), atol=1e-12)


def test_it_is_the_product_that_the_docstring_names():
    def about(axis: int, a: float) -> np.ndarray:
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        r = np.eye(3)
        r[i, i] = r[j, j] = math.cos(a)
        r[i, j], r[j, i] = -math.sin(a), math.sin(a)
        return r

    expected = about(1, 0.4) @ about(0, -0.3) @ about(2, 0.2)
    np.testing.assert_allclose(rotation_matrix(0.4, 0.3, 0.2), expected, atol=1e-12)


@given(YAW, YAW)
def test_turning_a_picture_adds_to_the_roll(roll: float, turn: float):
    turned = about_view(turn) @ rotation_matrix(0, 0, roll)
    assert math.remainder(angles(turned)[2] - roll - turn, 2 * math.pi) == pytest.approx(0, abs=1e-9)


def test_looking_straight_up_does_not_fail():
    assert angles(rotation_matrix(0, math.pi / 2, 0) * (1 + 1e-12))[1] == pytest.approx(math.pi / 2)


def test_the_mean_of_scattered_rotations_is_their_middle():
    rng = np.random.default_rng(0)
    middle = rotation_matrix(0.5, -0.2, 0.1)
    offsets = rng.normal(0, 0.1, (40, 3))
    offsets = np.concatenate([offsets, -offsets])
    scattered = np.stack([middle @ rotation_matrix(*o) for o in offsets])
    mean = mean_rotation(scattered)
    np.testing.assert_allclose(mean @ mean.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(mean) == pytest.approx(1)
    np.testing.assert_allclose(angles(middle.T @ mean), 0, atol=0.01)


@given(YAW, PITCH, YAW)
def test_the_mean_of_one_is_itself(yaw: float, pitch: float, roll: float):
    r = rotation_matrix(yaw, pitch, roll)
    np.testing.assert_allclose(mean_rotation(r[None]), r, atol=1e-9)


def test_the_mean_of_opposite_rotations_is_still_a_rotation():
    r = mean_rotation(np.stack([rotation_matrix(math.pi / 2, 0, 0), rotation_matrix(-math.pi / 2, 0, 0)]))
    assert np.linalg.det(r) == pytest.approx(1)
