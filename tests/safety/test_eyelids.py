import numpy as np
import pytest

from x2c_edge.controls import INDEX, NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.safety.eyelids import BlinkGuard, both_closed, limit_lids

UL, UR, LL = (INDEX[f"Eyelid {name}"] for name in ("Upper Left", "Upper Right", "Lower Left"))
DT = 1 / 60


def lids(**values):
    pose = NEUTRAL.copy()
    for name, value in values.items():
        pose[{"UL": UL, "UR": UR, "LL": LL}[name]] = value
    return pose


@pytest.mark.parametrize(
    ("pose", "expected"),
    [
        (lids(UL=-1.0, LL=2.0), lids(UL=-0.5, LL=2.0)),
        (lids(UL=2.0, LL=-1.0), lids(UL=2.0, LL=-0.5)),
        (lids(UL=-1.0, LL=1.0), lids(UL=-1.0, LL=1.0)),
        (lids(UL=-1.0, LL=1.5), lids(UL=-1.0, LL=1.5)),
        (lids(UL=-0.5, LL=2.0), lids(UL=-0.5, LL=2.0)),
        (lids(UL=-1.0, LL=-1.0), lids(UL=-1.0, LL=-1.0)),
        (lids(UR=-1.0, LL=2.0), lids(UR=-1.0, LL=2.0)),
    ],
)
def test_opposite_extremes_of_one_eye(pose, expected):
    limit_lids(pose)
    assert np.array_equal(pose, expected)


@pytest.mark.parametrize(("high", "expected"), [(-0.5, (-0.5, 2.0)), (-0.6, (-1.0, 1.5))])
def test_the_facing_lid_stays_where_the_pressed_one_cannot_get_out_of_its_way(high, expected):
    pose, highest = lids(UL=-1.0, LL=2.0), SAFE_HIGH.copy()
    highest[UL] = high
    limit_lids(pose, SAFE_LOW, highest)
    assert (pose[UL], pose[LL]) == expected


def test_both_closed_needs_both():
    assert both_closed(lids(UL=0.0, UR=-0.3), 0.05)
    assert not both_closed(lids(UL=0.0), 0.05)


def held(seconds, wish, guard=None):
    """The left upper lid over time when ``wish`` is commanded, following without delay."""
    guard = guard or BlinkGuard(0.05, 1.5, NEUTRAL)
    pose, track = wish.copy(), []
    for _ in range(round(seconds / DT)):
        target = wish.copy()
        guard.apply(target, pose, wish, DT)
        pose = target
        track.append(pose[UL])
    return np.array(track)


def test_a_blink_passes_and_a_held_one_opens():
    track = held(3.0, lids(UL=0.0))
    assert (track[:88] == 0.0).all()
    assert track[round(1.9 / DT)] == 1.0
    assert track[-1] == 1.0


def test_a_wink_opens_one_eye_only():
    guard = BlinkGuard(0.05, 1.5, NEUTRAL)
    wish = pose = lids(UL=0.0, UR=0.4)
    for _ in range(150):
        target = wish.copy()
        guard.apply(target, pose, wish, DT)
        pose = target
    assert pose[UL] == 1.0
    assert pose[UR] == 0.4


def test_an_opened_eye_is_given_back_when_the_drivers_has_opened():
    guard = BlinkGuard(0.05, 1.5, NEUTRAL)
    held(3.0, lids(UL=0.0), guard)
    assert held(1.0, lids(UL=0.3), guard)[-1] == 1.0
    assert held(0.1, lids(UL=0.6), guard)[-1] == 0.6
    assert held(1.0, lids(UL=0.0), guard)[-1] == 0.0


def test_noise_around_the_threshold_does_not_restart_the_clock():
    guard = BlinkGuard(0.05, 1.5, NEUTRAL)
    for k in range(120):
        held(DT, lids(UL=0.0 if k % 2 else 0.15), guard)
    assert held(1.0, lids(UL=0.0), guard)[-1] == 1.0


def test_opening_in_between_starts_the_clock_anew():
    guard = BlinkGuard(0.05, 1.5, NEUTRAL)
    for _ in range(4):
        assert (held(1.0, lids(UL=0.0), guard) == 0.0).all()
        held(0.1, lids(UL=0.4), guard)


@pytest.mark.parametrize("eye", ["UL", "UR"])
def test_each_eye_has_the_whole_time(eye):
    """Exactly 1.5 s closed is not too long, for either eye, at its first and at its second time."""
    index = {"UL": UL, "UR": UR}[eye]
    guard = BlinkGuard(0.05, 1.5, NEUTRAL)
    closed, opened = lids(**{eye: 0.0}), lids(**{eye: 1.0})
    for _ in range(2):
        for _ in range(3):
            target = closed.copy()
            guard.apply(target, closed, closed, 0.5)
            assert target[index] == 0.0
        target = closed.copy()
        guard.apply(target, closed, closed, 2**-20)
        assert target[index] == 0.05  # its way begins at "closed"
        for _ in range(4):
            target = closed.copy()
            guard.apply(target, target, closed, 0.1)
        assert target[index] == 1.0
        guard.apply(opened.copy(), opened, opened, 0.1)


def test_an_eye_opens_evenly_within_300_ms():
    track = held(2.5, lids(UL=0.0))
    steps = np.diff(track)
    moving = steps[steps > 0]
    assert len(moving) == pytest.approx(0.3 / DT, abs=2)
    assert moving[2:-1] == pytest.approx(0.95 * DT / 0.3)


@pytest.mark.parametrize(("at", "closed"), [(0.05, True), (0.06, False), (-1.0, True)])
def test_closed_is_at_the_threshold_and_below(at, closed):
    track = held(3.0, lids(UL=at))
    assert (track[-1] > 0.9) == closed
    assert both_closed(lids(UL=at, UR=0.05), 0.05) == closed
    assert both_closed(lids(UL=0.05, UR=at), 0.05) == closed


@pytest.mark.parametrize(("at", "reopened"), [(0.25, True), (0.26, False)])
def test_the_clock_runs_on_up_to_a_clear_step_above_closed(at, reopened):
    guard = BlinkGuard(0.05, 1.5, NEUTRAL)
    held(0.5, lids(UL=0.0), guard)
    assert (held(1.5, lids(UL=at), guard)[-1] > at) == reopened


def test_half_open_gives_the_eye_back():
    guard = BlinkGuard(0.05, 1.5, NEUTRAL)
    held(3.0, lids(UL=0.0), guard)
    assert held(0.1, lids(UL=0.49), guard)[-1] == 1.0
    assert held(0.1, lids(UL=0.5), guard)[-1] == 0.5


def test_giving_one_eye_back_leaves_the_other_open():
    guard = BlinkGuard(0.05, 1.5, NEUTRAL)
    shut = lids(UL=0.0, UR=0.0)
    for _ in range(30):
        target = shut.copy()
        guard.apply(target, shut, shut, 0.1)
    wish = lids(UL=0.8, UR=0.0)
    target = wish.copy()
    guard.apply(target, target, wish, 0.1)
    assert (target[UL], target[UR]) == (0.8, 1.0)


def test_a_gap_counts():
    guard = BlinkGuard(0.05, 1.5, NEUTRAL)
    target = lids(UL=0.0)
    guard.apply(target, lids(UL=0.0), lids(UL=0.0), 10.0)
    guard.apply(target, lids(UL=0.0), lids(UL=0.0), 1.0)
    assert target[UL] == 1.0
