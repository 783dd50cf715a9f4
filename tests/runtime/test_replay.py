from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.command_lines import check_safe, values_of
from tests.patience import patient
from tests.record.recordings import FACTS, seen, smooth, write
from x2c_edge.controls import NEUTRAL
from x2c_edge.errors import FaultError, NotFoundError
from x2c_edge.frames import Expression
from x2c_edge.runtime.open_run import open_run
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.replay import open_replay
from x2c_edge.runtime.settings import load

FAST = Outputs(fast=True)


def replayed(recording: Path, out: Path, outputs: Outputs = FAST, **run: object) -> bytes:
    settings = load(None, {"run": {"link": (f"jsonl:{out}",)} | run, "safety": {"ease": 0.1}})
    open_replay(recording, settings, outputs).run()
    return out.read_bytes()


def check_whole(data: bytes) -> list[dict]:
    """Safe, and at rest at the end."""
    lines = [json.loads(line) for line in data.splitlines()]
    check_safe(lines)
    values = values_of(lines)
    assert lines[-1]["state"] == "STOPPED"
    np.testing.assert_array_equal(values[-1], values[-2])
    np.testing.assert_allclose(values[-1], NEUTRAL, atol=1e-6)
    return lines


def test_a_fast_recording_replays_to_the_same_bytes(settings, tmp_path: Path):
    original, recording = tmp_path / "a.jsonl", tmp_path / "a.mcap"
    open_run(settings(run={"link": (f"jsonl:{original}",)}), Outputs(fast=True, record=recording)).run()
    first = replayed(recording, tmp_path / "b.jsonl")
    assert first == original.read_bytes()
    assert first == replayed(recording, tmp_path / "c.jsonl")
    assert b"FOLLOWING" in first


def test_recording_changes_no_command(settings, tmp_path: Path):
    def run(name: str, record: Path | None) -> bytes:
        tree = settings(run={"link": (f"jsonl:{tmp_path / name}",)})
        open_run(tree, Outputs(fast=True, record=record, max_frames=45)).run()
        return (tmp_path / name).read_bytes()

    assert run("a.jsonl", None) == run("b.jsonl", tmp_path / "b.mcap")


def test_a_live_recording_replays_what_was_seen(settings, reference_file: Path, tmp_path: Path):
    recording, out = tmp_path / "a.mcap", tmp_path / "out.jsonl"
    run = open_run(
        settings(calibration={"reference": reference_file}), Outputs(record=recording, duration_s=1.0)
    )
    run.run()
    assert run.outlets.recording.frames == run.loop.processed
    assert run.outlets.recording.commands == run.supervisor.counters.commands
    lines = check_whole(replayed(recording, out))
    followed = {line["frame_seq"] for line in lines if line["frame_seq"] is not None}
    assert len(followed) == run.outlets.recording.frames
    assert lines[0]["t_send_ns"] == 0


def hostile(count: int) -> list:
    """Not finite, out of range, jumping, with lost faces and lost references between."""
    rng = np.random.default_rng(5)
    sights = []
    for k in range(count):
        values = rng.choice([-1e308, -50.0, 0.0, 0.5, 1.0, 50.0, 1e308], 30)
        values[rng.random(30) < 0.03] = np.nan
        sight = seen(k, values)
        if k % 17 == 3:
            sight = replace(sight, expression=None, landmarks=None)
        if k % 23 == 5:
            sight = replace(sight, has_reference=False, expression=None)
        if k % 29 == 7:
            sight = replace(sight, t_capture_ns=-1)
        sights.append(sight)
    return sights


@pytest.mark.parametrize("clock", ["file", "monotonic"])
def test_a_hostile_recording_stays_inside_the_limits(tmp_path: Path, clock: str):
    recording = write(tmp_path / "a.mcap", hostile(150), FACTS | {"clock": clock}, pictures=False)
    lines = check_whole(replayed(recording, tmp_path / "a.jsonl"))
    assert "FOLLOWING" in {line["state"] for line in lines}


def test_a_live_replay_of_a_hostile_recording_does_too(tmp_path: Path):
    recording = write(tmp_path / "a.mcap", hostile(30), pictures=False)
    outputs = Outputs()
    check_whole(replayed(recording, tmp_path / "a.jsonl", outputs, budget_ms=300.0))


def test_values_that_are_never_finite_end_in_fault_and_at_rest(tmp_path: Path):
    bad = [seen(k, np.full(30, np.nan)) for k in range(60)]
    recording = write(
        tmp_path / "a.mcap", [*smooth(20), *(replace(s, t_capture_ns=s.t_capture_ns + 10**9) for s in bad)]
    )
    with pytest.raises(FaultError, match="not finite"):
        replayed(recording, tmp_path / "a.jsonl")
    check_whole((tmp_path / "a.jsonl").read_bytes())


def test_a_reference_that_was_taken_anew_means_neutral_in_between(tmp_path: Path):
    sights = smooth(90)
    for k in range(30, 60):
        sights[k] = replace(sights[k], expression=None, has_reference=False)
    lines = check_whole(replayed(write(tmp_path / "a.mcap", sights), tmp_path / "a.jsonl"))
    states = [line["state"] for line in lines]
    order = [state for k, state in enumerate(states) if k == 0 or states[k - 1] != state]
    assert order == ["FOLLOWING", "NEUTRAL", "FOLLOWING", "STOPPED"]


def test_damage_in_the_middle_sends_the_robot_home_first(tmp_path: Path):
    recording = write(tmp_path / "a.mcap", smooth(60))
    data = bytearray(recording.read_bytes())
    data[len(data) // 2] ^= 0xFF
    recording.write_bytes(data)
    with pytest.raises(NotFoundError, match="damaged at byte"):
        replayed(recording, tmp_path / "a.jsonl")
    assert "FOLLOWING" in {line["state"] for line in check_whole((tmp_path / "a.jsonl").read_bytes())}


@pytest.mark.parametrize("fast", [True, False])
def test_stop_eases_to_neutral(tmp_path: Path, fast: bool):
    recording, out = write(tmp_path / "a.mcap", smooth(300), pictures=False), tmp_path / "a.jsonl"
    tree = load(None, {"run": {"link": (f"jsonl:{out}",), "budget_ms": 1000.0}, "safety": {"ease": 0.1}})
    replay = open_replay(
        recording, tree, Outputs(fast=fast), lambda snapshot: snapshot.frames and replay.stop()
    )
    replay.run()
    lines = check_whole(out.read_bytes())
    assert max(line["frame_seq"] or 0 for line in lines) < 250
    assert not [thread for thread in threading.enumerate() if thread.name in ("capture", "vision", "mcap")]


def test_a_replay_ends_after_its_duration(tmp_path: Path):
    recording = write(tmp_path / "a.mcap", smooth(90), pictures=False)
    lines = check_whole(replayed(recording, tmp_path / "a.jsonl", Outputs(fast=True, duration_s=1.0)))
    assert max(line["frame_seq"] or 0 for line in lines) == 30


def test_the_snapshot_says_replay_and_what_was_said_then(tmp_path: Path):
    told = []
    sights = [replace(seen(k), has_reference=False, hint="relax your face") for k in range(40)]
    recording = write(tmp_path / "a.mcap", sights)
    replay = open_replay(recording, load(None), FAST, told.append)
    replay.run()
    last = replay.snapshot()
    assert (last.gear, last.frames, last.with_face, last.source.format) == ("replay", 40, 40, "MCAP")
    assert {snapshot.calibration for snapshot in told} == {"relax your face"}


@pytest.mark.parametrize("generated", [True, False])
def test_the_video_shows_camera_robot_and_bars(tmp_path: Path, settings, generated: bool):
    from x2c_edge.record.mcap_file import McapWriter
    from x2c_edge.record.messages import (
        EXPRESSION,
        ROBOT_FACE,
        TOPICS,
        expression_message,
        picture_message,
    )

    recording, video = tmp_path / "a.mcap", tmp_path / "v.mp4"
    topics = {topic: schema for topic, schema in TOPICS.items() if generated or topic != ROBOT_FACE}
    writer = McapWriter(recording, topics, FACTS)
    for k, sight in enumerate(smooth(4)):
        if generated:
            face = picture_message(np.full((32, 32, 3), (0, 200, 0), np.uint8), 0, "robot")
            writer.add(ROBOT_FACE, sight.t_capture_ns, face, k)
        writer.add(EXPRESSION, sight.t_capture_ns, expression_message(sight), k)
    writer.finish({})
    replayed(recording, tmp_path / "a.jsonl", Outputs(fast=True, save_video=video))
    capture = cv2.VideoCapture(str(video))
    ok, picture = capture.read()
    assert ok
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 4
    assert picture.shape == (720, 960 + 720 * (1 + generated) + 560, 3)
    if generated:
        assert np.abs(picture[360, 960 + 360].astype(int) - (0, 200, 0)).max() < 12


def test_a_link_that_cannot_be_opened_closes_the_others(tmp_path: Path):
    recording = write(tmp_path / "a.mcap", smooth(3))
    path = tmp_path / "a.jsonl"
    tree = load(None, {"run": {"link": (f"jsonl:{path}", "serial:///dev/ttyNONE")}})
    with pytest.raises(NotFoundError, match="ttyNONE"):
        open_replay(recording, tree, FAST)
    assert path.read_text() == ""


def test_neither_torch_nor_a_pack_is_needed(tmp_path: Path):
    recording = write(tmp_path / "a.mcap", smooth(10))
    snippet = f"""
import sys
sys.modules["torch"] = None  # as if it were not installed
sys.argv[:] = ["x2c-edge", "replay", {str(recording)!r}, "--fast", "--link", "jsonl:-"]
from x2c_edge.cli.main import app
app()
"""
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, timeout=patient(60),
        env={"PATH": "", "X2C_EDGE_PACKS": "", "XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_whole(done.stdout.encode())


def test_expressions_of_a_recording_carry_the_run_s_time(tmp_path: Path):
    """A live replay is as late as a camera would be, whatever the clock of the recording said."""
    old = [replace(s, t_capture_ns=s.t_capture_ns + 10**15) for s in smooth(20)]
    recording = write(tmp_path / "a.mcap", old, FACTS | {"clock": "monotonic"}, pictures=False)
    lines = check_whole(replayed(recording, tmp_path / "a.jsonl", Outputs(), budget_ms=300.0))
    ages = [line["t_send_ns"] - line["t_capture_ns"] for line in lines if line["state"] == "FOLLOWING"]
    assert ages
    assert all(0 <= age < 150e6 for age in ages)
    assert isinstance(old[0].expression, Expression)
