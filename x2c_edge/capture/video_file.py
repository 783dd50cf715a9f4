"""A video file, frame by frame, with the file's own timestamps."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from x2c_edge.capture import interlaced
from x2c_edge.capture.base import EndOfStream, SourceState, SourceStatus, Usable
from x2c_edge.capture.opencv import contiguous_bytes, cv2, fourcc_text, sensible_fps
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Frame
from x2c_edge.places import opencv_name

# Frame counts in headers are estimates in some containers; only a clear shortfall is worth a word.
_TOLERATED_SHORTFALL = 0.02
# A grab that fails has passed over one damaged frame; after so many in a row there is nothing more to come.
_MOST_DAMAGED = 1000
_STANDS_STILL = 8  # pictures in a row that are the same before it is worth a look in the middle of a file


class VideoFile(Usable):
    """Every frame of a video file as BGR, turned upright as its metadata says.

    ``t_capture_ns`` is the presentation time. A time that is missing or does not grow is replaced by
    the previous one plus a frame's length. A file that is damaged or ends early delivers what it has, also
    behind the damage, and then says in ``status().last_error`` how many frames are missing.
    """

    live = False
    waits = True  # to know whether it is interlaced; not where somebody plays it in real time

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        # FFmpeg takes "rec-12:30.mp4" for a protocol and "clip%d.mp4" for a row of files in some places.
        self._path = Path(path).absolute()
        self.nominal_fps = 30.0
        self._capture: cv2.VideoCapture | None = None
        self._state: SourceState = "up"
        self._frames = 0
        self._dropped = self._damaged = 0
        self._ahead: deque[tuple[int, NDArray[np.uint8]]] = deque()  # read at the start, to look at
        self._repeated = 0  # pictures in a row that were the same
        self._looked = False  # whether it is interlaced, once there was a reason to
        self._look: interlaced.Look | None = None  # under way
        self._previous: NDArray[np.uint8] | None = None
        self._promised = 0
        self._counts_time = False
        self._last_ns: int | None = None
        self._width = self._height = 0
        self._codec = ""
        self._last_error: str | None = None

    def open(self) -> None:
        """NotFoundError when no picture can be read from it."""
        if self._capture is not None:
            return
        capture = cv2.VideoCapture(opencv_name(self._path), _backend())
        # An audio file opens, but has no picture size.
        if not capture.isOpened() or capture.get(cv2.CAP_PROP_FRAME_WIDTH) < 1:
            capture.release()
            raise NotFoundError(
                f"no video can be read from {self.name}: truncated, damaged, or not a video or image "
                "(look at it: ffprobe FILE)"
            )
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        self.nominal_fps = sensible_fps(capture.get(cv2.CAP_PROP_FPS))
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._promised = int(count) if 0 < count < 1e9 else 0
        self._counts_time = _is_matroska(self._path)
        self._codec = fourcc_text(capture.get(cv2.CAP_PROP_FOURCC))
        self._state, self._frames, self._dropped, self._damaged = "up", 0, 0, 0
        self._last_ns = self._last_error = self._previous = None
        self._repeated, self._looked = 0, False
        self._ahead.clear()
        self._capture = capture
        while len(self._ahead) <= interlaced.REPEATED and (picture := self._next(capture)) is not None:
            self._ahead.append(picture)
        same = all(np.array_equal(a, b) for (_, a), (_, b) in pairwise(self._ahead))
        if self._ahead and same:
            self._look = interlaced.Look(self._path, len(self._ahead))
            try:
                self._hear_of_look(interlaced.LONGEST_S)
            except NotFoundError:
                self.close()
                raise

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame at once; ``timeout_s`` is for sources that wait."""
        if self._capture is None or self._state == "ended":
            raise EndOfStream(self.name)
        picture = self._ahead.popleft() if self._ahead else self._next(self._capture)
        self._hear_of_look(interlaced.LONGEST_S if picture is None else 0.0)
        if picture is None:
            self._finish()
            raise EndOfStream(self.name)
        t_ns, image = picture
        self._watch(image)
        self._height, self._width = image.shape[:2]
        self._frames += 1
        return Frame(seq=self._frames - 1, t_capture_ns=t_ns, image=image)

    def _next(self, capture: cv2.VideoCapture) -> tuple[int, NDArray[np.uint8]] | None:
        """Time and picture of the next frame that can be decoded; None at the end."""
        failed = 0
        while failed < _MOST_DAMAGED:
            if not capture.grab():
                failed += 1
                continue
            # Asked before retrieve: it belongs to the frame that was grabbed.
            t_ns = self._growing(capture.get(cv2.CAP_PROP_POS_MSEC))
            delivered, image = capture.retrieve()
            if not delivered:
                self._dropped += 1
                continue
            self._damaged += failed
            return t_ns, contiguous_bytes(image)
        return None

    def _watch(self, image: NDArray[np.uint8]) -> None:
        """Where the pictures stand still, have it looked at whether the rest of the file is interlaced."""
        if self._looked:
            return
        before, self._previous = self._previous, image
        same = before is not None and np.array_equal(image[::8], before[::8])
        self._repeated = self._repeated + 1 if same else 0
        if self._repeated >= _STANDS_STILL:
            self._looked = True
            self._look = interlaced.Look(self._path, self._frames)
            self._hear_of_look(interlaced.LONGEST_S if self.waits else 0.0)

    def _hear_of_look(self, patience_s: float) -> None:
        """NotFoundError when the rest of the file is interlaced."""
        found = None if self._look is None else self._look.finding(patience_s)
        if found is None:
            return
        self._look = None
        if found:
            self._state, self._last_error = "ended", _not_read(self.name)
            raise NotFoundError(self._last_error)

    def _growing(self, media_ms: float) -> int:
        t_ns = round(media_ms * 1e6) if math.isfinite(media_ms) else 0
        if self._last_ns is not None and t_ns <= self._last_ns:
            t_ns = self._last_ns + round(1e9 / self.nominal_fps)
        self._last_ns = t_ns
        return t_ns

    def _finish(self) -> None:
        self._state = "ended"
        if self._frames == 0:
            self._last_error = f"{self.name} holds no picture that can be decoded"
            return
        reached = self._frames
        if self._counts_time and self._last_ns is not None:
            reached = max(reached, round(self._last_ns * self.nominal_fps / 1e9) + 1)
        missing = self._promised - reached
        if missing > math.ceil(self._promised * _TOLERATED_SHORTFALL) or self._damaged or self._dropped:
            missing = max(missing, self._damaged + self._dropped)
            self._last_error = (
                f"{self.name}: {missing} of {self._frames + missing} frames are missing: truncated or damaged"
            )

    def close(self) -> None:
        capture, self._capture = self._capture, None
        look, self._look = self._look, None
        if look is not None:
            look.close()
        if capture is not None:
            capture.release()

    def status(self) -> SourceStatus:
        return SourceStatus(
            state=self._state,
            frames=self._frames,
            dropped=self._dropped + self._damaged,
            width=self._width,
            height=self._height,
            format=self._codec,
            fps=self.nominal_fps,
            last_error=self._last_error,
        )


def _is_matroska(path: Path) -> bool:
    """Also WebM: these count no frames, and OpenCV's number is their duration at their rate."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x1a\x45\xdf\xa3"
    except OSError:
        return False


def _not_read(name: str) -> str:
    return (
        f"{name}: is interlaced video, which this OpenCV cannot turn into pictures; make it progressive: "
        "ffmpeg -i FILE -vf yadif progressive.mp4"
    )


def _backend() -> int:
    """FFmpeg, or what this OpenCV has instead. Never "any": that takes image1.png for a sequence."""
    return cv2.CAP_FFMPEG if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG) else cv2.CAP_GSTREAMER
