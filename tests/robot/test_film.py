"""The film of the virtual Ameca: real time, the pose of the moment, and a clear refusal."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.errors import NotFoundError
from x2c_edge.robot.film import FPS, SIZE, Film


def test_it_shows_the_pose_and_keeps_time(tmp_path: Path) -> None:
    pose = NEUTRAL.copy()
    start = time.monotonic()
    film = Film(tmp_path / "face.mp4", lambda: pose, lambda: "ACTIVE")
    time.sleep(0.7)
    pose[INDEX["Jaw Pitch"]] = 0.4
    time.sleep(0.7)
    film.close()
    seconds = time.monotonic() - start
    video = cv2.VideoCapture(str(tmp_path / "face.mp4"))
    pictures = []
    while True:
        ok, picture = video.read()
        if not ok:
            break
        pictures.append(picture.astype(np.int16))
    assert pictures[0].shape == (SIZE, SIZE, 3)
    assert len(pictures) / FPS <= seconds + 0.1
    assert len(pictures) >= FPS * 0.5
    mouth = (slice(SIZE // 2, SIZE * 9 // 10), slice(SIZE // 4, SIZE * 3 // 4))
    assert np.abs(pictures[-1][mouth] - pictures[0][mouth]).mean() > 3.0


@pytest.mark.parametrize("name", ["no/such/folder/face.mp4", "face.avi"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError, match="face"):
        Film(tmp_path / name, lambda: NEUTRAL, lambda: "")
