"""JPEG pictures from the network: nothing is decoded before its size is known and sensible."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.capture.opencv import contiguous_bytes, cv2

MOST_BYTES: Final = 4 << 20
MOST_PIXELS: Final = 4096 * 4096
MOST_PER_S: Final = 120.0

_MOST_SEGMENTS: Final = 1000  # before the frame header; an ICC profile in pieces has up to 255
# Each scan of a progressive picture makes the decoder go over all of it; encoders make about ten.
_MOST_SCANS: Final = 24
_START: Final = b"\xff\xd8\xff"
_END: Final = b"\xff\xd9"
_FILL: Final = re.compile(rb"\xff*")
# Frame headers (SOF): 0xC0..0xCF without DHT, JPG and DAC.
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers that stand alone: TEM and RST0 to RST7. The decoder goes on right behind them, as we must.
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})


def jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Width and height from the frame header (ITU T.81, B.2.2); None when this is no complete JPEG.

    Walks from marker to marker as the decoder does, so that both read the same header; what the decoder
    would only mend (bytes between segments, a segment shorter than its own length) is refused. The work is
    bounded whatever the bytes are.
    """
    if len(data) < 4 or bytes(data[:3]) != _START or bytes(data[-64:]).rstrip(b"\0")[-2:] != _END:
        return None
    at = 2
    for _ in range(_MOST_SEGMENTS):
        fill = _FILL.match(data, at)
        if fill is None or fill.end() == at or fill.end() + 9 > len(data):
            return None
        at = fill.end()  # of the marker's code
        marker = data[at]
        if marker in _ALONE:
            at += 1
            continue
        # No code at all, a second start, the end or the picture's data: there is no frame header.
        if marker in (0x00, 0xD8, 0xD9, 0xDA):
            return None
        length = data[at + 1] << 8 | data[at + 2]
        if marker in _FRAME_HEADERS:
            height = data[at + 4] << 8 | data[at + 5]
            width = data[at + 6] << 8 | data[at + 7]
            return (width, height) if width and height and length >= 8 else None
        if length < 2:
            return None
        at += 1 + length
    return None


def jpeg_is_sensible(data: bytes | memoryview) -> bool:
    """Whether it looks whole, has at most ``MOST_PIXELS`` and can be decoded in a time that they explain."""
    size = jpeg_size(data)
    if size is None or size[0] * size[1] > MOST_PIXELS:
        return False
    # In a picture's data 0xFF is followed by zero or RST, so these bytes are nearly always a scan's header.
    return bytes(data).count(b"\xff\xda") <= _MOST_SCANS


def decoded(raw: NDArray[Any]) -> NDArray[np.uint8] | None:
    """The picture that OpenCV makes of the bytes, (H, W, 3) BGR; None when it cannot, for whatever reason."""
    try:
        image = cv2.imdecode(raw, cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else contiguous_bytes(image)


def decode_jpeg(raw: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The picture, (H, W, 3) BGR; None when it is damaged or not ``jpeg_is_sensible``."""
    return decoded(raw) if jpeg_is_sensible(raw.data) else None
