"""``--fast``: every frame of a file, in order, as quickly as it can, on the file's own clock.

One thread, no wall clock: the same input gives the same commands, bit for bit on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from x2c_edge.capture.base import EndOfStream, Source
from x2c_edge.links.base import Link
from x2c_edge.runtime.endings import close_links
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.live import TELEMETRY_PERIOD_S
from x2c_edge.runtime.operator import Operator
from x2c_edge.runtime.recorder import RunRecorder
from x2c_edge.runtime.vision import Eyes, tell
from x2c_edge.safety.supervisor import Supervisor

CLOSE_TIMEOUT_S: Final = 20.0  # longer than live: a link to a file waits rather than drops


class FastRun:
    """A command leaves at every frame's time, and in between so that no gap exceeds the link's period."""

    def __init__(
        self,
        source: Source,
        vision: Eyes,
        gear: str,
        supervisor: Supervisor,
        links: Sequence[Link],
        book: LatencyBook,
        *,
        rate_hz: int,
        operator: Operator | None = None,
        recorders: Sequence[RunRecorder] = (),
        on_telemetry: Callable[[], None] | None = None,
        duration_s: float | None = None,
        max_frames: int | None = None,
    ) -> None:
        self._source, self._vision, self._gear = source, vision, gear
        self._supervisor, self._links, self._book = supervisor, links, book
        self._operator = operator or Operator()
        self._period_ns = round(1e9 / rate_hz)
        self._recorders, self._on_telemetry = recorders, on_telemetry
        self._duration_ns = None if duration_s is None else round(duration_s * 1e9)
        self._max_frames = max_frames
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
                    self._tick(self._now_ns + self._period_ns)
        finally:
            self._source.close()
            self.losses = close_links(self._links, CLOSE_TIMEOUT_S)
            self._end_s = time.monotonic()

    def _frames(self) -> None:
        had_reference = False
        while not self._stop:
            start_ns = time.monotonic_ns()
            try:
                frame = self._source.read(1.0)
            except EndOfStream:
                return
            if frame is None:
                continue
            if self._duration_ns is not None and frame.t_capture_ns > self._duration_ns:
                return
            read_ns = time.monotonic_ns()
            self._book.stage("read").add(read_ns - start_ns)
            while frame.t_capture_ns - self._now_ns > self._period_ns:
                self._tick(self._now_ns + self._period_ns)
            sight = self._vision.process(frame, self._gear)
            self.processed += 1
            self.with_face += sight.landmarks is not None
            tell(sight, self._supervisor, had_reference, frame.t_capture_ns)
            had_reference = sight.has_reference
            self._tick(frame.t_capture_ns)
            done_ns = time.monotonic_ns()
            if sight.landmarks is not None:
                self._book.capture_to_controls.add(done_ns - read_ns)
            self._book.overhead.add(done_ns - read_ns - sight.steps_ns)
            for recorder in self._recorders:
                recorder.offer(sight)
            self.hint = sight.hint
            if self._on_telemetry is not None and done_ns / 1e9 - self._told_s > TELEMETRY_PERIOD_S:
                self._told_s = done_ns / 1e9
                self._on_telemetry()
            if self._max_frames is not None and self.processed >= self._max_frames:
                return

    def _tick(self, now_ns: int) -> None:
        self._now_ns = max(self._now_ns, now_ns)
        self._operator.attend(self._supervisor, self._now_ns)
        command = self._supervisor.tick(self._now_ns)
        if command is not None:
            for link in self._links:
                link.send(command)
            for recorder in self._recorders:
                recorder.command(command)
