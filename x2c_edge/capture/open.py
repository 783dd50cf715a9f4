"""From what the user typed to an open source."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from x2c_edge.capture.base import OpenSource
from x2c_edge.capture.camera import PIXEL_FORMATS, V4L2Camera
from x2c_edge.capture.gstreamer import GStreamerCamera
from x2c_edge.capture.images import Images, image_folder, is_image
from x2c_edge.capture.live import Live
from x2c_edge.capture.reopening import Reopening
from x2c_edge.capture.video_file import VideoFile
from x2c_edge.errors import BadArgumentError, NotFoundError, nearest

SCHEMES = ("file", "gst", "zmq", "http-push")


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What to watch: a camera or an input, not both; camera 0 when neither is given.

    camera: number, device path ("/dev/video2", "/dev/v4l/by-id/...") or "gst:PIPELINE".
    input: video file, image, folder of images, "file:///path", "gst:PIPELINE", "zmq://host:port" (the robot's
    camera) or "http-push://host:port/stream" (a phone).
    width, height (pixels), fps, pixel_format ("auto", "MJPG", "YUYV", "NV12", "BGR") are wishes to a V4L2
    camera; a file has its own size. fps also sets the rate of images and folders (default: 30 for a film's
    numbered frames, 2 seconds each for other pictures).
    """

    camera: int | str | None = None
    input: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    pixel_format: str = "auto"


def open_source(spec: SourceSpec) -> OpenSource:
    """The source, opened. Live ones come back by themselves when they are lost (``Reopening``).

    Raises ``BadArgumentError`` for a specification that makes no sense and ``NotFoundError`` for a
    source that is missing or unusable; the message is one line.
    """
    _check(spec)
    source = _from_input(spec, spec.input) if spec.input is not None else _camera(spec, spec.camera)
    source.open()
    return source


def _check(spec: SourceSpec) -> None:
    if spec.camera is not None and spec.input is not None:
        raise BadArgumentError(f"camera {spec.camera} and input {spec.input}: give one of the two")
    for name, value in (("width", spec.width), ("height", spec.height), ("fps", spec.fps)):
        if value is not None and not 0 < value < 1e5:
            raise BadArgumentError(f"{name} {value} makes no sense; give a positive number")
    if (spec.width is None) != (spec.height is None):
        raise BadArgumentError("width and height go together: give both or neither")
    if spec.pixel_format not in PIXEL_FORMATS:
        raise BadArgumentError(
            f"unknown pixel format '{spec.pixel_format}'{nearest(spec.pixel_format, PIXEL_FORMATS)}; "
            f"use one of {', '.join(PIXEL_FORMATS)}"
        )


def _camera(spec: SourceSpec, camera: int | str | None) -> OpenSource:
    text = "0" if camera is None else str(camera).strip()
    if text.startswith("gst:"):
        return _gstreamer(text)
    path = f"/dev/video{int(text)}" if text.isdecimal() else text
    if not path.startswith("/"):
        raise BadArgumentError(f"unknown camera '{camera}'; give a number, /dev/videoN or gst:PIPELINE")
    wishes = (spec.width, spec.height, spec.fps, spec.pixel_format)
    return Reopening(Live(path, lambda: V4L2Camera(path, *wishes)))


def _gstreamer(text: str) -> OpenSource:
    pipeline = text.removeprefix("gst:")
    return Reopening(Live(text, lambda: GStreamerCamera(pipeline)))


def _from_input(spec: SourceSpec, text: str) -> OpenSource:
    if not text.strip():
        raise BadArgumentError("empty input; give a video file, an image, a folder or gst:PIPELINE")
    path = Path(text).expanduser()
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)
    if scheme and not path.exists():
        if scheme[1] == "gst":
            return _gstreamer(text)
        if scheme[1] == "zmq":
            from x2c_edge.capture.zmq_video import zmq_video

            return Reopening(zmq_video(text))
        if scheme[1] == "http-push":
            from x2c_edge.capture.http_push import http_push

            return Reopening(http_push(text))
        if scheme[1] != "file":
            raise BadArgumentError(
                f"unknown scheme '{scheme[1]}:' of input {text}{nearest(scheme[1], SCHEMES)}; "
                "use a file, a folder, file:///path, gst:PIPELINE, zmq://HOST:PORT or "
                "http-push://HOST:PORT/stream"
            )
        path = Path(unquote(urlsplit(text).path))
    return _from_path(spec, path)


def _from_path(spec: SourceSpec, path: Path) -> OpenSource:
    try:
        info = path.stat()
        readable = os.access(path, os.R_OK)
        if stat.S_ISDIR(info.st_mode):
            return image_folder(path, spec.fps)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"no such file or folder: {path}{_neighbour(path)}") from None
    except OSError as error:
        raise NotFoundError(f"input {path} cannot be read: {error.strerror}") from error
    if stat.S_ISCHR(info.st_mode):
        return _camera(spec, str(path.resolve()))
    if not stat.S_ISREG(info.st_mode):
        raise NotFoundError(f"input {path} is neither a file, a folder nor a camera")
    if info.st_size == 0:
        raise NotFoundError(f"input {path} is empty (zero bytes); write or copy it again")
    if not readable:
        raise NotFoundError(f"input {path} cannot be read: Permission denied")
    return Images(str(path), [path], spec.fps) if is_image(path) else VideoFile(path)


def _neighbour(path: Path) -> str:
    """A hint at the entry of the same folder whose name is nearest."""
    try:
        return nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""
