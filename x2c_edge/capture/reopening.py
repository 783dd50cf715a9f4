"""A live source that comes back: when the device vanishes it is opened again, with backoff."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from x2c_edge.capture.base import EndOfStream, Source, SourceLostError, SourceState, SourceStatus, Usable
from x2c_edge.capture.driver_thread import DriverThread
from x2c_edge.errors import UserError
from x2c_edge.frames import Frame

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0


class Reopening(Usable):
    """Wraps a live source: a loss becomes a silence.

    ``open`` fails like the source's own: a camera that is missing at the start is the user's to fix.
    After that, ``read`` returns None while the device is away, and a thread tries to open it again
    after 0.2 s, 0.4 s ... 2 s. Sequence numbers go on counting; ``status`` adds up over all openings.
    """

    live = True

    def __init__(
        self, source: Source, first_pause_s: float = FIRST_PAUSE_S, longest_pause_s: float = LONGEST_PAUSE_S
    ) -> None:
        self._source = source
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._pause_s = first_pause_s
        self._back = threading.Event()
        self._reopener: DriverThread | None = None
        self._away: SourceState | None = None
        self._seq_offset = 0
        self._next_seq = 0
        self._earlier = SourceStatus(state="up")
        self._last_error: str | None = None

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def nominal_fps(self) -> float:
        return self._source.nominal_fps

    def open(self) -> None:
        self._source.open()

    def read(self, timeout_s: float) -> Frame | None:
        deadline = time.monotonic() + timeout_s
        if self._reopener is not None and not self._returned(timeout_s):
            return None
        try:
            frame = self._source.read(max(deadline - time.monotonic(), 0.0))
        except (SourceLostError, EndOfStream) as loss:
            self._lose(str(loss) or "the stream ended")
            return None
        if frame is None:
            return None
        self._pause_s = self._first_pause_s
        self._next_seq = self._seq_offset + frame.seq + 1
        return replace(frame, seq=self._next_seq - 1)

    def _returned(self, timeout_s: float) -> bool:
        if not self._back.wait(timeout_s):
            return False
        self._reopener = None
        self._seq_offset = self._next_seq
        return True

    def _lose(self, why: str) -> None:
        last = self._source.status()
        self._earlier = replace(
            self._earlier,
            frames=self._earlier.frames + last.frames,
            dropped=self._earlier.dropped + last.dropped,
            width=last.width,
            height=last.height,
            format=last.format,
        )
        self._last_error = why
        self._away = "lost"
        self._back.clear()
        self._reopener = DriverThread(self._reopen, f"reopen {self.name}")

    def _reopen(self, stopping: threading.Event) -> None:
        self._source.close()
        while not stopping.wait(self._pause_s):
            self._pause_s = min(self._pause_s * 2, self._longest_pause_s)
            self._away = "reopening"
            try:
                self._source.open()
            except UserError as error:
                self._last_error = str(error)
                self._away = "lost"
                continue
            if stopping.is_set():
                self._source.close()
                return
            self._earlier = replace(self._earlier, reopened=self._earlier.reopened + 1)
            self._away = None
            self._back.set()
            return

    def close(self) -> None:
        reopener, self._reopener = self._reopener, None
        if reopener is None or reopener.stop(patience_s=1.0):
            self._source.close()
        self._away = None

    def status(self) -> SourceStatus:
        earlier = self._earlier
        if self._away is not None:
            return replace(earlier, state=self._away, last_error=self._last_error)
        now = self._source.status()
        return replace(
            now,
            frames=earlier.frames + now.frames,
            dropped=earlier.dropped + now.dropped,
            reopened=earlier.reopened,
            last_error=now.last_error or self._last_error,
        )
