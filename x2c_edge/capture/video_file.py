"""A video file, frame by frame, with the file's own timestamps."""

from __future__ import annotations

import math
from pathlib import Path

from x2c_edge.capture.base import EndOfStream, SourceState, SourceStatus
from x2c_edge.capture.opencv import contiguous_bytes, cv2, fourcc_text, sensible_fps
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Frame

# Frame counts in headers are estimates in some containers; only a clear shortfall is worth a word.
_TOLERATED_SHORTFALL = 0.02


class VideoFile:
    """Every frame of a video file as BGR, turned upright as its metadata says.

    ``t_capture_ns`` is the presentation time. A time that is missing or does not grow is replaced by
    the previous one plus a frame's length. A file that ends early delivers what it has and then says
    so in ``status().last_error``.
    """

    live = False

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self.nominal_fps = 30.0
        self._capture: cv2.VideoCapture | None = None
        self._state: SourceState = "up"
        self._frames = 0
        self._dropped = 0
        self._promised = 0
        self._last_ns: int | None = None
        self._width = self._height = 0
        self._codec = ""
        self._last_error: str | None = None

    def open(self) -> None:
        if self._capture is not None:
            return
        capture = cv2.VideoCapture(self.name, _backend())
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
        self._codec = fourcc_text(capture.get(cv2.CAP_PROP_FOURCC))
        self._state, self._frames, self._dropped = "up", 0, 0
        self._last_ns = self._last_error = None
        self._capture = capture

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame at once; ``timeout_s`` is for sources that wait."""
        if self._capture is None or self._state == "ended":
            raise EndOfStream(self.name)
        while self._capture.grab():
            # Asked before retrieve: it belongs to the frame that was grabbed.
            t_ns = self._growing(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            delivered, image = self._capture.retrieve()
            if not delivered:
                self._dropped += 1
                continue
            self._height, self._width = image.shape[:2]
            self._frames += 1
            return Frame(seq=self._frames - 1, t_capture_ns=t_ns, image=contiguous_bytes(image))
        self._finish()
        raise EndOfStream(self.name)

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
        elif self._frames < math.floor(self._promised * (1 - _TOLERATED_SHORTFALL)):
            self._last_error = (
                f"{self.name} ends after {self._frames} of {self._promised} frames: truncated or damaged"
            )

    def close(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def status(self) -> SourceStatus:
        return SourceStatus(
            state=self._state,
            frames=self._frames,
            dropped=self._dropped,
            width=self._width,
            height=self._height,
            format=self._codec,
            fps=self.nominal_fps,
            last_error=self._last_error,
        )


def _backend() -> int:
    """FFmpeg, or what this OpenCV has instead. Never "any": that takes image1.png for a sequence."""
    return cv2.CAP_FFMPEG if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG) else cv2.CAP_GSTREAMER
