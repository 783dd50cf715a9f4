from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.patience import patient
from tests.runtime.conftest import Memory
from x2c_edge.frames import Command, Flag
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.single_stage import SingleStagePipeline
from x2c_edge.runtime.governor import Governor
from x2c_edge.runtime.live_loop import LiveLoop

BUDGET_NS = 2_000_000_000  # nothing here is about being in time


def run_of(parts, budget_ns: int = BUDGET_NS, **named) -> LiveLoop:
    of_loop = parts.of_loop(**named)
    return LiveLoop(of_loop, Governor(("single-stage",), budget_ns, of_loop.period_ns), budget_ns)


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_a_run_follows_the_face_and_ends_with_its_file(parts):
    told: list[float] = []
    parts = parts(paced=True)
    run = run_of(parts, budget_ns=300_000_000, on_telemetry=lambda: told.append(run.recent_fps()))
    run.run()
    states = parts.link.states
    assert "FOLLOWING" in states
    assert states[-1] == "STOPPED"
    parts.link.assert_home_and_closed(parts.supervisor)
    assert all(c.flags & Flag.END for c in parts.link.commands[-3:])
    assert run.processed + run.skipped == 75
    assert parts.book.skips == run.skipped
    followed = [c.frame_seq for c in parts.link.commands if c.frame_seq is not None]
    assert followed == sorted(followed)
    assert parts.book.capture_to_wire.count == len(set(followed))
    assert parts.book.tick_jitter.count >= len(parts.link.commands) - 1
    assert told
    assert run.elapsed_s > 2.4
    assert parts.book.gear_seconds["single-stage"] > 0


def test_stop_from_another_thread_eases_to_neutral(parts):
    parts = parts(paced=True)
    run = run_of(parts)

    def stop_once_it_follows() -> None:
        give_up = time.monotonic() + patient(5)
        while sum(c.state == "FOLLOWING" for c in parts.link.commands) < 20 and time.monotonic() < give_up:
            time.sleep(0.01)
        run.stop()

    thread = threading.Thread(target=stop_once_it_follows)
    thread.start()
    run.run()
    thread.join()
    assert run.processed < 75
    assert "FOLLOWING" in parts.link.states
    parts.link.assert_home_and_closed(parts.supervisor)
    stopping = [c for c in parts.link.commands if c.state == "STOPPED"]
    assert len(stopping) > 3  # it was a way, not a jump


@pytest.mark.parametrize("limit", [{"max_frames": 8}, {"duration_s": 0.7}], ids=str)
def test_it_can_end_early(parts, limit: dict):
    parts = parts(paced=True)
    run = run_of(parts, **limit)
    run.run()
    assert 0 < run.processed < 60
    parts.link.assert_home_and_closed(parts.supervisor)


class Breaks(SingleStagePipeline):
    """A net that fails in the middle of a run."""

    looks = 0

    def measure(self, crop) -> Measurement:
        self.looks += 1
        if self.looks > 8:
            raise ZeroDivisionError("the ninth look")
        return super().measure(crop)


def test_an_error_in_the_vision_thread_ends_the_run_after_easing(parts):
    parts = parts(paced=True, pipeline=Breaks)
    with pytest.raises(ZeroDivisionError, match="the ninth look"):
        run_of(parts).run()
    assert "FOLLOWING" in parts.link.states
    parts.link.assert_home_and_closed(parts.supervisor)


def test_an_error_in_the_telemetry_does_too(parts):
    def fail() -> None:
        raise OSError("the panel is gone")

    parts = parts(paced=True)
    with pytest.raises(OSError, match="the panel"):
        run_of(parts, on_telemetry=fail).run()
    parts.link.assert_home_and_closed(parts.supervisor)


def test_a_link_that_fails_is_a_fault_and_not_the_end(parts):
    def fail(command) -> None:
        raise OSError("unplugged")

    parts = parts(paced=True, on_send=fail)
    run = run_of(parts, max_frames=12)
    run.run()
    assert "link errors" in parts.supervisor.fault
    assert parts.link.state == "closed"
    assert parts.supervisor.stopped


class Slow(SingleStagePipeline):
    def measure(self, crop) -> Measurement:
        time.sleep(0.1)
        return super().measure(crop)


def test_frames_that_vision_never_took_are_counted(parts):
    parts = parts(paced=True, pipeline=Slow)
    run = run_of(parts, max_frames=5)
    run.run()
    assert run.skipped > 3  # at 30 frames a second, every third is taken
    assert parts.book.skips > 3
    assert parts.book.capture_to_controls.percentile(50) > 1e8


def test_frames_that_are_too_old_are_skipped(parts):
    parts = parts(paced=True, pipeline=Slow)
    run = run_of(parts, budget_ns=1_000, duration_s=0.4)
    run.run()
    assert run.processed == 0
    assert run.skipped > 3
    assert parts.book.skips == run.skipped
    assert parts.link.states == ["NEUTRAL", "STOPPED"]


def test_the_source_is_closed(parts, face_clip: Path):
    def open_files() -> list[str]:
        return [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]

    parts = parts(paced=True)
    assert str(face_clip) in open_files()
    run_of(parts, max_frames=2).run()
    assert str(face_clip) not in open_files()


@pytest.mark.parametrize("first", ["memory:", "jsonl:commands"])
def test_a_robot_that_comes_late_starts_from_neutral(parts, first: str):
    parts = parts(paced=True)
    parts.link.uri = first
    late = Memory()
    late.uri, late.state = "memory:late", "opening"
    rest = parts.supervisor.rest

    def moved(command: Command) -> bool:
        return bool(np.abs(command.values - rest).max() > 1e-6)  # the run counts as home from 1e-9 on

    def come() -> None:
        while not any(map(moved, list(parts.link.commands))):
            time.sleep(0.01)
        time.sleep(0.5)  # until the first one is well away
        late.state = "up"

    thread = threading.Thread(target=come, daemon=True)
    thread.start()
    of_loop = replace(parts.of_loop(), links=[parts.link, late])
    LiveLoop(of_loop, Governor(("single-stage",), BUDGET_NS, of_loop.period_ns), BUDGET_NS).run()
    thread.join(5)
    begins = next(command.seq for command in late.commands if moved(command))
    others = [command for command in parts.link.commands if command.seq < begins]
    assert "RETURNING" in {command.state for command in others}
    assert any(map(moved, others))  # the first one had moved,
    assert not moved(others[-1])  # came back, and both start together
    steps = [np.abs(after.values - before.values).max() for before, after in pairwise(late.commands)]
    followed = [command.values for command in parts.link.commands if command.state == "FOLLOWING"]
    assert max(steps) < 0.5 * max(np.abs(values - rest).max() for values in followed)
    late.assert_home_and_closed(parts.supervisor)


def test_a_signal_in_the_middle_of_the_end_does_not_stop_the_ticks(parts):
    """``stop`` may interrupt the ticking thread anywhere, also where it sets the event that ends the run."""
    parts = parts(paced=True)
    run = run_of(parts, duration_s=0.3)
    interrupted: list[bool] = []

    def at_every_line(frame, event, argument):
        if frame.f_code is threading.Event.set.__code__ and frame.f_lineno > frame.f_code.co_firstlineno + 7:
            run.stop()
            interrupted.append(True)
        return at_every_line

    tracing = sys.gettrace()
    sys.settrace(at_every_line)
    try:
        run.run()
    finally:
        sys.settrace(tracing)
    assert interrupted
    parts.link.assert_home_and_closed(parts.supervisor)
