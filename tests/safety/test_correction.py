"""A robot whose signs and rests differ from the description. What leaves is in ``test_wire_bytes``."""

import math

import numpy as np
import pytest

from x2c_edge.controls import INDEX, N_CONTROLS, NAMES, NEUTRAL
from x2c_edge.errors import BadArgumentError
from x2c_edge.frames import Expression
from x2c_edge.safety.correction import Correction
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.supervisor import Supervisor

YAW = INDEX["Head Yaw"]


def test_the_default_changes_nothing():
    correction = Correction()
    assert not correction.changes
    assert np.allclose(correction.applied(NEUTRAL + 0.1), NEUTRAL + 0.1, atol=1e-15)


def test_sign_turns_about_neutral_and_offset_moves_it():
    correction = Correction.of({"Brow Inner Left": -1}, {"Brow Inner Left": 0.1, "Head Yaw": -0.05})
    k = INDEX["Brow Inner Left"]
    pose = NEUTRAL.copy()
    pose[k] += 0.2
    told = correction.applied(pose)
    assert told[k] == pytest.approx(NEUTRAL[k] - 0.2 + 0.1)
    assert told[YAW] == pytest.approx(-0.05)
    assert np.allclose(correction.undone(told), pose)
    assert Envelope(correction=correction).rest[k] == pytest.approx(NEUTRAL[k] + 0.1)


def test_it_never_moves_a_control_faster():
    rng = np.random.default_rng(3)
    correction = Correction(sign=rng.choice([-1.0, 1.0], N_CONTROLS))
    a, b = rng.normal(size=(2, N_CONTROLS))
    assert np.allclose(np.abs(correction.applied(a) - correction.applied(b)), np.abs(a - b))


@pytest.mark.parametrize(
    ("signs", "offsets", "words"),
    [
        ({"Head Yaw": 2}, {}, "Head Yaw: sign 2"),
        ({"Head Yaw": math.nan}, {}, "Head Yaw: sign nan"),
        ({}, {"Jaw Pitch": 0.1}, "Jaw Pitch: offset 0.1"),
        ({}, {"Jaw Pitch": -0.6}, "within 0.5..1"),
        ({}, {"Head Yaw": math.nan}, "Head Yaw: offset nan"),
        ({}, {"Head Yaw": -math.inf}, "Head Yaw: offset -inf"),
        ({"Head Jaw": -1}, {}, "did you mean"),
    ],
)
def test_what_is_not_allowed_is_named(signs, offsets, words):
    with pytest.raises(BadArgumentError, match=words):
        Correction.of(signs, offsets)


def test_nan_stays_nan_and_others_are_not_touched():
    values = np.full(N_CONTROLS, math.nan)
    values[YAW] = 0.1
    told = Correction.of({"Head Yaw": -1}, {}).applied(values)
    assert np.isnan(told).sum() == len(NAMES) - 1
    assert told[YAW] == pytest.approx(-0.1)


@pytest.mark.parametrize("name", ["sign", "offset"])
def test_an_array_of_another_length_is_refused(name: str):
    with pytest.raises(ValueError, match=rf"{name}: shape \(30,\) expected"):
        Correction(**{name: np.ones(29)})


def test_the_supervisor_follows_as_this_robot_must_be_told():
    """A driver turns left; a robot whose yaw is mounted the other way round is told right."""
    turned = NEUTRAL.copy()
    turned[YAW] = 0.1
    heads = []
    for envelope in (Envelope(), Envelope(correction=Correction.of({"Head Yaw": -1}, {}))):
        supervisor = Supervisor(envelope=envelope)
        supervisor.link_up(0)
        supervisor.reference_ready(0)
        for k in range(120):
            now = k * 16_666_667
            supervisor.offer(Expression(k, now, "single-stage", turned, 1.0, np.zeros((1, 2))), now)
            heads.append(supervisor.tick(now).values[YAW])
    assert heads[119] == pytest.approx(0.1, abs=0.01)
    assert heads[239] == pytest.approx(-heads[119])
