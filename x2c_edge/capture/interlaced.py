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
import tempfile
from pathlib import Path
from typing import Final

REPEATED: Final = 2  # pictures in a row that are the same before it is worth a look
LONGEST_S: Final = 20.0
_BEFORE: Final = 16  # pictures that are read before the last one, in the middle of a file
_ERRORS: Final = "16"  # FFmpeg's level
_READ: Final = """
import sys, cv2
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
first = int(sys.argv[2])
if first:
    capture.set(cv2.CAP_PROP_POS_FRAMES, first)
for _ in range(int(sys.argv[3])):
    capture.read()
"""


class Look:
    """At the last of the first ``upto`` pictures of a file, by another process: who plays it cannot wait."""

    def __init__(self, path: Path, upto: int) -> None:
        first = max(upto - _BEFORE, 0)
        quiet = {"OPENCV_FFMPEG_LOGLEVEL": _ERRORS, "OPENCV_LOG_LEVEL": "ERROR"}
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._said = tempfile.TemporaryFile()  # noqa: SIM115
        except OSError:  # nowhere to write
            return
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _READ, str(path), str(first), str(upto - first)],
                env={**os.environ, **quiet},
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=subprocess.STDOUT,
            )
        except OSError:
            self._said.close()

    def finding(self, patience_s: float = 0.0) -> bool | None:
        """Whether one of them is interlaced and not converted; None while that is not known. False also when
        it cannot be found out, or takes longer than ``patience_s``, if that is given.
        """
        if self._process is None:
            return False
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            if not patience_s:
                return None
            self.close()
            return False
        self._said.seek(0)
        interlaced = b"interlaced" in self._said.read()
        self.close()
        return interlaced

    def close(self) -> None:
        """Look no more."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            self._said.close()
