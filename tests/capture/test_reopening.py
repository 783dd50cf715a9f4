"""Reopening over a real source that goes away and comes back: a video file, deleted and restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from x2c_edge.capture.reopening import Reopening
from x2c_edge.capture.video_file import VideoFile
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Frame


def read_until_silence(source: Reopening) -> list[Frame]:
    frames = []
    while (frame := source.read(0.0)) is not None:
        frames.append(frame)
    return frames


def wait_for(source: Reopening) -> Frame:
    while True:
        frame = source.read(0.05)
        if frame is not None:
            return frame


def test_goes_away_and_comes_back(write_video, tmp_path: Path):
    path = write_video("a.avi", "MJPG", frames=5)
    away = tmp_path / "away"
    source = Reopening(VideoFile(path), first_pause_s=0.01, longest_pause_s=0.04)
    source.open()
    assert source.live
    path.rename(away)
    first = read_until_silence(source)
    assert [frame.seq for frame in first] == list(range(5))

    for _ in range(3):
        assert source.read(0.05) is None
    status = source.status()
    assert status.state in ("lost", "reopening")
    assert (status.frames, status.reopened) == (5, 0)
    assert status.last_error is not None
    assert str(path) in status.last_error

    away.rename(path)
    assert wait_for(source).seq == 5
    status = source.status()
    assert (status.state, status.frames, status.reopened) == ("up", 6, 1)

    assert [frame.seq for frame in read_until_silence(source)] == [6, 7, 8, 9]
    assert wait_for(source).seq == 10
    assert source.status().reopened == 2
    source.close()


def test_pauses_double_up_to_the_longest(write_video):
    path = write_video("a.avi", "MJPG", frames=1)
    source = Reopening(VideoFile(path), first_pause_s=0.01, longest_pause_s=0.04)
    source.open()
    path.unlink()
    read_until_silence(source)
    while source._pause_s < 0.04:
        assert source.read(0.01) is None
    source.read(0.1)
    assert source._pause_s == 0.04
    source.close()


def test_missing_at_the_start_is_an_error(tmp_path: Path):
    source = Reopening(VideoFile(tmp_path / "none.avi"))
    with pytest.raises(NotFoundError):
        source.open()


def test_closed_while_away_it_stays_closed(write_video):
    path = write_video("a.avi", "MJPG", frames=2)
    content = path.read_bytes()
    source = Reopening(VideoFile(path), first_pause_s=0.01, longest_pause_s=0.02)
    source.open()
    path.unlink()
    read_until_silence(source)
    source.close()
    path.write_bytes(content)
    assert source.status().reopened == 0
    source.open()
    assert source.read(0.0) is not None
    source.close()
