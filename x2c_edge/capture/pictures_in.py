"""How many pictures a video file holds, without decoding them."""

from __future__ import annotations

from pathlib import Path

from x2c_edge.capture.opencv import cv2
from x2c_edge.places import opencv_name


def pictures_in(path: Path) -> int:
    """Coded pictures that FFmpeg finds in the file; 0 when it is no video. Reads the whole file."""
    capture = cv2.VideoCapture(opencv_name(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened() or not capture.set(cv2.CAP_PROP_FORMAT, -1):
            return 0
        count = 0
        while capture.grab():
            count += 1
        return count
    finally:
        capture.release()
