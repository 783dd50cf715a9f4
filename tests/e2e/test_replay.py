"""Recordings of real processes: killed, out of disk, and replayed to a robot."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np

from tests.command_lines import check_safe
from tests.e2e.edge import EDGE, Run, clip
from tests.e2e.test_links_e2e import Sim, free_port
from tests.e2e.test_run import neutral, start, wait_until_following
from tests.patience import patient
from tests.record.recordings import FACTS, seen, write


def test_kill_9_loses_little_and_the_rest_replays(edge: Run, tmp_path: Path) -> None:
    process = start(
        tmp_path, "--pipeline", "single-stage", "--link", "jsonl:out.jsonl", "--record", "out.mcap"
    )
    wait_until_following(tmp_path / "out.jsonl", process)
    time.sleep(1.0)
    process.kill()
    process.wait()
    done = edge("replay", "out.mcap", "--fast", "--link", "jsonl:again.jsonl")
    assert done.returncode == 0, done.stderr
    assert "out.mcap: the recording is cut short" in done.stderr.splitlines()[-1]
    lines = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    check_safe(lines)
    assert neutral(lines[-1])
    text = (tmp_path / "out.jsonl").read_text()
    sent = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    last = max(line["frame_seq"] for line in sent if line["frame_seq"] is not None)
    kept = max(line["frame_seq"] for line in lines if line["frame_seq"] is not None)
    assert last - kept < 60  # two seconds, on a busy machine


def test_a_full_disk_is_said_at_the_end_and_the_robot_goes_home(edge: Run, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*EDGE, "run", "--input", str(clip("d6")), "--fast", "--pipeline", "single-stage", "--duration", "3",
         "--record", "out.mcap", "--link", "jsonl:-"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000)),
    )  # fmt: skip
    out, errors = process.communicate(timeout=patient(120))
    assert process.returncode == 3, errors
    last = errors.splitlines()[-1]
    assert last.startswith("x2c-edge: out.mcap: file too large; the recording ends early")
    lines = [json.loads(line) for line in out.splitlines()]
    check_safe(lines)
    assert neutral(lines[-1])
    assert max(line["frame_seq"] or 0 for line in lines) > 80  # to the end
    done = edge("replay", "out.mcap", "--fast", "--link", "jsonl:-")
    assert done.returncode == 0, done.stderr
    assert "cut short" in done.stderr


def test_a_robot_sees_no_violation_even_of_a_hostile_recording(edge: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sights = [seen(k, rng.choice([-1e9, -3.0, 0.0, 0.5, 1.0, 3.0, 1e9], 30)) for k in range(45)]
    write(tmp_path / "wild.mcap", sights, FACTS, pictures=False)
    uri = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    sim = Sim(tmp_path, uri)
    try:
        (tmp_path / "patient.toml").write_text("[run]\nbudget_ms = 300\n[safety]\nhold_after = 1.0\n")
        done = edge("replay", "wild.mcap", "--link", uri, "--config", "patient.toml")
        assert done.returncode == 0, done.stderr
        report = sim.end()
    finally:
        sim.process.kill()
        sim.process.communicate()
    assert report["violations"] == 0, report["worst"]
    assert report["applied"] > 60
    assert report["ends"] == 3
    assert report["from_neutral"] < 0.01


def test_ctrl_c_eases_a_replay_to_neutral(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    sights = [seen(k, rng.uniform(0.0, 1.0, 30)) for k in range(900)]
    write(tmp_path / "long.mcap", sights, FACTS, pictures=False)
    process = subprocess.Popen(
        [*EDGE, "replay", "long.mcap", "--link", "jsonl:out.jsonl"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until_following(tmp_path / "out.jsonl", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=patient(30))
    assert process.returncode == 0, errors
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    check_safe(lines)
    assert lines[-1]["state"] == "STOPPED"
    assert neutral(lines[-1])
