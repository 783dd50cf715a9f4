"""``--fast``: every frame of a file, in order, as quickly as it can, on the file's own clock.

One thread, no wall clock: the same input gives the same commands, bit for bit on the same machine.
"""

from __future__ import annotations

import time
from typing import Final

from x2c_edge.capture.base import EndOfStream
from x2c_edge.runtime.endings import close_links
from x2c_edge.runtime.loop_parts import TELEMETRY_PERIOD_S, LoopParts
from x2c_edge.runtime.supervision import Informant

_EVER_NS: Final = 1e18  # "inf" has no whole number
CLOSE_TIMEOUT_S: Final = 20.0  # longer than live: a link to a file waits rather than drops


class FastLoop:
    """A command leaves at every frame's time, and in between so that no gap exceeds the link's period."""

    def __init__(self, parts: LoopParts, gear: str) -> None:
        """gear: what every frame runs in; there is no clock to be late on."""
        self._parts, self._gear = parts, gear
        self._supervisor, self._book = parts.supervisor, parts.book
        self._informant = Informant(parts.supervisor)
        self._stop = False
        self._now_ns = 0
        self._start_s = time.monotonic()
        self._end_s: float | None = None
        self._told_s = 0.0
        self.processed = self.with_face = 0
        self.skipped = 0
        self.losses: list[str] = []  # of links, known when they are closed
        self.hint = ""

    def stop(self) -> None:
        """Ease to neutral in file time, then end."""
        self._stop = True

    @property
    def elapsed_s(self) -> float:
        return (self._end_s or time.monotonic()) - self._start_s

    def recent_fps(self) -> float:
        """Frames per second of the whole run."""
        return self.processed / max(self.elapsed_s, 1e-9)

    def run(self) -> None:
        self._start_s = time.monotonic()
        try:
            self._supervisor.link_up(0)
            try:
                self._frames()
            finally:  # also after a damaged picture: the robot goes home before the links close
                self._supervisor.begin_stop(self._now_ns)
                while not self._supervisor.stopped:
                    self._tick(self._now_ns + self._parts.period_ns)
        finally:
            self._parts.source.close()
            self.losses = close_links(self._parts.links, CLOSE_TIMEOUT_S)
            self._end_s = time.monotonic()

    def _frames(self) -> None:
        parts, period_ns = self._parts, self._parts.period_ns
        end_ns = None if parts.duration_s is None else round(min(_EVER_NS, parts.duration_s * 1e9))
        while not self._stop:
            start_ns = time.monotonic_ns()
            try:
                frame = parts.source.read(1.0)
            except EndOfStream:
                return
            if frame is None:
                continue
            if end_ns is not None and frame.t_capture_ns > end_ns:
                return
            read_ns = time.monotonic_ns()
            self._book.stage("read").add(read_ns - start_ns)
            while frame.t_capture_ns - self._now_ns > period_ns:
                self._tick(self._now_ns + period_ns)
            sight = parts.eyes.process(frame, self._gear)
            self.processed += 1
            self.with_face += sight.landmarks is not None
            self._informant.tell(sight, frame.t_capture_ns)
            self._tick(frame.t_capture_ns)
            done_ns = time.monotonic_ns()
            if sight.landmarks is not None:
                self._book.capture_to_controls.add(done_ns - read_ns)
            self._book.overhead.add(done_ns - read_ns - sight.steps_ns)
            for recorder in parts.recorders:
                recorder.offer(sight)
            self.hint = sight.hint
            if parts.on_telemetry is not None and done_ns / 1e9 - self._told_s > TELEMETRY_PERIOD_S:
                self._told_s = done_ns / 1e9
                parts.on_telemetry()
            if parts.max_frames is not None and self.processed >= parts.max_frames:
                return

    def _tick(self, now_ns: int) -> None:
        self._now_ns = max(self._now_ns, now_ns)
        self._parts.operator.attend(self._supervisor, self._now_ns)
        command = self._supervisor.tick(self._now_ns)
        if command is not None:
            for link in self._parts.links:
                link.send(command)
            for recorder in self._parts.recorders:
                recorder.command(command)
