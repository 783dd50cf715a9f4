"""From what the user typed to an open source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from x2c_edge.capture.base import OpenSource, SourceSpec
from x2c_edge.capture.camera import PIXEL_FORMATS, v4l2_source
from x2c_edge.capture.gstreamer import gst_source
from x2c_edge.capture.paths import path_source, scheme_of
from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.places import expanded
from x2c_edge.schemes import Schemes, require_no_nul

__all__ = ["SOURCES", "SourceSpec", "open_source"]

MakeSource = Callable[[str, SourceSpec], OpenSource]

SOURCES: Final[Schemes[MakeSource]] = Schemes(
    "x2c_edge.sources",
    {
        "file": "x2c_edge.capture.paths:file_source",
        "gst": "x2c_edge.capture.gstreamer:gst_source",
        "zmq": "x2c_edge.capture.zmq_video:zmq_source",
        "http-push": "x2c_edge.capture.http_push:http_push_source",
    },
)


def open_source(spec: SourceSpec) -> OpenSource:
    """The source, opened. Live ones come back by themselves when they are lost (``Reopening``).

    Raises ``BadArgumentError`` for a specification that makes no sense and ``NotFoundError`` for a
    source that is missing or unusable; the message is one line.
    """
    _check(spec)
    source = _input(spec.input, spec) if spec.input is not None else _camera(spec.camera, spec)
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
    if spec.format not in PIXEL_FORMATS:
        raise BadArgumentError(
            f"unknown pixel format '{spec.format}'{nearest(spec.format, PIXEL_FORMATS)}; "
            f"use one of {', '.join(PIXEL_FORMATS)}"
        )


def _camera(camera: int | str | None, spec: SourceSpec) -> OpenSource:
    text = "0" if camera is None else str(camera).strip()
    if text.startswith("gst:"):
        return gst_source(text, spec)
    path = f"/dev/video{text.lstrip('0') or '0'}" if text.isdecimal() else text
    if not path.startswith("/"):
        raise BadArgumentError(f"unknown camera '{camera}'; give a number, /dev/videoN or gst:PIPELINE")
    return v4l2_source(path, spec)


def _input(text: str, spec: SourceSpec) -> OpenSource:
    if not text.strip():
        raise BadArgumentError("empty input; give a video file, an image, a folder or gst:PIPELINE")
    require_no_nul(text, "input")
    scheme = scheme_of(text)
    if scheme is None:
        return path_source(expanded(text), spec)
    make = SOURCES.find(scheme)
    if make is None:
        known = SOURCES.known()
        others = "".join(f", {one}:" for one in known if one not in SOURCES.ours)
        raise BadArgumentError(
            f"unknown scheme '{scheme}:' of input {text}{nearest(scheme, known)}; "
            "use a file, a folder, file:///path, gst:PIPELINE, zmq://HOST:PORT or "
            f"http-push://HOST:PORT/stream{others}"
        )
    return make(text, spec)
