from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.record.recordings import smooth, write
from x2c_edge.capture.base import EndOfStream
from x2c_edge.capture.played import Played
from x2c_edge.record.recorded import Recorded


@pytest.fixture
def played(tmp_path: Path) -> Played:
    recorded = Recorded(write(tmp_path / "a.mcap", smooth(30), pictures=False), pictures=False)
    recorded.open()
    return Played(recorded)


def read(played: Played) -> tuple[int, int]:
    """seq and time of the next frame."""
    while True:
        frame = played.read(0.1)
        if frame is not None:
            return frame.seq, frame.t_capture_ns


def test_it_plays_like_any_paced_file(played: Played) -> None:
    frames = [read(played) for _ in range(30)]
    with pytest.raises(EndOfStream):
        played.read(0.1)
    assert [seq for seq, _ in frames] == list(range(30))
    assert [b - a for (_, a), (_, b) in pairwise(frames)] == [33_333_333] * 29


def test_a_pause_lasts_and_its_moment_stays_fresh(played: Played) -> None:
    first = read(played)
    played.order({"pause": True})
    paused = [read(played) for _ in range(3)]
    assert {seq for seq, _ in paused} == {first[0]}
    times = [first[1], *(t for _, t in paused)]
    assert times == sorted(times)
    assert len(set(times)) == 4
    assert abs(times[-1] - time.monotonic_ns()) < 1e9
    played.order({"pause": False})
    assert [read(played)[0] for _ in range(2)] == [1, 2]


def test_steps_come_one_by_one_and_pause(played: Played) -> None:
    read(played)
    played.order({"step": 2})
    assert [read(played)[0] for _ in range(4)] == [1, 2, 2, 2]
    assert played.paused
    played.order({"pause": False})
    assert read(played)[0] == 3


@pytest.mark.parametrize("speed", [0.5, 4.0])
def test_another_speed_is_another_distance(played: Played, speed: float) -> None:
    read(played)
    played.order({"speed": speed})
    frames = [read(played) for _ in range(4)]
    assert [seq for seq, _ in frames] == [1, 2, 3, 4]
    gaps = [b - a for (_, a), (_, b) in pairwise(frames)]
    assert gaps == pytest.approx([33_333_333 / speed] * 3, abs=2)


NONSENSE = (
    {"speed": 0},
    {"speed": float("nan")},
    {"speed": -1},
    {"step": -1},
    {"step": 10**9},
    {"speed": "x"},
)


@pytest.mark.parametrize("word", NONSENSE, ids=str)
def test_nonsense_is_refused(played: Played, word: dict) -> None:
    with pytest.raises(ValueError, match=r"."):
        played.order(word)
    assert read(played)[0] == 0
