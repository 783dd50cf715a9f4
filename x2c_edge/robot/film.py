"""Films the virtual Ameca: its face as the actuators really stand, in real time, into a video file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from x2c_edge.capture.pictures_in import pictures_in
from x2c_edge.errors import NotFoundError
from x2c_edge.places import opencv_name
from x2c_edge.robot.face import AmecaFace

FPS: Final = 30
SIZE: Final = 384


class Film:
    """One picture every 1/30 s from a thread of its own until ``close``.

    pose: (30,) paper units, asked for at every picture; label: written into the corner. A picture that
    could not be drawn in time is filled with the one before, so that the film keeps real time.
    """

    def __init__(self, path: Path, pose: Callable[[], NDArray[np.float64]], label: Callable[[], str]) -> None:
        """NotFoundError when the file cannot be written."""
        self._path, self._pictures = path, 0
        if path.suffix != ".mp4" or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise NotFoundError(f"{path}: cannot be filmed; choose a .mp4 file in a folder that is yours")
        self._pose, self._label = pose, label
        self._writer = cv2.VideoWriter(
            opencv_name(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, (SIZE, SIZE)
        )
        if not self._writer.isOpened():
            raise NotFoundError(f"{path}: cannot be written; choose another file")
        self._face = AmecaFace(SIZE)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._shoot, name="film", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the file. NotFoundError when not all of it reached the disk."""
        self._stopping.set()
        self._thread.join()
        self._writer.release()
        there = pictures_in(self._path)  # the encoder does not say when the disk is full
        if there < self._pictures:
            raise NotFoundError(
                f"{self._path}: only {there} of {self._pictures} pictures reached the disk; make room"
            )

    def _shoot(self) -> None:
        start, pictures = time.monotonic(), 0
        while not self._stopping.is_set():
            picture = self._face.render(self._pose().copy())
            corner = (8, SIZE - 10)
            font = cv2.FONT_HERSHEY_DUPLEX
            cv2.putText(picture, self._label(), corner, font, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
            due = int((time.monotonic() - start) * FPS) + 1
            for _ in range(due - pictures):
                self._writer.write(picture)
                self._pictures += 1
            pictures = due
            self._stopping.wait(max(0.0, start + pictures / FPS - time.monotonic()))
