"""``x2c-edge check-robot`` as a person uses it: a terminal, keys, a robot on a serial line, a file."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.live_run import LATE_S, Peer, environment
from x2c_edge.controls import INDEX
from x2c_edge.runtime.settings import load

EDGE = [sys.executable, "-m", "x2c_edge.cli.main"]


class Terminal:
    """A command with a pseudo-terminal for keyboard and screen."""

    def __init__(self, folder: Path, *words: str) -> None:
        variables = environment(folder) | {"XDG_CONFIG_HOME": str(folder / "home")}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [*EDGE, *words], variables)
        self.screen = ""

    def wait_for(self, words: str) -> None:
        until = time.monotonic() + LATE_S
        while words not in self.screen:
            assert time.monotonic() < until, self.screen
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.screen += os.read(self.fd, 4096).decode(errors="replace")
                except OSError:
                    break
        assert words in self.screen, self.screen
        self.screen = self.screen.partition(words)[2]

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def wait(self) -> int:
        until = time.monotonic() + LATE_S
        while time.monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        raise AssertionError(f"it does not end: {self.screen}")

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path, f"serial://{tmp_path}/robot")
    yield peer
    peer.close()


def test_what_a_person_saw_is_in_the_file_and_in_the_next_run(robot: Peer, tmp_path: Path) -> None:
    file = tmp_path / "home" / "x2c-edge" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[run]\nrate = 50\n")
    terminal = Terminal(tmp_path, "check-robot", "--link", robot.where, "--only", "Head Yaw")
    try:
        terminal.wait_for("the head turns to the robot's left?")
        terminal.press(" ")
        terminal.wait_for("stopped (")
        terminal.press("r")
        terminal.wait_for("the head turns to the robot's left?")
        terminal.press("o")
        terminal.wait_for("the opposite way")
        terminal.wait_for(f"Write this into {file}?")
        terminal.press("y\n")
        terminal.wait_for(f"before: {file}.old")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    settings = load(file)
    assert settings.robot.controls["Head Yaw"].sign == -1
    assert settings.run.rate == 50
    assert Path(f"{file}.old").read_text() == "[run]\nrate = 50\n"
    assert abs(robot.arrived()[-1].values[INDEX["Head Yaw"]]) < 1e-3


def test_a_stop_from_another_terminal_is_obeyed(robot: Peer, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "check-robot", "--link", robot.where, "--only", "Head Yaw")
    try:
        terminal.wait_for("the head turns")
        command = [*EDGE, "ctl", "stop", "--run", str(terminal.pid)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment(tmp_path), timeout=LATE_S
        )
        assert done.returncode == 0, done.stderr
        assert "RETURNING (operator stop)" in done.stdout
        terminal.press("y")  # is no answer now
        terminal.wait_for("r go on")
        terminal.press("q")
        terminal.wait_for("nothing to change")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert abs(robot.arrived()[-1].values[INDEX["Head Yaw"]]) < 1e-3


def test_ctrl_c_brings_it_home_and_writes_nothing_unasked(robot: Peer, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "check-robot", "--link", robot.where, "--only", "Head Yaw")
    try:
        terminal.wait_for("the head turns")
        terminal.press("\x03")
        terminal.wait_for("nothing to change")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert not (tmp_path / "home").exists()
    assert abs(robot.arrived()[-1].values[INDEX["Head Yaw"]]) < 1e-3


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--link", "null:"], "start it in a terminal"),
        (["--link", "null:", "--only", "Head Jaw"], "start it in a terminal"),
    ],
)
def test_without_a_person_nothing_moves(words: list[str], complaint: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*EDGE, "check-robot", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment(tmp_path), timeout=LATE_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_robot_named_and_a_wrong_control_are_one_line(tmp_path: Path) -> None:
    default = tmp_path / "home" / "x2c-edge" / "config.toml"
    default.parent.mkdir(parents=True)
    default.write_text("[run]\nrate = 60\n")
    for words, complaint in (
        ([], "name it with --link URI"),
        (["--link", "null:", "--only", "Head Jaw"], "Head Yaw"),
        (["--link", f"serial://{tmp_path}/nothing"], "not found"),
        (["--config", f"{tmp_path}/new.toml"], "name it with --link URI"),
    ):
        terminal = Terminal(tmp_path, "check-robot", *words)
        try:
            terminal.wait_for(complaint)
            assert terminal.wait() in (2, 3)
        finally:
            terminal.close()
