"""Writes what vision saw and what was commanded into an MCAP file, from a thread of its own.

Neither vision nor the tick ever waits for it, but under ``--fast``.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Command, Frame
from x2c_edge.record.mcap_file import McapWriter
from x2c_edge.record.messages import (
    CAMERA,
    COMMAND,
    EXPRESSION,
    ROBOT_FACE,
    TOPICS,
    Seen,
    command_message,
    expression_message,
    picture_message,
)
from x2c_edge.record.side_by_side import to_bgr
from x2c_edge.runtime.seen import seen_in
from x2c_edge.runtime.vision import Sight

FLUSH_S: Final = 0.5  # what a killed process loses at most, but for what still waits
WAITING_PICTURES: Final = 8
WAITING: Final = 8192  # of all kinds; a minute and a half


@dataclass(frozen=True, slots=True)
class _Look:
    """A sight on its way to the disk. frame, robot_face: None where the pictures are left out."""

    seen: Seen
    frame: Frame | None
    robot_face: NDArray[np.uint8] | None


class McapRecorder:
    """``lossless``: ``offer`` and ``command`` wait for the disk, and the messages' times are the file's clock
    (``--fast``). Otherwise they never wait: where the disk is slow, pictures are left out first.

    frames, commands: written. pictures_dropped: frames whose pictures were left out. dropped: frames and
    commands that were. failure: why the recording ended before the run, for the user to read.
    """

    def __init__(self, path: Path, facts: dict[str, str], *, lossless: bool, generated: bool) -> None:
        """generated: there will be faces of the two-stage pipeline. NotFoundError when nothing can be
        written there."""
        self._path, self._lossless = path, lossless
        self._epoch_ns = 0 if lossless else time.time_ns() - time.monotonic_ns()
        topics = {topic: schema for topic, schema in TOPICS.items() if generated or topic != ROBOT_FACE}
        try:
            self._writer = McapWriter(path, topics, facts)
        except OSError as error:
            raise NotFoundError(
                f"{path}: cannot be written ({error.strerror}); choose another place for --record"
            ) from None
        self._waiting: deque[_Look | Command] = deque()
        self._pictures = 0  # waiting, or being written
        self._change = threading.Condition()
        self._closing = False
        self.frames = self.commands = self.pictures_dropped = self.dropped = 0
        self.failure: NotFoundError | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="mcap", daemon=True)
        self._thread.start()

    def command(self, command: Command) -> None:
        """A command that was sent."""
        self._put(command)

    def offer(self, sight: Sight) -> None:
        """One frame that vision has finished."""
        self._put(_Look(seen_in(sight), sight.frame, sight.robot_face))

    def close(self) -> None:
        """Write what waits and finish the file. Raises what is no trouble with the disk."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def summary(self) -> str:
        """What is in the file, in one line."""
        line = f"recorded {self._path}: {self.frames} frames, {self.commands} commands"
        if self.pictures_dropped:
            line += f", {self.pictures_dropped} pictures left out"
        if self.dropped:
            line += f", {self.dropped} messages lost"
        return line

    def _put(self, item: _Look | Command) -> None:
        with self._change:
            if self._lossless:
                self._change.wait_for(lambda: self._has_room(item))
            if self._stopped:
                return
            if len(self._waiting) >= WAITING:
                self.dropped += 1
                return
            if isinstance(item, _Look):
                if self._pictures < WAITING_PICTURES:
                    self._pictures += 1
                else:
                    self.pictures_dropped += 1
                    item = _Look(item.seen, None, None)
            self._waiting.append(item)
            self._change.notify_all()

    @property
    def _stopped(self) -> bool:
        return self._closing or self.failure is not None or self._error is not None

    def _has_room(self, item: _Look | Command) -> bool:
        full = len(self._waiting) >= WAITING or (
            isinstance(item, _Look) and self._pictures >= WAITING_PICTURES
        )
        return self._stopped or not full

    def _run(self) -> None:
        try:
            self._write_until_closed()
            self._writer.finish(
                {"pictures_dropped": str(self.pictures_dropped), "messages_dropped": str(self.dropped)}
            )
        except OSError as error:
            self.failure = NotFoundError(
                f"{self._path}: {os.strerror(error.errno or 0).lower()}; the recording ends early and can be "
                "replayed up to there; make room before the next"
            )
        except Exception as error:
            self._error = error
        if self.failure is not None or self._error is not None:
            self._writer.abandon()
        with self._change:
            self._waiting.clear()
            self._change.notify_all()

    def _write_until_closed(self) -> None:
        flush_s = time.monotonic() + FLUSH_S
        while self._waiting or not self._closing:
            item = self._take(max(flush_s - time.monotonic(), 0.0))
            if isinstance(item, Command):
                self._write_command(item)
            elif item is not None:
                self._write_look(item)
            if time.monotonic() >= flush_s:
                self._writer.flush()
                flush_s = time.monotonic() + FLUSH_S

    def _take(self, timeout_s: float) -> _Look | Command | None:
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._closing, timeout_s)
            item = self._waiting.popleft() if self._waiting else None
            self._change.notify_all()
            return item

    def _write_command(self, command: Command) -> None:
        time_ns = self._log_time_ns(command.t_send_ns)
        self._writer.add(COMMAND, time_ns, command_message(command), command.seq)
        self.commands += 1

    def _write_look(self, look: _Look) -> None:
        """The pictures first: who reads the file has them when the expression comes."""
        seq, time_ns = look.seen.seq, self._log_time_ns(look.seen.t_capture_ns)
        if look.frame is not None:
            picture = picture_message(to_bgr(look.frame), time_ns, "camera")
            self._writer.add(CAMERA, time_ns, picture, seq)
            if look.robot_face is not None:
                face = np.ascontiguousarray(look.robot_face[..., ::-1])
                self._writer.add(ROBOT_FACE, time_ns, picture_message(face, time_ns, "robot"), seq)
            with self._change:
                self._pictures -= 1
                self._change.notify_all()
        self._writer.add(EXPRESSION, time_ns, expression_message(look.seen), seq)
        self.frames += 1

    def _log_time_ns(self, time_ns: int) -> int:
        return max(time_ns + self._epoch_ns, 0)
