"""A GStreamer pipeline as a camera, through OpenCV's GStreamer backend (``gst:PIPELINE``).

The backend gives no usable buffer time, so a picture is stamped when it leaves the pipeline; what
the pipeline itself delays is not in its age.
"""

from __future__ import annotations

import re
import time

from x2c_edge.capture.base import OpenSource, SourceSpec
from x2c_edge.capture.jpeg import decoded
from x2c_edge.capture.live import Live, Raw
from x2c_edge.capture.opencv import contiguous_bytes, cv2, sensible_fps
from x2c_edge.capture.reopening import Reopening
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import PixelFormat

_TIMEOUTS = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 3000]
_NEWEST_ONLY = "drop=1 max-buffers=1"


def gst_source(uri: str, spec: SourceSpec) -> OpenSource:
    """The source of ``gst:PIPELINE``, not yet open."""
    pipeline = uri.removeprefix("gst:")
    return Reopening(Live(uri, lambda: GStreamerCamera(pipeline)))


def complete_pipeline(pipeline: str) -> str:
    """The pipeline with an appsink that keeps only the newest picture.

    An appsink is added when there is none; ``drop`` and ``max-buffers`` are added to one that does not
    set them. Raises ``BadArgumentError`` for an empty pipeline or one that ends in another sink.
    """
    text = pipeline.strip().rstrip("!").strip()
    if not text:
        raise BadArgumentError("empty GStreamer pipeline; give gst: and what you would give gst-launch-1.0")
    last = text.rsplit("!", 1)[-1].split()
    if last[0] == "appsink":
        missing = [item for item in _NEWEST_ONLY.split() if f"{item.split('=')[0]}=" not in " ".join(last)]
        return " ".join([text, *missing])
    if last[0].endswith("sink"):
        raise BadArgumentError(
            f"the GStreamer pipeline ends in {last[0]}; leave it out (an appsink is added) or end in appsink"
        )
    return f"{text} ! appsink {_NEWEST_ONLY}"


class GStreamerCamera:
    """A running pipeline (a ``live.Device``).

    pipeline: what gst-launch-1.0 takes. The last caps decide what arrives: NV12 and YUY2 go on
    undecoded, image/jpeg is decoded when read, BGR and GRAY8 are taken as they are, and without caps
    OpenCV asks for what it knows.

    Raises ``NotFoundError`` when this OpenCV has no GStreamer or the pipeline does not start, and
    ``BadArgumentError`` when it ends in a layout that nothing here reads.
    """

    def __init__(self, pipeline: str) -> None:
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise NotFoundError(
                "gst: needs an OpenCV that is built with GStreamer, and pip's opencv-python is not; put the "
                "system's in its place, as docs/cameras.md says (apt install python3-opencv, in a venv made "
                "with --system-site-packages: pip uninstall opencv-python, pip install 'numpy<2')"
            )
        self._pipeline = complete_pipeline(pipeline)
        self._capture = cv2.VideoCapture(self._pipeline, cv2.CAP_GSTREAMER, _TIMEOUTS)
        if not self._capture.isOpened():
            # OpenCV 4.6 refuses these settings together with a pipeline; it then waits for ever.
            self._capture = cv2.VideoCapture(self._pipeline, cv2.CAP_GSTREAMER)
        if not self._capture.isOpened():
            raise NotFoundError(
                f"the GStreamer pipeline does not start: {self._pipeline} (try it: gst-launch-1.0 -v, with "
                "fakesink in place of appsink)"
            )
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.fps = sensible_fps(self._capture.get(cv2.CAP_PROP_FPS))
        first = self.grab()
        if first is None:
            self.release()
            raise NotFoundError(f"the GStreamer pipeline sends no picture: {self._pipeline}")
        try:
            self.format = self._layout(first[1])
        except BadArgumentError:
            self.release()
            raise

    def _layout(self, raw: Raw) -> str:
        """What the pipeline's pictures are, from their shape and, where that is not enough, the caps."""
        named = re.findall(r"format\s*=\s*(?:\(string\)\s*)?\"?(\w+)", self._pipeline)
        last_named = named[-1] if named else ""
        if raw.shape == (self.height, self.width, 3):
            return "BGR"
        if raw.shape == (self.height, self.width):
            return "GRAY8"
        if raw.shape == (self.height, self.width, 2) and last_named == "YUY2":
            return "YUYV"
        if raw.shape == (self.height * 3 // 2, self.width) and last_named == "NV12":
            return "NV12"
        if raw.shape[0] == 1 and raw.reshape(-1)[:2].tobytes() == b"\xff\xd8":
            return "MJPG"
        raise BadArgumentError(
            "the GStreamer pipeline ends in a pixel format that is not read here; end it in "
            "video/x-raw,format=NV12 (or YUY2, BGR, GRAY8) or image/jpeg"
        )

    def grab(self) -> tuple[int, Raw] | None:
        if not self._capture.grab():
            return None
        t_ns = time.monotonic_ns()
        delivered, raw = self._capture.retrieve()
        return (t_ns, contiguous_bytes(raw)) if delivered else None

    def decode(self, raw: Raw) -> tuple[Raw, PixelFormat] | None:
        if self.format == "MJPG":
            image = decoded(raw.reshape(-1))
            return None if image is None else (image, "BGR")
        if self.format == "GRAY8":
            return contiguous_bytes(cv2.cvtColor(raw, cv2.COLOR_GRAY2BGR)), "BGR"
        if self.format == "NV12":
            return raw, "NV12"
        return raw, "YUYV" if self.format == "YUYV" else "BGR"

    def release(self) -> None:
        self._capture.release()
