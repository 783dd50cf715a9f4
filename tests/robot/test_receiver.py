"""The receiver rules of links.md 4.2, on a made-up clock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x2c_edge.controls import HIGH, INDEX, LOW, NEUTRAL, SAFE_HIGH, SAFE_LOW, SLEW
from x2c_edge.errors import BadArgumentError
from x2c_edge.frames import Flag
from x2c_edge.links.codec import FAULTS, STATES
from x2c_edge.robot.receiver import Demand, Receiver, ReceiverSettings

TICK = 1 / 60
BROW = INDEX["Brow Inner Left"]


class Robot:
    """A receiver with a clock and a well-behaved sender."""

    def __init__(self, **options: float) -> None:
        self.now = 100.0
        self.receiver = Receiver(self.now, ReceiverSettings(**options))
        self.run, self.seq = 7, 0
        self.values = np.array(NEUTRAL)

    def demand(self, **changes: object) -> Demand:
        t = self.now + 5000.0  # another machine's clock
        return replace(Demand(self.run, self.seq, self.values.copy(), t_s=t, sent_s=t), **changes)

    def send(self, **changes: object) -> str:
        self.seq += 1
        return self.receiver.take(self.demand(**changes), self.now)

    def tick(self, seconds: float = TICK) -> None:
        for _ in range(max(1, round(seconds / TICK))):
            self.now += TICK
            before = self.receiver.pose.copy()
            self.receiver.tick(self.now)
            assert (np.abs(self.receiver.pose - before) <= SLEW * TICK + 1e-9).all() or self.receiver._soft
            assert (self.receiver.pose >= LOW - 1e-9).all()
            assert (self.receiver.pose <= HIGH + 1e-9).all()

    def drive(self, seconds: float, **changes: object) -> None:
        for _ in range(round(seconds / TICK)):
            self.send(**changes)
            self.tick()

    @property
    def state(self) -> str:
        return STATES[self.receiver.state]


def test_it_follows_and_the_motors_come_after() -> None:
    robot = Robot()
    robot.drive(1.0)
    robot.values[BROW] = 0.6
    robot.drive(0.3)
    assert robot.state == "ACTIVE"
    assert robot.receiver.pose[BROW] == pytest.approx(0.6)
    assert 0.55 < robot.receiver.actuators.positions[BROW] <= 0.6 + 1e-9
    tally = robot.receiver.tally
    assert (tally.applied, tally.gap, tally.runs, tally.range, tally.limited) == (robot.seq, 0, 1, 0, 0)


def test_the_watchdog_holds_then_eases_then_releases() -> None:
    robot = Robot()
    robot.values[BROW] = 0.52
    robot.drive(1.0)
    robot.tick(0.2)
    assert robot.state == "HOLD"
    assert robot.receiver.pose[BROW] == pytest.approx(0.52)
    robot.tick(0.4)
    assert robot.state == "NEUTRAL"
    robot.tick(1.2)
    assert np.abs(robot.receiver.pose - NEUTRAL).max() < 1e-6
    robot.tick(5)
    assert robot.state == "WAIT"


@pytest.mark.parametrize("silence", [0.7, 8.0])
def test_coming_back_is_soft(silence: float) -> None:
    robot = Robot()
    robot.drive(1.0)
    robot.tick(silence)
    robot.values[BROW] = 0.9
    robot.send()
    robot.tick()
    assert abs(robot.receiver.pose[BROW] - 0.5) < 0.01  # at the slew limit it would be 0.13
    robot.drive(0.8)
    assert robot.receiver.pose[BROW] == pytest.approx(0.9)


def test_sequence_numbers() -> None:
    robot = Robot()
    assert robot.send() == "applied"
    robot.seq += 3
    assert robot.send() == "applied"
    assert robot.receiver.tally.gap == 3
    assert robot.receiver.bitmap == 0b1000
    assert robot.send(seq=robot.receiver.last_seq) == "duplicate"
    assert robot.send(seq=robot.receiver.last_seq - 2) == "late"
    robot = Robot()
    robot.seq = 2**32 - 2
    assert robot.send() == "applied"
    robot.seq = -1
    assert robot.send() == "applied"
    assert robot.receiver.tally.gap == 0


def test_another_run_waits_until_this_one_is_over() -> None:
    robot = Robot()
    robot.drive(0.2)
    assert robot.receiver.take(robot.demand(run=8, seq=0), robot.now) == "foreign"
    robot.tick()
    assert FAULTS[robot.receiver.fault] == "foreign run"
    robot.tick(0.6)
    recording = robot.demand(seq=3)
    robot.run, robot.seq = 8, 0
    assert robot.send() == "applied"
    assert robot.receiver.tally.runs == 2
    robot.tick(0.7)
    assert robot.receiver.take(recording, robot.now) == "late"  # nobody replays a run that is over
    robot.receiver.forget_runs()
    assert robot.receiver.take(recording, robot.now) == "applied"


def test_end_releases_at_once_and_a_new_run_may_follow() -> None:
    robot = Robot()
    robot.drive(0.3)
    for _ in range(3):
        assert robot.send(flags=Flag.NEUTRAL | Flag.END) == "applied"
        robot.tick()
    assert robot.state == "WAIT"
    robot.run, robot.seq = 9, 0
    assert robot.send() == "applied"
    assert robot.receiver.tally.ends == 3


def test_hold_keeps_the_pose_but_not_for_ever() -> None:
    robot = Robot()
    robot.values[BROW] = 0.6
    robot.drive(1.0)
    robot.values[BROW] = 0.5
    robot.drive(1.5, flags=Flag.HOLD)
    assert robot.state == "HOLD"
    assert robot.receiver.pose[BROW] == pytest.approx(0.6)
    robot.drive(2.0, flags=Flag.HOLD)
    assert robot.state == "NEUTRAL"
    assert robot.receiver.pose[BROW] == pytest.approx(0.5)
    robot.values[BROW] = 0.6
    robot.drive(1.0)
    assert robot.state == "ACTIVE"
    assert robot.receiver.pose[BROW] == pytest.approx(0.6)


def test_old_frames_do_not_feed_the_watchdog() -> None:
    robot = Robot()
    robot.drive(0.5)
    old = robot.now + 5000.0
    robot.now += 0.3
    assert robot.send(t_s=old, sent_s=old) == "stale"  # it waited in a buffer
    now = robot.now + 5000.0
    assert robot.send(t_s=now - 0.2, sent_s=now) == "stale"  # the picture was old
    robot.receiver.tick(robot.now)
    assert robot.state == "HOLD"
    assert robot.send() == "applied"


def test_a_stall_does_not_make_its_queue_fresh() -> None:
    robot = Robot()
    robot.drive(1.0)
    queue = []
    for _ in range(60):
        robot.seq += 1
        queue.append(robot.demand())
        robot.tick()
    verdicts = [robot.receiver.take(demand, robot.now) for demand in queue]
    assert verdicts[:40] == ["stale"] * 40
    assert verdicts[-1] == "applied"
    assert (robot.receiver.tally.runs, robot.receiver.tally.gap) == (1, 0)


def test_limits_are_kept_and_counted() -> None:
    robot = Robot()
    robot.drive(0.2)
    robot.values[INDEX["Jaw Pitch"]] = 0.2
    robot.send()
    tally = robot.receiver.tally
    assert (tally.range, tally.limited) == (1, 1)
    assert "control 13 outside" in tally.worst
    robot.tick(0.09)
    assert robot.receiver.pose[INDEX["Jaw Pitch"]] >= 0.5
    robot = Robot()
    robot.drive(0.5)
    robot.values[INDEX["Head Yaw"]] = 0.3
    robot.send()
    assert (robot.receiver.tally.speed, robot.receiver.tally.range) == (1, 0)


def test_twice_the_allowed_speed_is_noticed_and_a_jittery_clock_is_not() -> None:
    rng = np.random.default_rng(3)
    for factor, fast in ((2.0, True), (1.0, False)):
        robot = Robot()
        robot.drive(0.2)
        for _ in range(20):
            robot.values[INDEX["Head Yaw"]] += factor * SLEW[INDEX["Head Yaw"]] * TICK
            t = robot.now + 5000.0 + rng.uniform(0, 0.02)
            robot.send(t_s=t, sent_s=t)
            robot.now += TICK
        assert (robot.receiver.tally.speed > 0) is fast


def test_absent_values_leave_a_control_alone() -> None:
    robot = Robot()
    robot.values[BROW] = 0.6
    robot.drive(1.0)
    robot.values[BROW] = np.nan
    robot.drive(0.3)
    assert robot.receiver.pose[BROW] == pytest.approx(0.6)


@pytest.mark.parametrize(("fault", "state"), [("overheat", "FAULT"), ("e-stop", "ESTOP")])
def test_a_broken_robot_ignores_commands(fault: str, state: str) -> None:
    robot = Robot()
    robot.drive(0.3)
    robot.receiver.break_down(fault, robot.now)
    robot.values[BROW] = 0.6
    for _ in range(10):
        assert robot.send() == "ignored"
        robot.tick()
    assert robot.state == state
    assert FAULTS[robot.receiver.fault] == fault
    assert robot.receiver.pose[BROW] == pytest.approx(0.5)
    robot.receiver.repair(robot.now)
    assert robot.state == "WAIT"
    robot.send()
    robot.tick()
    assert robot.receiver.pose[BROW] < 0.51
    robot.drive(1.0)
    assert robot.receiver.pose[BROW] == pytest.approx(0.6)


@pytest.mark.parametrize("goes", ["falls silent", "ends"])
@pytest.mark.parametrize("while_broken", [True, False])
def test_after_a_fault_another_run_may_come(goes: str, while_broken: bool) -> None:
    robot = Robot()
    robot.drive(0.3)
    robot.receiver.break_down("e-stop", robot.now)
    if not while_broken:
        robot.receiver.repair(robot.now)
    if goes == "ends":
        robot.send(flags=Flag.NEUTRAL | Flag.END)
        robot.tick()
    else:
        robot.tick(0.6)
    if while_broken:
        robot.receiver.repair(robot.now)
    robot.run, robot.seq = 9, 0
    assert robot.send() == "applied"
    robot.drive(0.2)
    assert robot.state == "ACTIVE"


def test_a_run_that_goes_on_through_a_fault_keeps_its_robot() -> None:
    robot = Robot()
    robot.drive(0.3)
    robot.receiver.break_down("e-stop", robot.now)
    robot.drive(2.0)
    robot.receiver.repair(robot.now)
    assert robot.receiver.take(robot.demand(run=8, seq=0), robot.now) == "foreign"
    assert robot.send() == "applied"


@pytest.mark.parametrize(("hold", "neutral"), [(0, 1), (1, 0.5), (0.1, 61), (float("nan"), 1)])
def test_times_that_make_no_sense(hold: float, neutral: float) -> None:
    with pytest.raises(BadArgumentError, match="watchdog: hold after"):
        ReceiverSettings(hold=hold, neutral=neutral)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(-5, 40),
            st.sampled_from([0, Flag.HOLD, Flag.END, Flag.NEUTRAL]),
            st.floats(-200, 200),
            st.floats(0, 1.5),
        ),
        max_size=40,
    )
)
@settings(max_examples=100)
def test_whatever_comes_the_motors_are_safe(events: list[tuple[int, int, int, float, float]]) -> None:
    receiver = Receiver(0.0)
    now = 0.0
    for run, seq, flags, level, wait in events:
        receiver.take(Demand(run, seq % 2**32, np.full(30, level), flags=flags, t_s=now, sent_s=now), now)
        for _ in range(3):
            now += wait / 3
            positions = receiver.actuators.positions.copy()
            receiver.tick(now)
            step = np.abs(receiver.pose - positions)
            assert np.isfinite(receiver.pose).all()
            assert (receiver.pose >= SAFE_LOW - 1e-6).all()
            assert (receiver.pose <= SAFE_HIGH + 1e-6).all()
            assert np.isfinite(step).all()
            assert np.isfinite(receiver.actuators.positions).all()
    for _ in range(600):
        now += TICK
        receiver.tick(now)
    assert STATES[receiver.state] == "WAIT"
