from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.patience import patient
from tests.record.recordings import FACTS
from x2c_edge.controls import NEUTRAL
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Command, Expression, FaceCrop, Frame
from x2c_edge.record.mcap_file import McapReader
from x2c_edge.record.messages import picture_from, seen_from
from x2c_edge.runtime.mcap_recorder import WAITING_PICTURES, McapRecorder
from x2c_edge.runtime.vision import Sight

PICTURE = np.full((48, 64, 3), 90, np.uint8)


def sight(seq: int, image: np.ndarray = PICTURE, **more: object) -> Sight:
    frame = Frame(seq, seq * 33_333_333, image)
    landmarks = np.full((140, 2), 20.0 + seq)
    expression = Expression(seq, frame.t_capture_ns, "two-stage", NEUTRAL + 0.01 * seq, 0.9, landmarks)
    crop = FaceCrop(frame, np.eye(2, 3) * 1.5, 32, 0.8)
    return Sight(frame, crop, landmarks, expression, True, "", 0, 0, **more)


def command(seq: int) -> Command:
    return Command(seq, seq * 16_666_667, "FOLLOWING", 0x20, NEUTRAL, seq, seq, "two-stage")


def by_topic(path: Path) -> tuple[dict[str, list[tuple[int, bytes]]], McapReader]:
    reader = McapReader(path)
    found: dict[str, list[tuple[int, bytes]]] = {}
    for message in reader.messages():
        found.setdefault(message.topic, []).append((message.log_time_ns, message.data))
    return found, reader


def test_lossless_keeps_everything_on_the_file_s_clock(tmp_path: Path):
    path = tmp_path / "a.mcap"
    recorder = McapRecorder(path, FACTS, lossless=True, generated=True)
    face = np.full((32, 32, 3), (30, 100, 200), np.uint8)
    count = 3 * WAITING_PICTURES
    for k in range(count):
        recorder.command(command(k))
        recorder.offer(sight(k, robot_face=face))
    recorder.close()
    found, reader = by_topic(path)
    assert {topic: len(messages) for topic, messages in found.items()} == dict.fromkeys(
        ("/command", "/camera", "/robot_face", "/expression"), count
    )
    assert not reader.cut_short
    for k, (time_ns, data) in enumerate(found["/expression"]):
        back = seen_from(data)
        assert time_ns == back.t_capture_ns == k * 33_333_333
        np.testing.assert_array_equal(back.expression.values, NEUTRAL + 0.01 * k)
        np.testing.assert_array_equal(back.affine, np.eye(2, 3) * 1.5)
    assert [json.loads(d) for _, d in found["/command"]] == [
        command(k).to_json() | {"flags": 0x20} for k in range(count)
    ]
    assert [t for t, _ in found["/camera"]] == [t for t, _ in found["/expression"]]
    assert np.abs(picture_from(found["/robot_face"][0][1]).astype(int) - (200, 100, 30)).max() <= 4
    assert (recorder.frames, recorder.commands, recorder.pictures_dropped) == (count, count, 0)
    assert recorder.summary == f"recorded {path}: {count} frames, {count} commands"


def test_live_leaves_pictures_out_rather_than_wait_and_loses_nothing_else(tmp_path: Path):
    path = tmp_path / "a.mcap"
    recorder = McapRecorder(path, FACTS, lossless=False, generated=False)
    large = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), np.uint8)
    for k in range(60):
        recorder.offer(sight(k, large))
        recorder.command(command(k))
    recorder.close()
    found, _ = by_topic(path)
    assert [seen_from(d).seq for _, d in found["/expression"]] == list(range(60))
    assert len(found["/command"]) == 60
    assert len(found["/camera"]) + recorder.pictures_dropped == 60
    assert recorder.pictures_dropped > 0
    assert f"{recorder.pictures_dropped} pictures left out" in recorder.summary
    assert min(t for t, _ in found["/expression"]) > 0


def test_every_format_of_a_frame_is_recorded(tmp_path: Path):
    path = tmp_path / "a.mcap"
    recorder = McapRecorder(path, FACTS, lossless=True, generated=False)
    for k, (shape, kind) in enumerate([((48, 64, 3), "RGB"), ((48, 64, 2), "YUYV"), ((72, 64), "NV12")]):
        frame = Frame(k, k, np.full(shape, 128, np.uint8), kind)
        recorder.offer(Sight(frame, None, None, None, False, "no face in view", 0, 0))
    recorder.close()
    found, _ = by_topic(path)
    assert {picture_from(d).shape for _, d in found["/camera"]} == {(48, 64, 3)}
    assert {(s.width, s.height) for s in (seen_from(d) for _, d in found["/expression"])} == {(64, 48)}


def test_what_is_no_trouble_with_the_disk_comes_out_at_the_end(tmp_path: Path):
    recorder = McapRecorder(tmp_path / "a.mcap", FACTS, lossless=True, generated=False)
    recorder.offer(sight(0, np.zeros((4, 4, 7), np.uint8)))
    for k in range(1, 3 * WAITING_PICTURES):
        recorder.offer(sight(k))  # nobody hangs meanwhile
    with pytest.raises(Exception, match=r".+"):
        recorder.close()
    assert threading.active_count() < 10


@pytest.mark.parametrize("place", ["none/a.mcap", "full.mcap"])
def test_a_place_that_takes_nothing_is_said_at_once(tmp_path: Path, place: str):
    (tmp_path / "full.mcap").symlink_to("/dev/full")
    with pytest.raises(NotFoundError, match=r"\.mcap: cannot be written") as error:
        McapRecorder(tmp_path / place, FACTS, lossless=False, generated=False)
    assert "\n" not in str(error.value)


FILLING = """
import resource, sys
from pathlib import Path
from tests.runtime.test_mcap_recorder import FACTS, McapRecorder, command, sight, np
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # the disk is full there
noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
for path, lossless in zip(sys.argv[1:], (True, False)):
    recorder = McapRecorder(Path(path), FACTS, lossless=lossless, generated=False)
    for k in range(40):
        recorder.offer(sight(k, noise))
        recorder.command(command(k))
    recorder.close()
    print(recorder.failure)
"""


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path):
    paths = tmp_path / "lossless.mcap", tmp_path / "live.mcap"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FILLING, *map(str, paths)],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True,
        timeout=patient(60),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{path}: file too large; the recording ends early")
        assert path.stat().st_size <= 300_000
        found, reader = by_topic(path)
        assert reader.cut_short
        seen = [seen_from(data).seq for _, data in found.get("/expression", [])]
        assert seen == list(range(len(seen)))
