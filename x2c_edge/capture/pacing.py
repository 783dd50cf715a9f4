"""Plays a file at its own rate, so that the rest of the program cannot tell it from a camera."""

from __future__ import annotations

import time
from dataclasses import replace

from x2c_edge.capture.base import EndOfStream, Source, SourceStatus
from x2c_edge.capture.images import Images
from x2c_edge.capture.video_file import VideoFile
from x2c_edge.frames import Frame


class Paced:
    """Wraps a file source; each frame is handed out when it is due.

    ``t_capture_ns`` becomes the moment at which the frame was due on ``time.monotonic_ns()``: the first
    frame is due when it is first asked for, the others as far after it as their media times are. No
    frame is skipped: a reader that is late gets late frames, whose age says so. A single image is
    repeated at its nominal rate without end.
    """

    live = True

    def __init__(self, source: Source) -> None:
        self._source = source
        if isinstance(source, VideoFile):
            source.waits = False
        self._start_ns: int | None = None
        self._first_media_ns = 0
        self._next: Frame | None = None
        self._latest: Frame | None = None
        self._speed = 1.0  # Played changes it
        self._repeats = isinstance(source, Images) and source.is_still

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def nominal_fps(self) -> float:
        return self._source.nominal_fps

    def open(self) -> None:
        self._source.open()

    def read(self, timeout_s: float) -> Frame | None:
        deadline_ns = time.monotonic_ns() + round(timeout_s * 1e9)
        if self._next is None:
            self._next = self._following(timeout_s)
        if self._next is None:
            return None
        if self._start_ns is None:
            self._start_ns = time.monotonic_ns()
            self._first_media_ns = self._next.t_capture_ns
        media_ns = self._next.t_capture_ns - self._first_media_ns
        due_ns = self._start_ns + (media_ns if self._speed == 1 else round(media_ns / self._speed))
        now_ns = time.monotonic_ns()
        if due_ns > now_ns:
            time.sleep(max(min(due_ns, deadline_ns) - now_ns, 0) / 1e9)
            if due_ns > deadline_ns:
                return None
        self._latest, self._next = self._next, None
        return replace(self._latest, t_capture_ns=due_ns)

    def _following(self, timeout_s: float) -> Frame | None:
        try:
            return self._source.read(timeout_s)
        except EndOfStream:
            if self._latest is None or not self._repeats:
                raise
            period_ns = round(1e9 / self.nominal_fps)
            return replace(
                self._latest, seq=self._latest.seq + 1, t_capture_ns=self._latest.t_capture_ns + period_ns
            )

    def close(self) -> None:
        self._source.close()
        self._start_ns = self._next = self._latest = None

    def status(self) -> SourceStatus:
        inner = self._source.status()
        if self._repeats and self._latest is not None:
            return replace(inner, state="up", frames=self._latest.seq + 1)
        return inner
