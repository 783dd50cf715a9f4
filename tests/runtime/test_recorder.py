from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge.controls import NEUTRAL
from x2c_edge.errors import UserError
from x2c_edge.frames import Command, Frame
from x2c_edge.runtime.recorder import WAITING_FRAMES, Recorder
from x2c_edge.runtime.vision import Sight


def sight(seq: int, image: np.ndarray) -> Sight:
    return Sight(Frame(seq, seq * 33_333_333, image), None, None, None, False, "no face in view", 0, 0)


def count(path: Path) -> int:
    video = cv2.VideoCapture(str(path))
    frames = 0
    while video.grab():
        frames += 1
    return frames


@pytest.fixture
def picture() -> np.ndarray:
    return np.full((120, 160, 3), 90, np.uint8)


def test_lossless_keeps_every_frame(tmp_path: Path, picture: np.ndarray):
    path = tmp_path / "v.mp4"
    recorder = Recorder(path, 30.0, lossless=True)
    for k in range(WAITING_FRAMES + 4):
        recorder.command(Command(k, k, "FOLLOWING", 0, NEUTRAL))
        recorder.offer(sight(k, picture))
    recorder.close()
    assert recorder.dropped == 0
    assert count(path) == WAITING_FRAMES + 4


def test_live_drops_rather_than_waits(tmp_path: Path, picture: np.ndarray):
    path = tmp_path / "v.mp4"
    recorder = Recorder(path, 30.0, lossless=False)
    for k in range(60):
        recorder.offer(sight(k, picture))
    recorder.close()
    assert recorder.dropped > 0
    assert count(path) >= 60 - recorder.dropped  # a gap in time may be filled by repeated pictures


def test_what_the_encoder_raised_comes_out_at_the_end(tmp_path: Path, picture: np.ndarray):
    recorder = Recorder(tmp_path / "v.mp4", 30.0, lossless=True)
    recorder.offer(sight(0, picture[..., 0]))  # not a BGR picture
    for k in range(1, 3 * WAITING_FRAMES):
        recorder.offer(sight(k, picture))  # nobody hangs meanwhile
    with pytest.raises(Exception, match=r".+"):
        recorder.close()


def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path: Path):
    with pytest.raises(UserError):
        Recorder(tmp_path / "none" / "v.mp4", 30.0, lossless=True)
