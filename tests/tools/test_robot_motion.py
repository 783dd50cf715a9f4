from __future__ import annotations

import numpy as np
import pytest

from tools.dataset import robot_motion as rm
from x2c_edge import retarget
from x2c_edge.controls import INDEX, NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.nets import keypoints
from x2c_edge.robot.face import LANDMARKS, PORTRAIT, AmecaFace

SIZE = 128
STRAIGHT = np.zeros(3)


@pytest.fixture(scope="module")
def motion() -> rm.RobotMotion:
    return rm.robot_motion()


def pixels(points: np.ndarray) -> np.ndarray:
    """Picture space to pixel indices."""
    return (points[..., :2] + 1) * SIZE / 2 - 0.5


def test_keypoints_lie_where_the_picture_shows_the_same_points(motion: rm.RobotMotion):
    face = AmecaFace(SIZE, PORTRAIT)
    for angles in (STRAIGHT, np.array([0.2, 0.1, 0.0]), np.array([0.0, -0.15, 0.1])):
        seen = face.landmarks(rm.posed(NEUTRAL, angles))
        ours = pixels(motion.driven(NEUTRAL, angles))
        for mine, its in (
            ("brow inner left", "brow inner left"), ("mouth corner right", "mouth corner right"),
            ("chin middle", "chin"), ("nose wing left", "nose wing left"),
        ):  # fmt: skip
            gap = ours[motion.names.index(mine)] - seen[LANDMARKS.index(its)]
            # Perspective (the face is 9 % nearer than the pivot) and the neck's own pivot are left out.
            assert np.linalg.norm(gap) < 7.0, (mine, angles)


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_a_control_moves_its_own_points_to_where_the_picture_shows_them(motion: rm.RobotMotion, side: str):
    face = AmecaFace(SIZE, PORTRAIT)
    brow, keypoint = f"Brow Inner {side}", f"brow inner {side.lower()}"
    values = NEUTRAL.copy()
    values[INDEX[brow]] = 1.0
    shown = face.landmarks(values) - face.landmarks(NEUTRAL)
    shift = pixels(motion.driven(values, STRAIGHT)) - pixels(motion.driven(NEUTRAL, STRAIGHT))
    place = motion.names.index(keypoint)
    np.testing.assert_allclose(shift[place], shown[LANDMARKS.index(keypoint)], atol=1.0)
    assert shift[place, 1] < -3
    assert np.argmax(np.linalg.norm(shift, axis=1)) == place
    # The person's left is on the right of a picture that is not mirrored.
    assert (motion.driven(values, STRAIGHT)[place, 0] > 0) == (side == "Left")


def test_exp_tells_all_face_controls_apart(motion: rm.RobotMotion):
    reach = (rm.USED_HIGH - rm.USED_LOW)[rm.FACE]
    columns = motion.expression[rm.FACE].reshape(len(rm.FACE), -1) * reach[:, None]
    assert np.linalg.svd(columns, compute_uv=False).min() > 0.03  # 2 pixels of 128
    assert not motion.expression[list(retarget.HEAD_CONTROLS)].any()


def test_exp_and_controls_are_each_other_s_inverse(motion: rm.RobotMotion):
    """Lids as well, from wide open to squeezed shut."""
    values = np.random.default_rng(2).uniform(SAFE_LOW, SAFE_HIGH, (200, 30))
    values[:, list(retarget.HEAD_CONTROLS)] = NEUTRAL[list(retarget.HEAD_CONTROLS)]
    lids = values[:, rm.LIDS]
    assert (lids < 0).any()
    assert (lids > rm.SHUT_BELOW).any()
    np.testing.assert_allclose(rm.controls_of(motion.exp(values)), values, atol=1e-9)


def test_angles_and_rotations_are_each_other_s_inverse():
    angles = np.random.default_rng(0).normal(size=(100, 3)) * 0.4
    rotation = rm.row_rotation(angles)
    np.testing.assert_allclose(rm.head_angles(rotation), angles, atol=1e-12)
    pitch, yaw, roll = np.moveaxis(rm.model_angles(angles), -1, 0)
    np.testing.assert_allclose(keypoints.rotation(pitch, yaw, roll), rotation, atol=1e-12)


def test_relative_motion_subtracts_a_person_s_own_neutral(motion: rm.RobotMotion):
    rng = np.random.default_rng(1)
    own, now = NEUTRAL + rng.uniform(-0.1, 0.1, (2, 30))
    turn = np.array([0.1, -0.05, 0.08])

    def as_motion(values: np.ndarray, angles: np.ndarray) -> keypoints.Motion:
        return keypoints.Motion(
            motion.kp, motion.exp(values), rm.row_rotation(angles), np.zeros(3), np.ones(1)
        )

    robot = keypoints.Motion(motion.kp, motion.exp(NEUTRAL), rm.row_rotation(STRAIGHT), motion.t, np.ones(1))
    moved = keypoints.relative_motion(robot, as_motion(now, turn), as_motion(own, STRAIGHT))
    np.testing.assert_allclose(
        keypoints.transformed(moved), motion.driven(NEUTRAL + now - own, turn), atol=1e-12
    )


def test_a_shut_eye_stays_shut_for_a_person_with_narrow_eyes():
    lids = list(retarget.LID_CONTROLS)
    narrow, shut = NEUTRAL.copy(), NEUTRAL.copy()
    narrow[lids], shut[lids] = 0.7, 0.0
    code = rm.code(shut) - rm.code(narrow)
    assert (code[lids] <= rm.code(shut)[lids] + 0.31).all()
    assert (NEUTRAL[lids] + code[lids] <= 0).all()


def test_both_sides_and_the_middle_of_a_face_move_as_far():
    """In what is trained on; and the two sides of a pair mostly together."""
    controls, _ = rm.sample(np.random.default_rng(0), 20_000)
    sides = [INDEX[f"Brow {part} {side}"] for part in ("Inner", "Outer") for side in ("Left", "Right")]
    middle = [INDEX["Gaze Target Phi"], INDEX["Gaze Target Theta"]]
    width = (controls - NEUTRAL).std(0) / (rm.USED_HIGH - rm.USED_LOW)
    np.testing.assert_allclose(width[sides + middle], width[sides].mean(), rtol=0.05)
    assert 0.6 < np.corrcoef(controls[:, sides[0]], controls[:, sides[1]])[0, 1] < 0.9


def test_poses_to_train_on_are_the_seed_s_and_reach_beyond_what_the_robot_can_do():
    controls, angles = rm.sample(np.random.default_rng(3), 500)
    again, _ = rm.sample(np.random.default_rng(3), 500)
    assert np.array_equal(controls, again)
    outside = (controls[:, rm.FACE] < rm.USED_LOW[rm.FACE]) | (controls[:, rm.FACE] > rm.USED_HIGH[rm.FACE])
    assert 0.05 < outside.mean() < 0.4
    values = rm.posed(controls, angles)
    assert (values >= SAFE_LOW).all()
    assert (values <= SAFE_HIGH).all()
