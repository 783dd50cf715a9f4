"""Rules on combinations hold for the pose that is sent, at every rate and in every envelope."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.safety.driver import Driver
from tests.safety.rules import (
    BOTTOM,
    BOTTOM_CURL,
    EYES,
    GAZE,
    JAW,
    TOP,
    TOP_CURL,
    gaze_moves_behind_closed_lids,
    lids_apart,
    lips_beyond,
)
from x2c_edge.controls import NAMES, NEUTRAL, SAFE_HIGH, SAFE_LOW, SLEW
from x2c_edge.errors import BadArgumentError
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.eyelids import limit_lids, pinned_lids
from x2c_edge.safety.lip_limits import limit_lips, pinned_lips
from x2c_edge.safety.settings import SupervisorSettings
from x2c_edge.safety.supervisor import Supervisor

UPPER, LOWER = EYES[0]
LIPS = [JAW, BOTTOM, TOP, BOTTOM_CURL, TOP_CURL]
LIDS = [*EYES[0], *EYES[1]]
COMBINED = [*LIPS, *LIDS]
AT_ONCE = SupervisorSettings(soft_start=0.0, blend=0.0)

shares = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))
poses = st.lists(shares, min_size=len(COMBINED) + 2, max_size=len(COMBINED) + 2).map(
    lambda way: with_values([*COMBINED, *GAZE], SAFE_LOW, SAFE_HIGH, np.array(way))
)
# Narrowed at either end, or pinned to one value; and slower, down to a fiftieth.
narrowings = st.dictionaries(
    st.sampled_from(COMBINED), st.tuples(shares, shares, st.floats(0.02, 1)), max_size=5
)


def with_values(where, low, high, way):
    pose = NEUTRAL.copy()
    pose[where] = low[where] + way * (high[where] - low[where])
    return pose


def narrowed(by):
    envelope = Envelope()
    for k, (a, b, pace) in by.items():
        span = SAFE_HIGH[k] - SAFE_LOW[k]
        low, high = (float(SAFE_LOW[k] + way * span) for way in sorted((a, b)))
        high = min(high, float(SAFE_HIGH[k]))
        envelope = envelope.narrowed(NAMES[k], low=low, high=high, slew=float(pace * SLEW[k]))
    return envelope


def box(by):
    """The ranges of ``narrowings``, (low, high), whether or not they are an envelope."""
    low, high = SAFE_LOW.copy(), SAFE_HIGH.copy()
    for k, (a, b, _) in by.items():
        low[k], high[k] = (SAFE_LOW[k] + way * (SAFE_HIGH[k] - SAFE_LOW[k]) for way in sorted((a, b)))
    return low, high


@given(narrowings, st.floats(1, 1000), st.lists(st.tuples(poses, st.integers(1, 12)), max_size=12))
@settings(max_examples=150)
def test_no_forbidden_combination_is_sent(by, rate_hz, wishes):
    try:
        envelope = narrowed(by)
    except BadArgumentError:
        assume(False)
    driver = Driver(Supervisor(AT_ONCE, envelope), rate_hz=rate_hz).ready()
    before = driver.tick()
    for pose, ticks in wishes:
        for _ in range(ticks):
            command = driver.follow(pose)
            assert lids_apart(command.values) <= 0
            assert lips_beyond(command.values) <= 1e-12
            assert not gaze_moves_behind_closed_lids(command, before)
            assert ((command.values >= envelope.low) & (command.values <= envelope.high)).all()
            reach = envelope.slew * min((command.t_send_ns - before.t_send_ns) * 1e-9, 0.1)
            assert (np.abs(command.values - before.values) <= reach + 1e-12).all()
            before = command


@given(narrowings, poses)
def test_within_any_ranges_an_allowed_pose_is_found_or_there_is_none(by, wish):
    low, high = box(by)
    values = np.clip(wish, low, high)
    limit_lids(values, low, high)
    limit_lips(values, low, high)
    within = (values >= low - 1e-12) & (values <= high + 1e-12)
    assert (within[LIDS].all() and lids_apart(values) <= 0) == (not pinned_lids(low, high))
    assert (within[LIPS].all() and lips_beyond(values) <= 1e-12) == (not pinned_lips(low, high))


@given(narrowings, poses)
def test_what_is_allowed_already_is_left_alone(by, wish):
    low, high = box(by)
    assume(not pinned_lids(low, high) and not pinned_lips(low, high))
    values = np.clip(wish, low, high)
    limit_lids(values, low, high)
    limit_lips(values, low, high)
    again = values.copy()
    limit_lids(again, low, high)
    limit_lips(again, low, high)
    assert again == pytest.approx(values, abs=1e-12)


@given(narrowings)
def test_rest_is_allowed_in_every_envelope(by):
    try:
        rest = narrowed(by).rest
    except BadArgumentError:
        assume(False)
    assert lids_apart(rest) <= 0
    assert lips_beyond(rest) <= 1e-12


def lids(upper, lower):
    return with_values([UPPER, LOWER], np.zeros(30), np.ones(30), np.array([upper, lower]))


def followed(driver, pose, seconds=0.8):
    """The left lids, (T, 2), while ``pose`` is followed."""
    return np.array([c.values[[UPPER, LOWER]] for c in driver.run(seconds, pose)])


@pytest.mark.parametrize("start", [(1.0, 1.0), (2.0, 0.0), (0.0, 2.0), (-0.4, -0.4)])
def test_opposite_extremes_end_with_the_pressed_lid_let_go(drive, start):
    """The pose that is reached does not depend on the way that led there."""
    driver = drive().ready()
    followed(driver, lids(*start))
    track = followed(driver, lids(-1.0, 2.0))
    assert max(lids_apart(lids(*pose)) for pose in track) <= 0
    assert track[-1] == pytest.approx([-0.5, 2.0], abs=0.01)


def test_from_one_extreme_to_the_other_the_opening_lid_waits():
    """A wide upper lid cannot close before the lower one is pressed, nor the other way round."""
    envelope = Envelope().narrowed("Eyelid Upper Left", slew=2.0)
    driver = Driver(Supervisor(AT_ONCE, envelope)).ready()
    followed(driver, lids(2.0, 0.0), 2.0)
    track = followed(driver, lids(-0.9, -0.9), 3.0)
    assert max(lids_apart(lids(*pose)) for pose in track) <= 0
    assert track[-1] != pytest.approx([2.0, 0.0], abs=0.5)


@pytest.mark.parametrize("rate_hz", [1, 10, 60, 240])
def test_a_closing_jaw_waits_for_slow_lips(rate_hz):
    envelope = Envelope().narrowed("Lip Bottom Depress Middle", slew=0.5)
    driver = Driver(Supervisor(AT_ONCE, envelope), rate_hz=rate_hz).ready()
    opened = with_values([JAW, BOTTOM], np.zeros(30), np.ones(30), np.array([0.7, 0.0]))
    closed = with_values([JAW, BOTTOM], np.zeros(30), np.ones(30), np.array([1.0, 0.0]))
    per_s = max(rate_hz, 10)  # below that a tick still moves by 100 ms at most
    for pose in [opened] * (2 * per_s) + [closed] * (2 * per_s):
        command = driver.follow(pose)
        assert lips_beyond(command.values) <= 1e-12
    assert command.values[JAW] == pytest.approx(1.0, abs=0.01)
    assert command.values[BOTTOM] == pytest.approx(0.4, abs=0.01)


def limited(limits):
    envelope = Envelope()
    for name, limit in limits.items():
        envelope = envelope.narrowed(name, **limit)
    return envelope


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (
            {"Eyelid Upper Left": {"high": -0.6}, "Eyelid Lower Left": {"low": 1.6}},
            "Eyelid Lower Left 1.6..2, Eyelid Upper Left -1..-0.6",
        ),
        (
            {"Eyelid Lower Right": {"high": -0.6}, "Eyelid Upper Right": {"low": 1.6}},
            "Eyelid Lower Right -1..-0.6, Eyelid Upper Right 1.6..2",
        ),
        (
            {"Jaw Pitch": {"low": 0.9}, "Lip Bottom Depress Middle": {"high": 0.2}},
            "Jaw Pitch 0.9..1, Lip Bottom Depress Middle 0..0.2",
        ),
        (
            {"Lip Bottom Depress Middle": {"low": 0.5}, "Lip Bottom Curl": {"high": 0.4}},
            "Lip Bottom Curl 0..0.4, Lip Bottom Depress Middle 0.5..1",
        ),
        ({"Lip Bottom Curl": {"high": 0.05}}, "Lip Bottom Curl 0..0.05"),
        (
            {"Lip Top Raise Middle": {"high": 0.1}, "Lip Top Curl": {"low": 0.9}},
            "Lip Top Curl 0.9..1, Lip Top Raise Middle 0..0.1",
        ),
        (
            {"Lip Top Raise Middle": {"low": 0.8}, "Lip Top Curl": {"high": 0.5}},
            "Lip Top Curl 0..0.5, Lip Top Raise Middle 0.8..1",
        ),
        (
            {
                "Jaw Pitch": {"low": 1.0},
                "Lip Top Curl": {"high": 0.2},
                "Lip Bottom Depress Middle": {"high": 0.5},
            },
            "Jaw Pitch 1..1, Lip Bottom Depress Middle 0..0.5, Lip Top Curl 0..0.2",
        ),
    ],
)
def test_ranges_without_an_allowed_pose_are_refused(limits, named):
    with pytest.raises(BadArgumentError) as error:
        limited(limits)
    assert str(error.value) == f"{named}: every pose in these ranges is a forbidden combination; widen one"


@pytest.mark.parametrize(
    "limits",
    [
        {"Eyelid Upper Left": {"high": -0.5}, "Eyelid Lower Left": {"low": 1.6}},
        {"Eyelid Upper Left": {"high": -0.6}, "Eyelid Lower Left": {"low": 1.5}},
        {"Eyelid Upper Left": {"high": -0.6}, "Eyelid Lower Right": {"low": 1.6}},
        {"Jaw Pitch": {"low": 0.85}, "Lip Bottom Depress Middle": {"high": 0.21}},
        {"Lip Bottom Curl": {"high": 0.1}},
        {"Lip Top Raise Middle": {"high": 0.0}, "Lip Top Curl": {"low": 0.7}},
    ],
)
def test_ranges_that_just_leave_one_are_taken_and_rest_is_in_it(limits):
    rest = limited(limits).rest
    assert lids_apart(rest) <= 0
    assert lips_beyond(rest) <= 1e-12
