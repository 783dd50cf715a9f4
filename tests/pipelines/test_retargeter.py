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
