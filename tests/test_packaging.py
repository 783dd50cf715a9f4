"""packaging/: what a board starts the run with, as far as it can be tried on any machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from x2c_edge.toml_text import from_toml

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "packaging/x2c-edge.service"
RULES = ROOT / "packaging/70-x2c-edge.rules"
INSTALLED = "/opt/x2c-edge/.venv/bin/x2c-edge"
LATE_S = 240.0


def unit_value(name: str) -> str:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)[0]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_understands_the_unit(tmp_path: Path):
    """All but the program's path, which is on a board only."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(INSTALLED, sys.executable).replace("file:/opt", "file:/usr"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_tried_for_as_long_as_a_robot_is_away():
    """With the limit's default, or any other than none, the sixth failure is the last."""
    assert unit_value("StartLimitIntervalSec") == "0"
    assert unit_value("Restart") == "on-failure"
    assert unit_value("RestartPreventExitStatus") == "2"


def test_relative_paths_of_the_service_lead_to_where_it_may_write():
    assert unit_value("ProtectSystem") == "strict"
    assert unit_value("WorkingDirectory") == f"/var/lib/{unit_value('StateDirectory')}"


def test_service_and_container_reach_the_daemon_of_csi_cameras():
    """It listens at /tmp/argus_socket, which a /tmp of one's own hides."""
    assert "PrivateTmp" not in re.findall(r"^(\w+)=", UNIT.read_text(), re.MULTILINE)
    assert "nvargus-daemon.service" in unit_value("After").split()
    assert "-v /tmp/argus_socket:/tmp/argus_socket" in (ROOT / "docs/board.md").read_text()


def knows_verify() -> bool:
    """``udevadm verify`` came with systemd 254."""
    if shutil.which("udevadm") is None:
        return False
    said = subprocess.run(["udevadm", "verify", "--help"], capture_output=True, text=True)
    return said.returncode == 0


@pytest.mark.skipif(not knows_verify(), reason="udevadm is not here, or older than 254")
def test_udev_understands_the_rules():
    done = subprocess.run(["udevadm", "verify", RULES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_units_command_starts_and_ends_when_told(tmp_path: Path, face_clip: Path):
    """Its own words, with settings for this machine, and the test in systemd's place."""
    settings = tmp_path / "config.toml"
    settings.write_text(f'[run]\nbackend = "cpu"\nlink = ["null:"]\n[capture]\ninput = "{face_clip}"\n')
    program, *words = unit_value("ExecStart").split()
    assert program == INSTALLED
    words[words.index("--config") + 1] = str(settings)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(LATE_S)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        command = [sys.executable, "-m", "x2c_edge.cli.main", *words]
        run = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            assert systemd.recv(100) == b"READY=1"
            assert systemd.recv(100) == b"WATCHDOG=1"
            run.send_signal(getattr(signal, unit_value("KillSignal")))
            until = time.monotonic() + LATE_S
            while systemd.recv(100) != b"STOPPING=1":
                assert time.monotonic() < until
            _, said = run.communicate(timeout=LATE_S)
        finally:
            run.kill()
        assert run.returncode == 0, said


def test_the_image_copies_what_is_there_and_asks_for_extras_that_exist():
    text = (ROOT / "packaging/Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for name in line.split()]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    extras = re.findall(r"'\.\[([a-z,]+)\]'", text)[0].split(",")
    known = re.findall(r"^([a-z]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert set(extras) <= set(known)
    assert {"torch", "tensorrt"} <= set(extras)  # the page's next command is build-engines
    assert (ROOT / "constraints" / re.findall(r"^ARG CONSTRAINTS=(\S+)$", text, re.MULTILINE)[0]).exists()


def test_jetpack_6_pins_everything_that_the_image_asks_for():
    project = from_toml((ROOT / "pyproject.toml").read_bytes())["project"]
    extras = re.findall(r"'\.\[([a-z,]+)\]'", (ROOT / "packaging/Dockerfile").read_text())[0].split(",")
    asked = [
        *project["dependencies"],
        *(r for extra in extras for r in project["optional-dependencies"][extra]),
    ]
    names = {re.findall(r"^[\w-]+", requirement)[0] for requirement in asked}
    pins = (ROOT / "constraints/jetpack6.txt").read_text()
    assert names - set(re.findall(r"^([\w-]+)==", pins, re.MULTILINE)) == set()
