"""The live loop: capture, vision, actuation and telemetry threads (docs/spec/program.md section 6)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from x2c_edge.capture.base import EndOfStream
from x2c_edge.frames import Command, Frame
from x2c_edge.runtime.endings import close_links
from x2c_edge.runtime.governor import Governor
from x2c_edge.runtime.loop_parts import TELEMETRY_PERIOD_S, LoopParts
from x2c_edge.runtime.mailbox import Mailbox
from x2c_edge.runtime.newcomers import Newcomers
from x2c_edge.runtime.priority import preferred
from x2c_edge.runtime.service_manager import ServiceManager
from x2c_edge.runtime.supervision import Informant
from x2c_edge.runtime.tick import TickClock
from x2c_edge.runtime.vision import Sight

READ_TIMEOUT_S: Final = 0.1
LINK_CHECK_S: Final = 0.1
CLOSE_TIMEOUT_S: Final = 1.0


class LiveLoop:
    """Runs until ``stop`` (from any thread or a signal handler), the source's end, or a time limit.

    ``run`` blocks; it returns when the face is back at neutral and every link is closed.
    """

    def __init__(self, parts: LoopParts, governor: Governor, budget_ns: int) -> None:
        """governor: chooses each frame's gear. budget_ns: from the camera to the wire; a frame that is older
        when vision takes it is skipped."""
        self._parts, self._governor = parts, governor
        self._supervisor, self._book = parts.supervisor, parts.book
        self._budget_ns = budget_ns
        self._frames: Mailbox[Frame] = Mailbox()
        self._sights: Mailbox[tuple[Sight, bool]] = Mailbox()  # and whether its expression may be used
        self._newcomers = Newcomers([link.uri for link in parts.links], self._supervisor.rest)
        self._clock = TickClock(parts.period_ns, time.monotonic_ns())
        self._asked_to_stop = False
        self._stopping = threading.Event()  # ease to neutral and end
        self._finished = threading.Event()  # the last command has left
        self._failure: BaseException | None = None
        self._finish_times: deque[float] = deque(maxlen=1024)  # of the last second
        self._processed = self._with_face = 0
        self._too_old = 0
        self._last_frame_on_wire: int | None = None
        self._start_s = time.monotonic()
        self._end_s: float | None = None
        self.losses: list[str] = []  # of links, known when they are closed
        self.hint = ""  # what the driver should do now

    def stop(self) -> None:
        """Ease to neutral, then end."""
        # A signal handler may have interrupted the very thread that sets the event, or another handler: the
        # event's lock would wait for itself. So the tick sets it.
        self._asked_to_stop = True

    def run(self) -> None:
        """Raises whatever ended a thread that should not have ended."""
        self._start_s = time.monotonic()
        workers = [
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            for name, work in (("capture", self._capture), ("vision", self._look), ("telemetry", self._tell))
        ]
        for worker in workers:
            worker.start()
        try:
            with preferred():
                self._actuate()
        finally:
            self._stopping.set()
            self._finished.set()
            for worker in workers:
                worker.join(timeout=3.0)
            self.losses = close_links(self._parts.links, CLOSE_TIMEOUT_S)
            self._end_s = time.monotonic()
        if self._failure is not None:
            raise self._failure

    @property
    def processed(self) -> int:
        """Frames that vision has finished."""
        return self._processed

    @property
    def with_face(self) -> int:
        """Those of them that show a face."""
        return self._with_face

    @property
    def skipped(self) -> int:
        """Frames that vision never took, or took too late."""
        return self._too_old + self._frames.replaced

    @property
    def elapsed_s(self) -> float:
        return (self._end_s or time.monotonic()) - self._start_s

    def recent_fps(self) -> float:
        """Frames that vision finished within the last second."""
        now = time.monotonic()
        return float(sum(now - t <= 1.0 for t in list(self._finish_times)))

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._failure = self._failure or error
            self._stopping.set()

    # --- capture ----------------------------------------------------------------------------------

    def _capture(self) -> None:
        try:
            while not self._stopping.is_set():
                frame = self._parts.source.read(READ_TIMEOUT_S)
                if frame is not None:
                    self._frames.post(frame)
        except EndOfStream:
            # Vision gets the time to finish the last frame before the face is sent home.
            time.sleep(2 * self._budget_ns / 1e9)
            self._stopping.set()
        finally:
            self._parts.source.close()

    # --- vision -----------------------------------------------------------------------------------

    def _look(self) -> None:
        book, governor = self._book, self._governor
        while not self._stopping.is_set():
            frame = self._frames.take(READ_TIMEOUT_S)
            if frame is None:
                continue
            start_ns = time.monotonic_ns()
            age_ns = start_ns - frame.t_capture_ns
            book.stage("queue").add(age_ns)
            if age_ns > self._budget_ns:
                self._too_old += 1
                book.skips = self.skipped
                continue
            sight = self._parts.eyes.process(frame, governor.running)
            self.hint = sight.hint
            in_time = True
            if sight.landmarks is not None and not sight.acquired:
                governor.wait_ns = self._clock.wait_ns
                in_time = governor.finished(time.monotonic_ns(), age_ns, sight.total_ns)
            if sight.expression is not None:  # used or not: what it waits for the tick is judged by
                self._clock.arrived(time.monotonic_ns())
            self._sights.post((sight, in_time))
            self._processed += 1
            self._with_face += sight.landmarks is not None
            for recorder in self._parts.recorders:
                recorder.offer(sight)
            done_ns = time.monotonic_ns()
            self._finish_times.append(done_ns / 1e9)
            if sight.landmarks is not None:
                book.capture_to_controls.add(done_ns - frame.t_capture_ns)
            book.overhead.add(done_ns - start_ns - sight.steps_ns)
            book.skips = self.skipped
            if self._parts.max_frames is not None and self._processed >= self._parts.max_frames:
                self._stopping.set()

    # --- actuation --------------------------------------------------------------------------------

    def _actuate(self) -> None:
        """The tick. Deadlines are absolute: a late tick does not push the next ones back."""
        supervisor, book = self._supervisor, self._book
        tick, start_ns = 0, time.monotonic_ns()
        check_every = max(1, round(LINK_CHECK_S * 1e9 / self._parts.period_ns))
        clock, duration_s = self._clock, self._parts.duration_s
        clock.due_ns = start_ns
        informant = Informant(supervisor)
        while True:
            due_ns = clock.due_ns
            wait_ns = due_ns - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)
            now_ns = time.monotonic_ns()
            if tick:
                book.tick_jitter.add(now_ns - due_ns)
            if tick % check_every == 0:
                self._watch_links(now_ns)
            over = duration_s is not None and now_ns - start_ns > duration_s * 1e9
            if (over or self._asked_to_stop) and not self._stopping.is_set():
                self._stopping.set()
            if self._stopping.is_set():
                supervisor.begin_stop(now_ns)
            self._parts.operator.attend(supervisor, now_ns)
            seen = self._sights.take(0.0)
            if seen is not None:
                sight, usable = seen
                waited_ns = clock.taken(now_ns) if sight.expression is not None else None
                if waited_ns is not None and usable:
                    book.tick_wait.add(waited_ns)
                informant.tell(sight if usable else replace(sight, expression=None), now_ns)
            command = supervisor.tick(now_ns)
            if command is not None:
                self._send(command)
            if self._parts.service is not None:
                self._tell_service(self._parts.service, now_ns)
            if supervisor.stopped:
                return
            tick += 1
            clock.advance(time.monotonic_ns())

    def _tell_service(self, service: ServiceManager, now_ns: int) -> None:
        service.ready()
        service.alive(now_ns)
        if self._stopping.is_set():
            service.stopping()

    def _send(self, command: Command) -> None:
        if not self._supervisor.joining:
            self._newcomers.admit()
        for number, link in enumerate(self._parts.links):
            with self._counted_errors(command.t_send_ns):
                link.send(self._newcomers.told(number, command))
        for recorder in self._parts.recorders:
            recorder.command(command)
        if command.t_capture_ns is not None and command.frame_seq != self._last_frame_on_wire:
            self._last_frame_on_wire = command.frame_seq
            age_ns = time.monotonic_ns() - command.t_capture_ns
            self._book.capture_to_wire.add(age_ns)
            if age_ns > self._budget_ns:
                self._book.misses += 1

    @contextlib.contextmanager
    def _counted_errors(self, now_ns: int) -> Iterator[None]:
        """A link must not raise in the tick; one that does is a link error, not the end of the run."""
        try:
            yield
        except Exception:
            self._supervisor.link_error(now_ns)

    def _watch_links(self, now_ns: int) -> None:
        """The supervisor starts with the first link that is up, and softly whenever a robot joins."""
        statuses = [link.status() for link in self._parts.links]
        for status in statuses:
            if status.robot_fault:
                self._supervisor.robot_fault(now_ns, f"{status.uri}: {status.robot_fault}")
        if any(status.state == "up" for status in statuses):
            self._supervisor.link_up(now_ns)
        else:
            self._supervisor.link_lost(now_ns)
        if self._newcomers.look(statuses, now_ns):
            self._supervisor.robot_joined(now_ns)

    # --- telemetry --------------------------------------------------------------------------------

    def _tell(self) -> None:
        self._book.note_gear(self._governor.gear, time.monotonic_ns())
        while not self._finished.wait(TELEMETRY_PERIOD_S):
            self._book.note_gear(self._governor.gear, time.monotonic_ns())
            if self._parts.on_telemetry is not None:
                self._parts.on_telemetry()
