"""OpenCV's settings for this room: its libraries stay silent, our own errors say what is wrong.

Imported before the first capture is opened, because FFmpeg's and V4L2's settings are read from the
environment only once. A setting that the user made in the environment is left alone.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# How long the V4L2 backend blocks on a camera that sends nothing (seconds). It is also how long a
# stalled camera stays occupied before it can be opened again.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "3")

import cv2

__all__ = ["contiguous_bytes", "cv2", "fourcc_text", "sensible_fps"]

# Under either of the two names that OpenCV 4 has had for it.
_set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
_set_log_level(0)


def fourcc_text(value: float) -> str:
    """The four characters of a CAP_PROP_FOURCC value, empty when it holds none."""
    code = int(value)
    if code <= 0:
        return ""
    return code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ")


def sensible_fps(value: float, fallback: float = 30.0) -> float:
    """A rate as read from a device or file, or ``fallback`` when it is zero, NaN or absurd."""
    return value if 0.1 <= value <= 1000.0 else fallback


def contiguous_bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """OpenCV's array as what a ``Frame`` holds: uint8, C-contiguous; copied only when it is neither."""
    return np.ascontiguousarray(image, dtype=np.uint8)
