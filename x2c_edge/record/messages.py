"""What is in a recording: the topics, their JSON schemas, and the way from our objects to JSON and back.

Numbers are written with every digit they have; what is not finite becomes null, and null becomes NaN.
Nested lists and unions are avoided: Foxglove's reader of JSON schemas does not take them.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from x2c_edge.capture.jpeg import decode_jpeg
from x2c_edge.controls import N_CONTROLS, NAMES
from x2c_edge.frames import Command, Expression
from x2c_edge.record.drawing import Image

EXPRESSION: Final = "/expression"
COMMAND: Final = "/command"
CAMERA: Final = "/camera"
ROBOT_FACE: Final = "/robot_face"

LONGEST_SIDE: Final = 640  # pixels, of a recorded picture
_JPEG_QUALITY: Final = 80
_LONGEST_SIDE_SEEN: Final = 16384
_MOST_PIXELS_SEEN: Final = 100_000_000  # a grey picture stands for a frame whose own was left out
_LONGEST_HINT: Final = 120


@dataclass(frozen=True, slots=True)
class Seen:
    """What vision made of one frame, without its pixels.

    width, height: of the frame. expression: None without a face or a reference. landmarks: (L, 2) float64,
    frame pixels, None without a face. affine: (2, 3) float64, crop pixel to frame pixel, None without a crop;
    crop_size, crop_score: as in ``FaceCrop``. acquired, hint: as in the runtime's ``Sight``.
    """

    seq: int
    t_capture_ns: int
    width: int
    height: int
    expression: Expression | None
    landmarks: NDArray[np.float64] | None
    affine: NDArray[np.float64] | None
    crop_size: int
    crop_score: float
    has_reference: bool
    hint: str
    acquired: bool


def expression_message(seen: Seen) -> dict[str, Any]:
    """The message of ``/expression``."""
    expression = seen.expression
    crop = None
    if seen.affine is not None:
        crop = {"affine": _numbers(seen.affine), "size": seen.crop_size, "score": float(seen.crop_score)}
    return {
        "seq": seen.seq,
        "t_capture_ns": seen.t_capture_ns,
        "width": seen.width,
        "height": seen.height,
        "pipeline": None if expression is None else expression.pipeline,
        "values": None if expression is None else dict(zip(NAMES, _numbers(expression.values), strict=True)),
        "presence": None if expression is None else _number(expression.presence),
        "has_reference": seen.has_reference,
        "acquired": seen.acquired,
        "hint": seen.hint,
        "landmarks": None if seen.landmarks is None else _numbers(seen.landmarks),
        "crop": crop,
    }


def seen_from(data: bytes) -> Seen:
    """The opposite of ``expression_message``. ValueError, in a few words, for anything else."""
    try:
        return _seen(json.loads(data))
    except KeyError as missing:
        raise ValueError(f"key {missing} is missing") from None
    except (TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None


def command_message(command: Command) -> dict[str, Any]:
    """The message of ``/command``: the ``jsonl:`` line and the flags."""
    return {**command.to_json(), "flags": command.flags}


def picture_message(picture: Image, log_time_ns: int, frame_id: str) -> dict[str, Any]:
    """A foxglove.CompressedImage of (H, W, 3) uint8 BGR, made smaller to at most ``LONGEST_SIDE`` pixels."""
    height, width = picture.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    seconds, nanoseconds = divmod(log_time_ns, 1_000_000_000)
    return {
        "timestamp": {"sec": seconds, "nsec": nanoseconds},
        "frame_id": frame_id,
        "data": base64.b64encode(jpeg.data).decode(),
        "format": "jpeg",
    }


def picture_from(data: bytes) -> Image | None:
    """The picture of a ``picture_message``, BGR; None when it is damaged."""
    try:
        raw = np.frombuffer(base64.b64decode(json.loads(data)["data"], validate=True), np.uint8)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return decode_jpeg(raw)


def _seen(data: dict[str, Any]) -> Seen:
    seq, t_capture_ns = _whole(data, "seq", 0, 2**63), _whole(data, "t_capture_ns", -(2**63), 2**63)
    width = _whole(data, "width", 1, _LONGEST_SIDE_SEEN + 1)
    height = _whole(data, "height", 1, _LONGEST_SIDE_SEEN + 1)
    if width * height > _MOST_PIXELS_SEEN:
        raise ValueError(f"a frame of {width}x{height} pixels")
    landmarks = None if data["landmarks"] is None else _array(data["landmarks"]).reshape(-1, 2)
    expression = None
    if data["values"] is not None:
        values = _array([data["values"][name] for name in NAMES])
        if values.shape != (N_CONTROLS,) or landmarks is None:
            raise ValueError("values of an odd shape or without landmarks")
        presence = math.nan if data["presence"] is None else float(data["presence"])
        pipeline = _text(data["pipeline"])
        expression = Expression(seq, t_capture_ns, pipeline, values, presence, landmarks)
    affine, size, score = None, 1, 0.0
    if data["crop"] is not None:
        affine = _array(data["crop"]["affine"]).reshape(2, 3)
        size, score = _whole(data["crop"], "size", 1, 1 << 16), float(data["crop"]["score"])
    return Seen(
        seq=seq,
        t_capture_ns=t_capture_ns,
        width=width,
        height=height,
        expression=expression,
        landmarks=landmarks,
        affine=affine,
        crop_size=size,
        crop_score=score,
        has_reference=bool(data["has_reference"]),
        hint=_text(data["hint"])[:_LONGEST_HINT],
        acquired=bool(data["acquired"]),
    )


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Row by row."""
    return [_number(value) for value in values.ravel().tolist()]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _array(values: list[Any]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _whole(data: dict[str, Any], key: str, low: int, high: int) -> int:
    value = data[key]
    if not isinstance(value, int) or not low <= value < high:
        raise ValueError(f"{key} is {str(value)[:40]}")
    return value


def _text(value: Any) -> str:
    """Without what a terminal would take for an order."""
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]} is not a text")
    return "".join(c for c in value if c.isprintable())


def _schema(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


_INTEGER: Final = {"type": "integer"}
_NUMBER: Final = {"type": "number"}
_STRING: Final = {"type": "string"}
_FLAG: Final = {"type": "boolean"}
_LIST: Final = {"type": "array", "items": _NUMBER}
_CONTROLS: Final = _schema(**dict.fromkeys(NAMES, _NUMBER))
_PICTURE: Final = (
    "foxglove.CompressedImage",
    _schema(
        timestamp=_schema(sec=_INTEGER, nsec=_INTEGER) | {"title": "time"},
        frame_id=_STRING,
        data={"type": "string", "contentEncoding": "base64"},
        format=_STRING,
    ),
)

# Name and schema of every topic's messages.
TOPICS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    EXPRESSION: (
        "x2c_edge.Expression",
        _schema(
            seq=_INTEGER,
            t_capture_ns=_INTEGER,
            width=_INTEGER,
            height=_INTEGER,
            pipeline=_STRING,
            values=_CONTROLS,
            presence=_NUMBER,
            has_reference=_FLAG,
            acquired=_FLAG,
            hint=_STRING,
            landmarks=_LIST,
            crop=_schema(affine=_LIST, size=_INTEGER, score=_NUMBER),
        ),
    ),
    COMMAND: (
        "x2c_edge.Command",
        _schema(
            seq=_INTEGER,
            frame_seq=_INTEGER,
            t_capture_ns=_INTEGER,
            t_send_ns=_INTEGER,
            state=_STRING,
            pipeline=_STRING,
            controls=_CONTROLS,
            flags=_INTEGER,
        ),
    ),
    CAMERA: _PICTURE,
    ROBOT_FACE: _PICTURE,
}
