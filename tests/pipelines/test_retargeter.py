from __future__ import annotations

import numpy as np
import pytest

from tests.pipelines.measurements import face
from x2c_edge.controls import INDEX, NEUTRAL, mirrored
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.retargeter import MotionSettings, Neutral, Retargeter


def expression(m: Measurement, reference: Measurement, **settings) -> np.ndarray:
    neutral = Neutral(Reference(reference.values, reference.rotation))
    return Retargeter(MotionSettings(**settings)).expression(m, neutral, 7, 123, "single-stage").values


def test_the_reference_face_is_the_robot_s_neutral():
    m = face(10, 5, -3, Lip_Corner_Raise_Left=0.2, Eyelid_Upper_Left=-0.3)
    np.testing.assert_allclose(expression(m, m), NEUTRAL, atol=1e-12)


def test_an_expression_says_where_it_comes_from():
    m = face()
    neutral = Neutral(Reference(NEUTRAL, np.eye(3)))
    e = Retargeter(MotionSettings()).expression(m, neutral, 7, 123, "single-stage")
    assert (e.frame_seq, e.t_capture_ns, e.pipeline, e.presence) == (7, 123, "single-stage", 0.99)
    assert e.landmarks is m.landmarks


def test_the_head_moves_relative_to_the_resting_head():
    values = expression(face(25, -10), face(10, -10))
    # The turn is measured in the head's own axes: about 15 degrees sideways, nearly level.
    assert np.degrees(values[INDEX["Head Yaw"]]) == pytest.approx(15, abs=0.5)
    assert abs(np.degrees(values[INDEX["Head Pitch"]])) < 1
    values = expression(face(0, 12, 20), face())
    assert np.degrees(values[INDEX["Head Pitch"]] + values[INDEX["Neck Pitch"]]) == pytest.approx(12)
    assert np.degrees(values[INDEX["Head Roll"]] + values[INDEX["Neck Roll"]]) == pytest.approx(20)


def test_the_reference_s_head_columns_do_not_matter():
    odd = face(Head_Yaw=0.4, Neck_Roll=-0.2)
    np.testing.assert_allclose(expression(face(), odd), NEUTRAL, atol=1e-12)


def test_gain_is_per_group():
    m = face(10, Lip_Corner_Raise_Left=0.1, Brow_Inner_Left=0.2)
    plain = expression(m, face()) - NEUTRAL
    values = expression(m, face(), gain={"lips": 2.0, "head": 0.5, "brows": 0.0}) - NEUTRAL
    assert values[INDEX["Lip Corner Raise Left"]] == pytest.approx(2 * plain[INDEX["Lip Corner Raise Left"]])
    assert values[INDEX["Head Yaw"]] == pytest.approx(plain[INDEX["Head Yaw"]] / 2)
    assert values[INDEX["Brow Inner Left"]] == 0


def test_mirror_swaps_the_robot_s_sides():
    m = face(10, Lip_Corner_Raise_Left=0.1)
    np.testing.assert_allclose(expression(m, face(), mirror=True), mirrored(expression(m, face())))
    assert expression(m, face(), mirror=True)[INDEX["Head Yaw"]] < 0


def played(faces: list[Measurement], strength: np.ndarray, step_ns: int = 33_333_333) -> np.ndarray:
    """Poses of faces that follow each other."""
    retargeter = Retargeter(MotionSettings(), {"single-stage": strength})
    neutral = Neutral(Reference(NEUTRAL, np.eye(3)))
    return np.array([
        retargeter.expression(m, neutral, k, k * step_ns, "single-stage").values for k, m in enumerate(faces)
    ])  # fmt: skip


def test_motion_is_made_as_strong_as_the_net_is_weak_and_a_standing_face_is_not():
    corner = INDEX["Lip Corner Raise Left"]
    strength = np.full(30, 1.25)
    standing = played([face(Lip_Corner_Raise_Left=0.2)] * 300, strength)
    np.testing.assert_allclose(standing[:, corner], NEUTRAL[corner] + 0.2)
    moving = [face(Lip_Corner_Raise_Left=0.2 * (1 - np.cos(k / 7))) for k in range(900)]
    poses = played(moving, strength)[300:, corner] - NEUTRAL[corner]
    assert np.ptp(poses) == pytest.approx(1.25 * 0.4, rel=0.02)
    assert poses.mean() == pytest.approx(0.2, abs=0.02)


def test_a_gain_shuts_an_eye_and_presses_no_lids():
    lids = {f"Eyelid_{u}_{s}": -1.0 for u in ("Upper", "Lower") for s in ("Left", "Right")}
    blink = [face(**lids) if 60 <= k < 64 else face() for k in range(70)]
    poses = played(blink, np.full(30, 1.4))
    upper = INDEX["Eyelid Upper Left"]
    assert poses[61, upper] == 0.0
    assert poses[59, upper] == pytest.approx(1.0)


def test_after_a_gap_motion_is_measured_anew():
    corner = INDEX["Lip Corner Raise Left"]
    poses = played([face(), face(Lip_Corner_Raise_Left=0.2)], np.full(30, 1.4), step_ns=2_000_000_000)
    assert poses[1, corner] == pytest.approx(NEUTRAL[corner] + 0.2)
