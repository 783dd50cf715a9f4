"""JPEG pictures from the network: nothing is decoded before its size is known and sensible."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.capture.opencv import contiguous_bytes, cv2

MOST_BYTES: Final = 4 << 20
MOST_PIXELS: Final = 4096 * 4096
MOST_PER_S: Final = 120.0

_START: Final = b"\xff\xd8\xff"
_END: Final = b"\xff\xd9"
# Frame headers (SOF): 0xC0..0xCF without DHT, JPG and DAC.
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Width and height from the frame header (ITU T.81, B.2.2); None when this is no complete JPEG."""
    if len(data) < 4 or bytes(data[:3]) != _START or bytes(data[-64:]).rstrip(b"\0")[-2:] != _END:
        return None
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _FRAME_HEADERS:
            height = data[at + 5] << 8 | data[at + 6]
            width = data[at + 7] << 8 | data[at + 8]
            return (width, height) if width and height else None
        if marker == 0xDA:  # the picture's data began without a frame header
            return None
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return None


def decode_jpeg(raw: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The picture, (H, W, 3) BGR; None when it is damaged or has more than ``MOST_PIXELS``."""
    size = jpeg_size(raw.data)
    if size is None or size[0] * size[1] > MOST_PIXELS:
        return None
    image = cv2.imdecode(raw, cv2.IMREAD_COLOR)
    return None if image is None else contiguous_bytes(image)
