"""A recording as a source of frames, each with what vision once made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from x2c_edge.capture.base import EndOfStream, SourceState, SourceStatus
from x2c_edge.capture.opencv import sensible_fps
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Frame
from x2c_edge.record.mcap_file import McapReader, Message
from x2c_edge.record.messages import CAMERA, EXPRESSION, ROBOT_FACE, Seen, picture_from, seen_from

LONGEST_GAP_NS: Final = 60_000_000_000
_GREY: Final = 96


@dataclass(frozen=True, slots=True)
class RecordedFrame(Frame):
    """A frame of a recording. robot_face: (H, W, 3) uint8 RGB, when one was recorded and is wanted."""

    seen: Seen | None = None
    robot_face: NDArray[np.uint8] | None = None


class Recorded:
    """The frames of a recording (a ``Source``).

    ``t_capture_ns`` is that of the recorded run where that was a file's clock, and counts from the first
    frame where it was the monotonic clock. A time that does not grow is replaced by the previous one plus a
    frame's length, and a gap above a minute is a minute. pictures: also decode the camera's pictures and the
    generated faces; a frame without one is grey.
    """

    live = False

    def __init__(self, path: Path, *, pictures: bool) -> None:
        self.name = str(path)
        self.nominal_fps = 30.0
        self._path, self._pictures = path, pictures
        self._reader: McapReader | None = None
        self._frames: Iterator[RecordedFrame] = iter(())
        self._next: RecordedFrame | None = None
        self._state: SourceState = "up"
        self._count = self._damaged = 0
        self._size = (0, 0)
        self._grey = np.zeros((0, 0, 3), np.uint8)
        self.cut_short = False  # the file ended in the middle; known at its end

    def open(self) -> None:
        """NotFoundError when there is nothing to replay."""
        if self._reader is not None:
            return
        self._reader = McapReader(self._path)
        self._state, self._count, self._damaged, self.cut_short = "up", 0, 0, False
        self._frames = self._recorded(self._reader)
        try:
            self._next = next(self._frames, None)
            if self._next is None:
                where = "before its end, which is missing" if self._reader.cut_short else "in it"
                raise NotFoundError(
                    f"{self._path}: no {EXPRESSION} messages {where}; give a recording made with run --record"
                )
            fps = self._reader.facts.get("fps", "")
            self.nominal_fps = sensible_fps(float(fps)) if fps.replace(".", "", 1).isdecimal() else 30.0
        except BaseException:
            self.close()
            raise

    @property
    def has_robot_face(self) -> bool:
        """Whether the recorded run showed the faces that its two-stage pipeline meant."""
        return self._reader is not None and ROBOT_FACE in self._reader.topics

    @property
    def progress(self) -> float:
        """0..1, how much of the file has been read."""
        return 1.0 if self._reader is None else self._reader.progress

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame at once; ``timeout_s`` is for sources that wait."""
        frame, self._next = self._next, None
        if frame is None:
            frame = next(self._frames, None)
        if frame is None:
            self._state = "ended"
            self.cut_short = self._reader is not None and self._reader.cut_short
            raise EndOfStream(self.name)
        self._count += 1
        self._size = (frame.width, frame.height)
        return frame

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._frames, self._next = None, iter(()), None

    def status(self) -> SourceStatus:
        width, height = self._size
        return SourceStatus(
            state=self._state,
            frames=self._count,
            dropped=self._damaged,
            width=width,
            height=height,
            format="MCAP",
            fps=self.nominal_fps,
            last_error=self._trouble(),
        )

    def _trouble(self) -> str | None:
        if self.cut_short:
            return f"{self.name}: the recording is cut short; its {self._count} frames were replayed"
        if self._damaged:
            return f"{self.name}: {self._damaged} of its pictures are damaged and left out"
        return None

    def _recorded(self, reader: McapReader) -> Iterator[RecordedFrame]:
        newest: dict[str, Message] = {}
        number, recorded_ns, t_ns = 0, 0, 0
        for message in reader.messages():
            if message.topic in (CAMERA, ROBOT_FACE):
                newest[message.topic] = message
                continue
            if message.topic != EXPRESSION:
                continue
            number += 1
            try:
                seen = seen_from(message.data)
            except ValueError as error:
                why = " ".join(str(error).split())[:120]
                raise NotFoundError(
                    f"{self._path}: {EXPRESSION} message {number} makes no sense ({why}); use another copy"
                ) from None
            passed_ns = seen.t_capture_ns - recorded_ns
            recorded_ns = seen.t_capture_ns
            if number > 1:
                t_ns += min(passed_ns, LONGEST_GAP_NS) if passed_ns > 0 else round(1e9 / self.nominal_fps)
            elif reader.facts.get("clock") == "file":
                t_ns = min(max(passed_ns, 0), LONGEST_GAP_NS)
            face = self._picture(newest.get(ROBOT_FACE), message.log_time_ns)
            yield RecordedFrame(
                seen.seq,
                t_ns,
                self._frame(seen, self._picture(newest.get(CAMERA), message.log_time_ns)),
                "BGR",
                seen,
                None if face is None else np.ascontiguousarray(face[..., ::-1]),
            )

    def _picture(self, message: Message | None, log_time_ns: int) -> NDArray[np.uint8] | None:
        """The picture that was recorded with an expression; they are written with one time."""
        if not self._pictures or message is None or message.log_time_ns != log_time_ns:
            return None
        picture = picture_from(message.data)
        self._damaged += picture is None
        return picture

    def _frame(self, seen: Seen, picture: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 BGR: landmarks and crop are in pixels of that size."""
        if picture is not None:
            size = (seen.width, seen.height)
            return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        if self._grey.shape[:2] != (seen.height, seen.width):
            self._grey = np.full((seen.height, seen.width, 3), _GREY, np.uint8)
        return self._grey
