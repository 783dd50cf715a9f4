from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Flag
from x2c_edge.runtime.fast_loop import FastLoop
from x2c_edge.runtime.open_run import open_run
from x2c_edge.runtime.outlets import Outputs

PERIOD_NS = round(1e9 / 60)
GEAR = "single-stage"


def run_of(parts, **named) -> FastLoop:
    return FastLoop(parts.of_loop(**named), GEAR)


def written(settings, path: Path, **outputs) -> bytes:
    open_run(settings(run={"link": (f"jsonl:{path}",)}), Outputs(fast=True, **outputs)).run()
    return path.read_bytes()


def test_the_same_clip_gives_the_same_bytes(settings, tmp_path: Path):
    first = written(settings, tmp_path / "a.jsonl")
    assert first == written(settings, tmp_path / "b.jsonl")
    lines = [json.loads(line) for line in first.splitlines()]
    followed = {line["frame_seq"] for line in lines if line["frame_seq"] is not None}
    assert followed == set(range(75))  # from the first frame on
    poses = np.array([list(line["controls"].values()) for line in lines])
    assert (poses.std(0) > 0).any()


def test_the_real_network_is_repeatable_too(
    settings, shared: Path, real_pack: str, reference_file: Path, tmp_path: Path
):
    def controls(name: str) -> bytes:
        path = tmp_path / name
        clip = shared / "data" / "clips" / "d3.mp4"
        tree = settings(
            run={"pack": real_pack, "link": (f"jsonl:{path}",), "pipeline": "single-stage"},
            capture={"input": str(clip)},
            calibration={"reference": reference_file},
        )
        open_run(tree, Outputs(fast=True, max_frames=30)).run()
        return path.read_bytes()

    first = controls("a.jsonl")
    assert first == controls("b.jsonl")
    assert b"FOLLOWING" in first


def test_commands_leave_on_the_file_s_clock(parts):
    parts = parts()
    run = run_of(parts)
    run.run()
    commands = parts.link.commands
    times = np.array([c.t_send_ns for c in commands])
    assert times[0] == 0
    assert (np.diff(times) > 0).all()
    assert np.diff(times).max() <= PERIOD_NS
    for c in commands:
        if c.state == "FOLLOWING":
            assert c.t_capture_ns <= c.t_send_ns
    on_time = {c.frame_seq for c in commands if c.t_capture_ns == c.t_send_ns}
    assert on_time == set(range(75))
    assert parts.link.states == ["FOLLOWING", "STOPPED"]
    parts.link.assert_home_and_closed(parts.supervisor)
    assert [bool(c.flags & Flag.END) for c in commands[-3:]] == [True] * 3
    assert (run.processed, run.skipped) == (75, 0)
    assert run.recent_fps() > 0


@pytest.mark.parametrize(
    ("limit", "frames"), [({"max_frames": 10}, 10), ({"duration_s": 0.5}, 16), ({"duration_s": math.inf}, 75)]
)
def test_it_can_end_early(parts, limit: dict, frames: int):
    parts = parts()
    run = run_of(parts, **limit)
    run.run()
    assert abs(run.processed - frames) <= 1
    parts.link.assert_home_and_closed(parts.supervisor)


def test_stop_eases_to_neutral_in_file_time(parts):
    runs: list[FastLoop] = []

    def stop_at_20(command) -> None:
        if command.frame_seq == 20:
            runs[0].stop()

    parts = parts(on_send=stop_at_20)
    runs.append(run_of(parts))
    runs[0].run()
    assert runs[0].processed == 21
    parts.link.assert_home_and_closed(parts.supervisor)


def test_a_damaged_picture_sends_the_robot_home_first(parts, portrait, tmp_path: Path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for k in range(6):
        cv2.imwrite(str(folder / f"{k:03d}.png"), portrait)
    whole = (folder / "003.png").read_bytes()
    parts = parts(source=folder)
    (folder / "003.png").write_bytes(whole[:200])
    with pytest.raises(NotFoundError, match=r"003\.png"):
        run_of(parts).run()
    assert "FOLLOWING" in parts.link.states
    parts.link.assert_home_and_closed(parts.supervisor)


def test_telemetry_is_told_and_changes_nothing(parts, settings, tmp_path: Path):
    seen = []
    run = open_run(
        settings(run={"link": (f"jsonl:{tmp_path / 'a.jsonl'}",)}), Outputs(fast=True), seen.append
    )
    run.run()
    assert seen
    assert seen[-1].frames <= 75
    assert (tmp_path / "a.jsonl").read_bytes() == written(settings, tmp_path / "b.jsonl")


def test_the_clip_is_not_touched(settings, face_clip: Path, tmp_path: Path):
    clip = Path(shutil.copy(face_clip, tmp_path / "clip.mp4"))
    before = clip.read_bytes()
    open_run(settings(capture={"input": str(clip)}), Outputs(fast=True, max_frames=3)).run()
    assert clip.read_bytes() == before
