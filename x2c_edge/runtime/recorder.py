"""Feeds the side-by-side video from a thread of its own, so that encoding never delays vision."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Final

from x2c_edge.controls import NEUTRAL
from x2c_edge.frames import Command
from x2c_edge.record.side_by_side import SideBySideWriter
from x2c_edge.runtime.vision import Sight

WAITING_FRAMES: Final = 8


class Recorder:
    """``lossless``: ``offer`` waits for the encoder (``--fast``); otherwise frames that it cannot keep up
    with are left out of the video and counted in ``dropped``."""

    def __init__(self, path: Path, fps: float, *, lossless: bool) -> None:
        self._writer = SideBySideWriter(path, fps)
        self._lossless = lossless
        self._command: Command | None = None
        self._queue: queue.Queue[tuple[Sight, Command | None] | None] = queue.Queue(WAITING_FRAMES)
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._failure: Exception | None = None
        self.dropped = 0
        self._thread.start()

    def command(self, command: Command) -> None:
        """The newest command; drawn beside the next frames."""
        self._command = command

    def offer(self, sight: Sight) -> None:
        """One frame that vision has finished."""
        try:
            self._queue.put((sight, self._command), block=self._lossless)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits and finish the file. Raises what the encoder raised."""
        self._queue.put(None)
        self._thread.join()
        self._writer.close()
        if self._failure is not None:
            raise self._failure

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._failure is not None:
                continue  # keep taking, so that nobody waits for a writer that has failed
            sight, command = item
            try:
                self._writer.write(
                    sight.frame,
                    sight.crop,
                    sight.landmarks,
                    NEUTRAL if command is None else command.values,
                    command.state if command is not None else "STARTING",
                    sight.hint,
                )
            except Exception as error:
                self._failure = error
