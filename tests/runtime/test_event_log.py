from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.patience import patient
from x2c_edge.capture.base import SourceStatus
from x2c_edge.links.base import LinkStatus
from x2c_edge.runtime.event_log import EventLog
from x2c_edge.runtime.open_run import open_run
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.telemetry import Snapshot


@pytest.fixture
def snapshot(settings) -> Snapshot:
    with open_run(settings(), Outputs(fast=True, max_frames=1)) as run:
        return run.snapshot()


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_changes_are_said_once_and_nothing_else(snapshot: Snapshot, caplog: pytest.LogCaptureFixture):
    up, down = LinkStatus("udp://robot:1", "up"), LinkStatus("udp://robot:1", "down", last_error="no answer")
    lost = SourceStatus("lost", last_error="the camera is gone")
    first = replace(snapshot, state="STARTING", reason="", gear="two-stage", links=(up,))
    log = EventLog()
    caplog.set_level(logging.INFO, "x2c_edge")
    for now in (
        first,
        first,
        replace(first, state="FOLLOWING"),
        replace(first, state="FOLLOWING", gear="hold"),
        replace(first, state="FOLLOWING", gear="hold", links=(down,)),
        replace(first, state="FAULT", reason="link errors", gear="hold", links=(down,)),
        replace(first, state="FAULT", reason="link errors", gear="hold", links=(down,), source=lost),
    ):
        log.notice(now)
    assert said(caplog) == [
        ("INFO", "STARTING, gear two-stage"),
        ("INFO", "link udp://robot:1 up"),
        ("INFO", "FOLLOWING, was STARTING"),
        ("WARNING", "gear hold, was two-stage"),
        ("WARNING", "link udp://robot:1 down: no answer"),
        ("ERROR", "FAULT (link errors), was FOLLOWING"),
        ("WARNING", "source lost: the camera is gone"),
    ]


def test_a_run_says_its_states_in_a_file(portrait: np.ndarray, small_pack: Path, tmp_path: Path):
    log, picture = tmp_path / "run.log", tmp_path / "face.png"  # a picture has no end, as a camera has none
    cv2.imwrite(str(picture), portrait)
    command = [
        sys.executable, "-m", "x2c_edge.cli.main", "--log-file", str(log), "run", "--pack", str(small_pack),
        "--backend", "torch", "--input", str(picture), "--duration", str(patient(1.5)),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = log.read_text().splitlines()
    assert any("INFO x2c_edge.run: FOLLOWING" in line for line in lines), lines
    assert "x2c_edge.run" not in done.stderr


def test_who_asks_for_nothing_sees_nothing():
    code = "from x2c_edge.runtime.event_log import LOGGER; LOGGER.warning('across the panel')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_a_log_on_a_full_disk_is_said_once(face_clip: Path, small_pack: Path):
    command = [
        sys.executable, "-m", "x2c_edge.cli.main", "--log-file", "/dev/full", "run",
        "--pack", str(small_pack), "--backend", "torch", "--input", str(face_clip),
        "--fast", "--duration", "0.5",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert done.stderr.count("No space left on device") == 2  # when it happens, and at the end


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path):
    command = [sys.executable, "-m", "x2c_edge.cli.main", "--log-file", str(tmp_path), "config", "show"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "--log-file" in done.stderr
