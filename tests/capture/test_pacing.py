from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge.capture.base import EndOfStream
from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.capture.pacing import Paced
from x2c_edge.frames import Frame


def next_frame(source: Paced) -> Frame:
    while True:
        frame = source.read(0.05)
        if frame is not None:
            return frame


def test_every_frame_comes_once_in_order_and_not_before_it_is_due(write_video):
    source = Paced(open_source(SourceSpec(input=str(write_video("a.avi", "MJPG", frames=8, fps=50.0)))))
    assert source.live
    before = time.monotonic_ns()
    frames = []
    for _ in range(8):
        frames.append(next_frame(source))
        assert time.monotonic_ns() >= frames[-1].t_capture_ns
    with pytest.raises(EndOfStream):
        source.read(1.0)
    assert [frame.seq for frame in frames] == list(range(8))
    assert frames[0].t_capture_ns >= before
    assert np.diff([frame.t_capture_ns for frame in frames]).tolist() == [20_000_000] * 7


def test_nothing_within_the_timeout_is_none_and_loses_nothing(write_video):
    source = Paced(open_source(SourceSpec(input=str(write_video("a.avi", "MJPG", frames=3, fps=1.0)))))
    assert source.read(0.0) is not None
    assert source.read(0.0) is None
    assert source.read(0.001) is None
    assert next_frame(source).seq == 1


def test_a_late_reader_gets_every_frame_with_its_own_due_time(write_video):
    source = Paced(open_source(SourceSpec(input=str(write_video("a.avi", "MJPG", frames=4, fps=100.0)))))
    first = next_frame(source)
    time.sleep(0.06)
    late = [source.read(0.0) for _ in range(3)]
    assert [frame.t_capture_ns - first.t_capture_ns for frame in late if frame] == [
        10_000_000,
        20_000_000,
        30_000_000,
    ]


def test_a_still_image_stays_in_view(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), 7, np.uint8))
    source = Paced(open_source(SourceSpec(input=str(tmp_path / "a.png"), fps=200.0)))
    frames = [next_frame(source) for _ in range(6)]
    assert [frame.seq for frame in frames] == list(range(6))
    assert np.diff([frame.t_capture_ns for frame in frames]).tolist() == [5_000_000] * 5
    assert all(frame.image.max() == 7 for frame in frames)
    assert source.status().state == "up"
    assert source.status().frames == 6


def test_a_folder_of_several_images_ends(tmp_path: Path):
    for k in range(3):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.full((4, 4, 3), k, np.uint8))
    source = Paced(open_source(SourceSpec(input=str(tmp_path), fps=200.0)))
    assert [next_frame(source).image.max() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(EndOfStream):
        source.read(1.0)
