"""A V4L2 camera through OpenCV's own V4L2 backend.

OpenCV gives what the runtime needs: the driver's timestamp (CAP_PROP_POS_MSEC holds the dequeued
buffer's ``timeval``), the number of kernel buffers, and undecoded buffers (CAP_PROP_CONVERT_RGB = 0).
YUYV and NV12 go on as they are, for ``crop_normalize`` to read; MJPG is decoded when it is read.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from x2c_edge.capture.base import OpenSource, SourceSpec
from x2c_edge.capture.jpeg import decoded
from x2c_edge.capture.live import Live, Raw
from x2c_edge.capture.opencv import contiguous_bytes, cv2, fourcc_text, sensible_fps
from x2c_edge.capture.reopening import Reopening
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import PixelFormat
from x2c_edge.places import exists

PIXEL_FORMATS = ("auto", "MJPG", "YUYV", "NV12", "BGR")
DEFAULT_SIZE = (1280, 720)
DEFAULT_FPS = 30.0

# One buffer for the driver to fill while the finished one is copied out: the shallowest queue that
# does not cost every second frame.
_KERNEL_BUFFERS = 2
# USB 2 carries uncompressed 640x480 at 30 fps but not 1280x720.
_MOST_UNCOMPRESSED_PIXELS = 640 * 480
_OLDEST_BELIEVABLE_NS = 10_000_000_000


def cameras_present() -> list[str]:
    """The V4L2 device files of this machine, by number (not all of them need be cameras)."""
    found = [path for path in Path("/dev").glob("video*") if path.name[5:].isdigit()]
    return [str(path) for path in sorted(found, key=lambda path: int(path.name[5:]))]


def sensor_time_ns(driver_ms: float, arrival_ns: int) -> int:
    """When the sensor delivered a picture, on ``time.monotonic_ns()``.

    driver_ms: the driver's timestamp. It is believed when it lies in the last ten seconds before
    ``arrival_ns``; a driver that stamps on another clock, or not at all, leaves the arrival time.
    """
    driver_ns = round(driver_ms * 1e6)
    return driver_ns if 0 <= arrival_ns - driver_ns <= _OLDEST_BELIEVABLE_NS else arrival_ns


def v4l2_source(path: str, spec: SourceSpec) -> OpenSource:
    """The camera at ``path``, not yet open."""
    wishes = (spec.width, spec.height, spec.fps, spec.format)
    return Reopening(Live(path, lambda: V4L2Camera(path, *wishes)))


class V4L2Camera:
    """An opened V4L2 device (a ``live.Device``).

    path: device file. width, height (pixels, both or neither) and fps are wishes, 1280x720 and 30 when
    None: the driver picks its nearest, and the properties tell what it picked. pixel_format: one of
    ``PIXEL_FORMATS``; "auto" tries MJPG and YUYV (YUYV first up to 640x480), then NV12, then whatever
    OpenCV can convert to BGR.

    Raises ``NotFoundError`` when the device is missing, busy, not a camera or sends nothing, and
    ``BadArgumentError`` when a format that was asked for by name is not what the camera gives.
    """

    def __init__(
        self,
        path: str,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        pixel_format: str = "auto",
    ) -> None:
        if not exists(Path(path)):
            raise NotFoundError(f"no camera {path}; {_what_is_there()}")
        size = (width or DEFAULT_SIZE[0], height or DEFAULT_SIZE[1])

        self._capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise NotFoundError(
                f"camera {path} cannot be opened: not a camera, used by another program, or no right to "
                f"read it (try: v4l2-ctl --list-devices; groups); {_what_is_there()}"
            )
        self.format = self._negotiate(path, size, fps or DEFAULT_FPS, pixel_format)
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.fps = sensible_fps(self._capture.get(cv2.CAP_PROP_FPS), DEFAULT_FPS)
        if not self._capture.grab():
            self.release()
            raise NotFoundError(
                f"camera {path} sends no picture at {self.width}x{self.height} {self.format}; "
                "try a smaller size, another pixel format, or another USB port"
            )

    def _negotiate(self, path: str, size: tuple[int, int], fps: float, asked: str) -> str:
        """Set format, size and rate; returns the format that pictures will come in."""
        uncompressed_first = size[0] * size[1] <= _MOST_UNCOMPRESSED_PIXELS
        wishes = {
            "auto": ["YUYV", "MJPG", "NV12"] if uncompressed_first else ["MJPG", "YUYV", "NV12"],
            "BGR": [],
        }.get(asked, [asked])
        for wish in wishes:
            if self._configure(size, fps, wish) == wish:
                self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
                return wish
        if asked not in ("auto", "BGR"):
            offered = self._configure(size, fps, None) or "nothing that OpenCV reads"
            self.release()
            raise BadArgumentError(
                f"camera {path} gives no {asked} at {size[0]}x{size[1]} (it offers {offered}); "
                "use another pixel format or auto"
            )
        self._configure(size, fps, None)
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
        return "BGR"

    def _configure(self, size: tuple[int, int], fps: float, wish: str | None) -> str:
        """Returns the four-character code that the driver settled on."""
        if wish is not None:
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wish))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        self._capture.set(cv2.CAP_PROP_FPS, fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, _KERNEL_BUFFERS)
        return fourcc_text(self._capture.get(cv2.CAP_PROP_FOURCC))

    def grab(self) -> tuple[int, Raw] | None:
        if not self._capture.grab():
            return None
        arrival_ns = time.monotonic_ns()
        t_ns = sensor_time_ns(self._capture.get(cv2.CAP_PROP_POS_MSEC), arrival_ns)
        delivered, raw = self._capture.retrieve()
        # An empty buffer is "delivered" as None.
        return (t_ns, contiguous_bytes(raw)) if delivered and raw is not None else None

    def decode(self, raw: Raw) -> tuple[Raw, PixelFormat] | None:
        if self.format == "MJPG":
            image = decoded(raw.reshape(-1))
            return None if image is None else (image, "BGR")
        shape: tuple[int, ...]
        pixel_format: PixelFormat
        if self.format == "YUYV":
            shape, pixel_format = (self.height, self.width, 2), "YUYV"
        elif self.format == "NV12":
            shape, pixel_format = (self.height * 3 // 2, self.width), "NV12"
        else:
            shape, pixel_format = (self.height, self.width, 3), "BGR"
        return (raw.reshape(shape), pixel_format) if raw.size == int(np.prod(shape)) else None

    def release(self) -> None:
        self._capture.release()


def _what_is_there() -> str:
    present = cameras_present()
    return f"this machine has {', '.join(present)}" if present else "this machine has no /dev/video*"
