"""What every source of frames can do, and what it says about itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from x2c_edge.frames import Frame
from x2c_edge.within import Within

SourceState = Literal["up", "lost", "reopening", "ended"]


class EndOfStream(Exception):  # noqa: N818 (an event, not an error)
    """A source that has an end has reached it."""


class SourceLostError(Exception):
    """A live source stopped delivering (unplugged, stalled, pipeline ended); reopening may help."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source's state at one moment.

    frames: delivered by ``read`` since ``open``. dropped: pictures that came from the device and were
    never delivered (replaced by a newer one, or damaged). reopened: times that a lost device came back.
    width, height: of the picture in pixels, 0 when not known yet. format: as the device sends it
    ("MJPG", "YUYV", "NV12", "BGR") or the codec of a file. fps: measured for live sources, nominal for
    files. last_error: the latest trouble in words, also kept after it is over.
    """

    state: SourceState
    frames: int = 0
    dropped: int = 0
    reopened: int = 0
    width: int = 0
    height: int = 0
    format: str = ""
    fps: float = 0.0
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What to watch: a camera or an input, not both; camera 0 when neither is given.

    camera: number, device path ("/dev/video2", "/dev/v4l/by-id/...") or "gst:PIPELINE".
    input: video file, image, folder of images, or a URI whose scheme is in the table (``capture/open.py``):
    "file:///path", "gst:PIPELINE", "zmq://host:port" (the robot's camera), "http-push://host:port/stream".
    width, height (pixels), fps, format ("auto", "MJPG", "YUYV", "NV12", "BGR") are wishes to a V4L2
    camera; a file has its own size. fps also sets the rate of images and folders (default: 30 for a film's
    numbered frames, 2 seconds each for other pictures).
    """

    camera: int | str | None = None
    input: str | None = None
    width: Annotated[int, Within(1, 16384)] | None = None
    height: Annotated[int, Within(1, 16384)] | None = None
    fps: Annotated[float, Within(0, 1000, above=True)] | None = None
    format: Literal["auto", "MJPG", "YUYV", "NV12", "BGR"] = "auto"


class Source(Protocol):
    """Where frames come from. Used by one thread, except ``status``, which any thread may call.

    ``Frame.t_capture_ns`` is on ``time.monotonic_ns()`` for live sources and the media time (first
    frame usually 0) for files; it grows strictly from frame to frame.
    """

    @property
    def name(self) -> str:
        """What the user called it: a path, a device, a pipeline."""

    @property
    def live(self) -> bool:
        """True: the newest frame wins and time passes by itself. False: every frame exists, in order."""

    @property
    def nominal_fps(self) -> float:
        """Frames per second as promised by the device or file (after ``open``)."""

    def open(self) -> None:
        """Start delivering; nothing happens when already open.

        Raises ``NotFoundError`` (missing or unusable) or ``BadArgumentError`` (cannot be as asked).
        """

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or None when none came within ``timeout_s`` seconds.

        Raises ``EndOfStream`` at the end of a file, ``SourceLostError`` when a live source is gone
        (``Reopening`` turns that into None and a new attempt), ``NotFoundError`` when a file inside a
        folder turns out to be unreadable.
        """

    def close(self) -> None:
        """Let go of the device or file. ``open`` starts anew."""

    def status(self) -> SourceStatus:
        """The state now; cheap."""


class OpenSource(Source, Protocol):
    """What ``open_source`` gives: also for ``with`` (closes it) and ``for`` (its frames, to the end)."""

    def __enter__(self) -> OpenSource:
        """Itself, open."""

    def __exit__(self, *_: object) -> None:
        """Closes it."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames until a file ends; a live source has no end."""


class Usable:
    """The three of ``OpenSource`` for a class that is a ``Source``."""

    def __enter__(self: OpenSource) -> OpenSource:
        self.open()
        return self

    def __exit__(self: OpenSource, *_: object) -> None:
        self.close()

    def __iter__(self: OpenSource) -> Iterator[Frame]:
        while True:
            try:
                frame = self.read(1.0)
            except EndOfStream:
                return
            if frame is not None:
                yield frame
