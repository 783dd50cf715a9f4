"""Find out whether OpenCV reads nothing from a video because it is interlaced.

OpenCV 4.14 asks FFmpeg's scaler to turn an interlaced picture into a progressive one; the scaler refuses,
OpenCV does not look, and hands out whatever was in the memory: black, or an older picture. All that can be
seen of it from here is that pictures repeat, bit for bit. Still pictures do that too; so then a second
process reads the same pictures once more and listens to what FFmpeg has to say.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

REPEATED: Final = 2  # pictures in a row that are the same before it is worth a look
_TIMEOUT_S: Final = 20.0
_ERRORS: Final = "16"  # FFmpeg's level
_READ: Final = """
import sys, cv2
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
for _ in range(int(sys.argv[2])):
    capture.read()
"""


def is_unread(path: Path, pictures: int) -> bool:
    """Whether one of the first ``pictures`` of the file is interlaced and not converted.

    False also when that cannot be found out.
    """
    quiet = {"OPENCV_FFMPEG_LOGLEVEL": _ERRORS, "OPENCV_LOG_LEVEL": "ERROR"}
    try:
        run = subprocess.run(
            [sys.executable, "-c", _READ, str(path), str(pictures)],
            env={**os.environ, **quiet},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return b"interlaced" in run.stdout + run.stderr
