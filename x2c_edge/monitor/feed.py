"""The messages from a run to its page, ready for the browser.

Texts are JSON with a ``kind``: "hello" (what there is to show), "snapshot" (four times a second), "log".
Binary ones begin with 8 bytes, the first of which says what they are:

* C: commands, rows of ``COMMAND_COLUMNS`` little-endian float64: time on the run's clock in ms, state (its
  place in ``STATES``), flags, the age in ms of the frame that this is the first command of (else NaN), and
  the 30 values;
* P, F: the camera's picture, and the robot face that the network drew: uint32 length, so much JSON, a JPEG.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import CONTROLS, N_CONTROLS, NEUTRAL, SAFE_HIGH, SAFE_LOW

# In the order of urgency.
SLOTS: Final = ("you", "hello", "commands", "snapshot", "face", "camera")
STATES: Final = ("STARTING", "NEUTRAL", "FOLLOWING", "HOLDING", "RETURNING", "FAULT", "STOPPED")
COMMAND_COLUMNS: Final = 4 + N_CONTROLS
_LINE: Final = struct.Struct(f"<{COMMAND_COLUMNS}d")
LONGEST_MESSAGE: Final = 160_000
LONGEST_SIDE: Final = 480  # pixels, of a picture on the page
_JPEG_QUALITY: Final = 70
_PREFIX: Final = 8
_BINARY: Final = {b"C": "commands", b"P": "camera", b"F": "face"}


def slot_of(data: bytes) -> tuple[str, bytes | str]:
    """A message as it came from the run: its slot, and what the browser gets."""
    if data[:1] != b"{":
        return _BINARY[data[:1]], data
    text = data.decode()
    return str(json.loads(text)["kind"]), text


def hello(facts: dict[str, Any], states: Sequence[str] = STATES) -> bytes:
    """What there is to show: the controls, what the states are called, and ``facts``."""
    controls = [
        {
            "name": c.name, "group": c.group, "unit": c.unit, "low": c.low, "high": c.high,
            "safe": [float(SAFE_LOW[c.index]), float(SAFE_HIGH[c.index])], "neutral": float(NEUTRAL[c.index]),
        }
        for c in CONTROLS
    ]  # fmt: skip
    return json.dumps({"kind": "hello", "states": list(states), "controls": controls, **facts}).encode()


def snapshot(facts: dict[str, Any]) -> bytes:
    return json.dumps({"kind": "snapshot", **facts}).encode()


def log(t_s: float, text: str) -> bytes:
    """t_s: Unix seconds."""
    return json.dumps({"kind": "log", "t": round(t_s, 3), "text": text}).encode()


@dataclass(frozen=True, slots=True)
class Row:
    """One command. state: its place among the hello's. age_ms: see above. values: (30,) paper units."""

    t_ms: float
    state: int
    flags: int
    age_ms: float
    values: NDArray[np.float64]


def commands(rows: Sequence[Row]) -> bytes:
    """Commands, oldest first."""
    lines = [_LINE.pack(r.t_ms, r.state, r.flags, r.age_ms, *r.values.tolist()) for r in rows]
    return b"C".ljust(_PREFIX, b"\0") + b"".join(lines)


def picture(kind: str, image: NDArray[np.uint8], facts: dict[str, Any]) -> bytes | None:
    """(H, W, 3) BGR, made smaller; kind: "P" or "F". facts: JSON-ready. None if it cannot be sent."""
    height, width = image.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, jpeg = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    text = json.dumps({"width": width, "height": height, **facts}).encode()
    data = kind.encode().ljust(_PREFIX, b"\0") + len(text).to_bytes(4, "little") + text + jpeg.tobytes()
    return data if len(data) <= LONGEST_MESSAGE else None
