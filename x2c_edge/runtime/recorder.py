"""Feeds the side-by-side video (camera | robot | bars) from a thread of its own.

Drawing and encoding take longer than the network; they must never delay vision.
"""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import NEUTRAL
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Command
from x2c_edge.record.side_by_side import SideBySideWriter
from x2c_edge.robot.face import AmecaFace
from x2c_edge.runtime.vision import Sight

WAITING_FRAMES: Final = 8
ROBOT_SIZE: Final = 320


class RunRecorder(Protocol):
    """What the loops tell about a run; ``offer`` and ``command`` come from different threads.

    failure: why the file ends before the run, for the user to read; known after ``close``.
    """

    failure: NotFoundError | None

    def command(self, command: Command) -> None:
        """A command that was sent."""

    def offer(self, sight: Sight) -> None:
        """One frame that vision has finished."""

    def close(self) -> None:
        """The run is over: write what waits and finish the file."""


class Recorder:
    """``lossless``: ``offer`` waits for the encoder (``--fast``); otherwise frames that it cannot keep up
    with are left out of the video and counted in ``dropped``."""

    def __init__(self, path: Path, fps: float, *, lossless: bool, generated: bool = False) -> None:
        """generated: also show the robot face that the two-stage pipeline meant (black before the first)."""
        self._writer = SideBySideWriter(path, fps)
        self._generated: NDArray[np.uint8] | None = np.zeros((1, 1, 3), np.uint8) if generated else None
        self._robot = AmecaFace(ROBOT_SIZE)
        self._lossless = lossless
        self._command: Command | None = None
        self._queue: queue.Queue[tuple[Sight, Command | None] | None] = queue.Queue(WAITING_FRAMES)
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self.failure: NotFoundError | None = None
        self._error: Exception | None = None
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
        """Write what waits and finish the file. Raises what is no trouble with the disk."""
        self._queue.put(None)
        self._thread.join()
        try:
            self._writer.close()
        except NotFoundError as error:
            self.failure = self.failure or error
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            if self.failure is not None or self._error is not None:
                continue  # keep taking, so that nobody waits for a writer that has failed
            sight, command = item
            try:
                values = NEUTRAL if command is None else command.values
                self._writer.write(
                    sight.frame,
                    sight.crop,
                    sight.landmarks,
                    values,
                    command.state if command is not None else "STARTING",
                    sight.hint,
                    [*self._generated_face(sight), self._robot.render(values)],
                )
            except NotFoundError as error:
                self.failure = error
            except Exception as error:
                self._error = error

    def _generated_face(self, sight: Sight) -> list[NDArray[np.uint8]]:
        """The newest face of the two-stage pipeline, BGR; none when it is not to be shown."""
        if self._generated is None:
            return []
        if sight.robot_face is not None:
            self._generated = np.ascontiguousarray(sight.robot_face[..., ::-1])
        return [self._generated]
