from __future__ import annotations

import threading

import numpy as np
import pytest

from x2c_edge.controls import NEUTRAL, SLEW
from x2c_edge.errors import BadArgumentError
from x2c_edge.frames import Command, Expression, Flag
from x2c_edge.runtime.operator import HOLD_S, Operator
from x2c_edge.safety.supervisor import Supervisor

PERIOD_NS = 16_666_667


class Robot:
    """A supervisor that is shown a fresh, raised face at every tick of a clock of its own."""

    def __init__(self, operator: Operator, start_ns: int = 0) -> None:
        self.operator, self.supervisor, self.now = operator, Supervisor(), start_ns
        self.supervisor.link_up(self.now)
        self.supervisor.reference_ready(self.now)
        self.commands: list[Command] = []

    def tick(self, times: int = 1) -> Command:
        for _ in range(times):
            self.now += PERIOD_NS
            values = NEUTRAL + 0.1 * np.sin(self.now / 1e8)
            seen = Expression(len(self.commands), self.now, "test", values, 1.0, np.zeros((0, 2)))
            self.supervisor.offer(seen, self.now)
            self.operator.attend(self.supervisor, self.now)
            command = self.supervisor.tick(self.now)
            assert command is not None
            self.commands.append(command)
        return self.commands[-1]

    def largest_step(self) -> float:
        """In parts of what the slew limit allows in one period."""
        values = np.array([c.values for c in self.commands])
        return float((np.abs(np.diff(values, axis=0)) / (SLEW * PERIOD_NS * 1e-9)).max())


def test_a_stop_is_in_the_next_command_and_lasts_until_resume() -> None:
    operator = Operator()
    robot = Robot(operator)
    assert robot.tick(60).state == "FOLLOWING"
    operator.stop("test")
    stopped = robot.tick()
    assert (stopped.state, bool(stopped.flags & Flag.HOLD)) == ("RETURNING", True)
    np.testing.assert_array_equal(stopped.values, robot.commands[-2].values)
    assert operator.halted == "stopped (test)"
    np.testing.assert_allclose(robot.tick(120).values, NEUTRAL, atol=1e-9)
    operator.resume("test")
    assert robot.tick().state == "FOLLOWING"
    np.testing.assert_allclose(robot.commands[-1].values, NEUTRAL, atol=1e-3)  # softly, from where it was
    assert operator.halted == ""
    assert robot.largest_step() <= 1 + 1e-6


def test_resume_in_the_middle_of_the_way_starts_from_there() -> None:
    operator = Operator()
    robot = Robot(operator)
    robot.tick(60)
    operator.stop()
    robot.tick(20)
    operator.resume()
    before, after = robot.commands[-1].values, robot.tick().values
    assert np.abs(after - before).max() < 0.01
    assert robot.largest_step() <= 1 + 1e-6


def test_a_stop_beats_a_resume_of_the_same_tick() -> None:
    operator = Operator()
    robot = Robot(operator)
    robot.tick(5)
    operator.stop()
    operator.resume()
    assert robot.tick().state == "RETURNING"
    assert robot.tick(5).state == "RETURNING"


def test_requests_before_the_first_tick_count() -> None:
    operator = Operator()
    operator.stop()
    assert Robot(operator).tick(3).state == "RETURNING"


def test_a_fault_is_left_by_reset_and_not_by_resume() -> None:
    operator = Operator()
    robot = Robot(operator)
    robot.tick(60)
    robot.supervisor.robot_fault(robot.now, "overheat")
    assert robot.tick(30).state == "FAULT"
    operator.resume()
    assert robot.tick().state == "FAULT"
    operator.reset()
    assert robot.tick().state == "FOLLOWING"
    assert robot.supervisor.fault is None
    assert robot.largest_step() <= 1 + 1e-6


def test_a_fault_that_was_stopped_as_well_stays_stopped_after_reset() -> None:
    operator = Operator()
    robot = Robot(operator)
    robot.supervisor.robot_fault(0, "overheat")
    operator.stop()
    robot.tick(3)
    operator.reset()
    assert robot.tick().state == "RETURNING"
    operator.resume()
    assert robot.tick().state == "FOLLOWING"


def test_hold_to_run_follows_only_while_somebody_holds() -> None:
    import time

    operator = Operator(hold_to_run=True)
    robot = Robot(operator, time.monotonic_ns())
    assert robot.tick(3).state == "RETURNING"
    assert operator.halted == "nobody holds"
    operator.hold("left", 10)
    operator.hold("right", 10)
    assert robot.tick().state == "FOLLOWING"
    operator.release("left")
    assert robot.tick().state == "FOLLOWING"
    operator.release("right")
    assert robot.tick().state == "RETURNING"
    operator.hold("left")  # and then says nothing more
    assert robot.tick().state == "FOLLOWING"
    robot.tick(round(HOLD_S * 1e9 / PERIOD_NS) + 1)
    assert robot.commands[-1].state == "RETURNING"


def test_a_stop_from_elsewhere_is_stronger_than_a_hold() -> None:
    import time

    operator = Operator(hold_to_run=True)
    robot = Robot(operator, time.monotonic_ns())
    operator.hold("keys", 10)
    robot.tick(3)
    operator.stop("SIGUSR2")
    assert robot.tick(3).state == "RETURNING"
    operator.resume()
    assert robot.tick().state == "FOLLOWING"


def test_a_flood_of_requests_takes_no_room_and_ends_in_a_stop() -> None:
    operator = Operator()
    robot = Robot(operator)
    robot.tick()

    def flood() -> None:
        for k in range(2000):
            operator.ask(("stop", "resume", "reset")[k % 3], "page")

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        robot.tick()
    operator.stop()
    assert robot.tick().state == "RETURNING"
    assert len(operator.log) == 64


def test_what_nobody_can_do_is_said() -> None:
    with pytest.raises(BadArgumentError, match="replay"):
        Operator().neutral()
    with pytest.raises(BadArgumentError, match="choose stop"):
        Operator().ask("jump", "page")
    taken: list[int] = []
    Operator(recalibrate=lambda: taken.append(1)).ask("neutral", "page")
    assert taken == [1]
    assert not Operator().attended(0.01)  # nothing ticks
