import numpy as np
import pytest

from x2c_edge.controls import INDEX, NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.extremes import ExtremesGuard, ExtremesSettings

DT = 1 / 60
USUAL = ExtremesSettings(1.0, 5.0)
JAW, YAW, LID, BROW = (
    INDEX[name] for name in ("Jaw Pitch", "Head Yaw", "Eyelid Upper Left", "Brow Inner Left")
)


def follow(guard, wish, seconds):
    """The poses when ``wish`` is commanded and what the guard leaves of it is done at once."""
    pose, track = wish, []
    for _ in range(round(seconds / DT)):
        target = wish.copy()
        guard.apply(target, pose, DT)
        pose = target
        track.append(pose)
    return np.array(track)


def only(index, value):
    pose = NEUTRAL.copy()
    pose[index] = value
    return pose


@pytest.mark.parametrize(
    ("index", "extreme", "kept"),
    [
        (JAW, 0.5, 0.7),
        (JAW, 0.59, 0.7),
        (YAW, SAFE_HIGH[YAW], 0.6 * SAFE_HIGH[YAW]),
        (YAW, SAFE_LOW[YAW], 0.6 * SAFE_LOW[YAW]),
        (LID, -1.0, -0.2),
        (LID, -0.55, -0.2),
    ],
)
def test_an_extreme_is_left_within_a_second_and_refused_for_five(index, extreme, kept):
    track = follow(ExtremesGuard(USUAL, Envelope()), only(index, extreme), 10)[:, index]
    second = round(1 / DT)
    assert (track[:second] == extreme).all()
    assert track[2 * second + 3 : 7 * second - 3] == pytest.approx(kept)
    assert track[round(8.1 / DT)] == pytest.approx(extreme)


@pytest.mark.parametrize(
    ("index", "value"), [(JAW, 0.61), (YAW, 0.79 * SAFE_HIGH[YAW]), (LID, -0.5), (LID, 2.0), (BROW, 1.0)]
)
def test_what_is_not_an_extreme_is_left_alone(index, value):
    wish = only(index, value)
    assert (follow(ExtremesGuard(USUAL, Envelope()), wish, 5) == wish).all()


def test_coming_back_in_time_starts_the_second_anew():
    guard = ExtremesGuard(USUAL, Envelope())
    for _ in range(5):
        assert (follow(guard, only(JAW, 0.5), 0.9)[:, JAW] == 0.5).all()
        follow(guard, only(JAW, 0.9), 0.1)


def test_the_other_end_stays_free():
    guard = ExtremesGuard(USUAL, Envelope())
    follow(guard, only(YAW, SAFE_HIGH[YAW]), 3)
    assert follow(guard, only(YAW, SAFE_LOW[YAW]), 0.5)[-1, YAW] == SAFE_LOW[YAW]


def test_the_ends_are_the_narrowed_envelopes():
    envelope = Envelope().narrowed("Jaw Pitch", low=0.8)
    track = follow(ExtremesGuard(USUAL, envelope), only(JAW, 0.8), 3)
    assert track[-1, JAW] == pytest.approx(0.88)


def test_rest_is_never_moved():
    envelope = Envelope().narrowed("Jaw Pitch", low=1.0)
    assert (follow(ExtremesGuard(USUAL, envelope), NEUTRAL, 3) == NEUTRAL).all()


@pytest.mark.parametrize("high", [-0.6, -0.5])
def test_a_lid_that_rests_pressed_is_left_alone(high):
    envelope = Envelope().narrowed("Eyelid Upper Left", high=high)
    wish = envelope.rest.copy()
    wish[LID] = -1.0
    assert (follow(ExtremesGuard(USUAL, envelope), wish, 4)[:, LID] == -1.0).all()


def test_a_lid_that_cannot_be_pressed_is_left_alone():
    envelope = Envelope().narrowed("Eyelid Upper Left", low=-0.5)
    wish = only(LID, -0.5)
    assert (follow(ExtremesGuard(USUAL, envelope), wish, 4)[:, LID] == -0.5).all()


def test_a_pressed_lid_is_let_go_to_half_open_where_its_range_is_short():
    """60 % of the way from rest to its end, but never a place that still presses."""
    envelope = Envelope().narrowed("Eyelid Upper Left", high=-0.4)
    wish = envelope.rest.copy()
    wish[LID] = -1.0
    track = follow(ExtremesGuard(USUAL, envelope), wish, 3)[:, LID]
    assert track[-1] == pytest.approx(-0.5)


@pytest.mark.parametrize("allowed_s", [0.5, 1.0, 2.0])
def test_an_extreme_is_left_after_the_time_that_is_set(allowed_s):
    track = follow(ExtremesGuard(ExtremesSettings(allowed_s, 2.0), Envelope()), only(JAW, 0.5), 10)[:, JAW]
    left = np.flatnonzero(track > 0.5)
    assert left[0] * DT == pytest.approx(allowed_s, abs=2.5 * DT)
    back = left[0] + np.flatnonzero(track[left[0] :] == 0.5)[0]
    assert (back - left[0]) * DT == pytest.approx(1 + 2 + 1, abs=3 * DT)


def test_the_limit_moves_evenly_within_a_second():
    track = follow(ExtremesGuard(USUAL, Envelope()), only(JAW, 0.5), 8.5)[:, JAW]
    steps = np.diff(track)
    moving = np.flatnonzero(steps)
    assert len(moving) == pytest.approx(2 / DT, abs=4)
    assert np.abs(steps[moving[1:-1]]) == pytest.approx(0.2 * DT, rel=1.0)
    assert np.median(np.abs(steps[moving])) == pytest.approx(0.2 * DT)


def test_both_ends_are_counted_apart():
    """A second at one end does not use up the second at the other."""
    guard = ExtremesGuard(USUAL, Envelope())
    follow(guard, only(YAW, SAFE_HIGH[YAW]), 0.9)
    assert (follow(guard, only(YAW, SAFE_LOW[YAW]), 0.9)[:, YAW] == SAFE_LOW[YAW]).all()


@pytest.mark.parametrize("before", [NEUTRAL, only(YAW, SAFE_HIGH[YAW])], ids=["at rest", "elsewhere"])
def test_time_without_the_extreme_is_no_credit(before):
    guard = ExtremesGuard(USUAL, Envelope())
    follow(guard, before, 0.9)
    track = follow(guard, only(JAW, 0.5), 1.2)[:, JAW]
    assert np.flatnonzero(track > 0.5)[0] * DT == pytest.approx(1.0, abs=2.5 * DT)


def test_exactly_the_time_that_is_set_is_not_too_long():
    guard = ExtremesGuard(ExtremesSettings(1.0, 5.0), Envelope())
    jaw = []
    for _ in range(4):
        target = only(JAW, 0.5)
        guard.apply(target, only(JAW, 0.5), 0.5)
        jaw.append(target[JAW])
    # After 0.5, 1.0 and 1.5 s; the last is beyond it, and half of a second later half of the way is done.
    assert jaw == pytest.approx([0.5, 0.5, 0.5, 0.6])
