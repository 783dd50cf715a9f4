"""A run in a terminal of its own, robots on every kind of link, and what arrived there."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.patience import EMULATED, patient
from x2c_edge.controls import NAMES

ROOT = Path(__file__).parents[2]
# Settings of a run whose outcome a busy test machine must not decide. An emulated one takes a second for a
# frame in the cheapest gear, so a pose is kept for longer there.
PATIENT_RUN = "[run]\nbudget_ms = 1000\n" + (
    'pipeline = "single-stage"\n[safety]\nhold_after = 5.0\nneutral_after = 9.0\n'
    if EMULATED
    else "[safety]\nhold_after = 1.0\n"
)
LATE_S = patient(60.0)  # nothing here takes that long, on the busiest machine


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for_port(port: int, patience_s: float = 60.0) -> None:
    """Until a server listens there: a browser that comes too early shows an error for ever."""
    until = time.monotonic() + patience_s
    while True:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < until, f"nobody listens on port {port}"
        time.sleep(0.05)


def environment(folder: Path) -> dict[str, str]:
    """With a runtime folder of the test's own."""
    runtime = Path("/tmp") / f"x2c-test-{os.getpid()}-{abs(hash(folder)) % 10**6}"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "XDG_RUNTIME_DIR": str(runtime),
        "X2C_EDGE_TRITIUM_TOKEN": "a.good.token",
        "TERM": "xterm",
    }


@dataclass
class Arrived:
    """One command at a robot."""

    t_ns: int
    flags: int
    values: np.ndarray


class Peer:
    """A virtual robot in a process of its own that writes down what arrives."""

    def __init__(self, folder: Path, uri: str, fault: str = "") -> None:
        self.scheme = uri.partition(":")[0]
        self.file = folder / f"{self.scheme}.arrived"
        self._arrived: list[Arrived] = []
        self._read = 0
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("wire_peer.py")), uri, str(self.file), fault],
            env=environment(folder), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.where = uri if self.scheme != "serial" else line.split()[-1]

    def arrived(self) -> list[Arrived]:
        """Everything so far."""
        new = _whole_lines(self.file, self._read)
        self._read += sum(len(line) + 1 for line in new)
        for line in map(json.loads, new):
            self._arrived.append(Arrived(line["t_ns"], line["flags"], np.array(line["values"])))
        return list(self._arrived)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def every_link(folder: Path) -> list[Peer]:
    """A robot on every transport."""
    return [
        Peer(folder, uri)
        for uri in (
            f"serial://{folder}/robot",
            f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}",
            f"zmq://127.0.0.1:{free_port()}",
            f"tritium://127.0.0.1:{free_port()}?rate=60",  # a post for every tick, not every second one
        )
    ]


class JsonlRun:
    """A run that writes its commands to a file, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "sent.jsonl"
        self.file.unlink(missing_ok=True)  # of a run before
        self._lines: list[dict[str, Any]] = []
        self._read = 0

    def lines(self) -> list[dict[str, Any]]:
        """The commands so far."""
        new = _whole_lines(self.file, self._read)
        self._read += sum(len(line) + 1 for line in new)
        self._lines += [json.loads(line) for line in new]
        return list(self._lines)

    def state(self) -> str:
        self.lines()
        return str(self._lines[-1]["state"]) if self._lines else ""

    def wait_for(self, state: str) -> None:
        until = time.monotonic() + LATE_S
        while (now := self.state()) != state:
            assert now != "STOPPED", f"it has ended: {self.complaint()!r}"
            assert time.monotonic() < until, f"still {now}: {self.complaint()!r}"
            time.sleep(0.02)

    def complaint(self) -> object:
        """What may explain why it is not where it should be."""
        return self.lines()[-1:]


class TerminalRun(JsonlRun):
    """``x2c-edge ARGS --link jsonl:FILE`` with a pseudo-terminal as its keyboard and screen."""

    def __init__(self, folder: Path, *args: object) -> None:
        super().__init__(folder)
        self.environment = environment(folder)
        command = [sys.executable, "-m", "x2c_edge.cli.main", *map(str, args), "--link", f"jsonl:{self.file}"]
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            signal.signal(
                signal.SIGHUP, signal.SIG_DFL
            )  # as from a shell, also where the tests run under nohup
            os.execve(sys.executable, command, self.environment)
        self.screen = b""

    def read_screen(self) -> bytes:
        """What has been drawn; also keeps the terminal from filling up."""
        with contextlib.suppress(OSError):
            while select.select([self.terminal], [], [], 0)[0]:
                self.screen += os.read(self.terminal, 65536)
        return self.screen

    def state(self) -> str:
        self.read_screen()
        return super().state()

    def complaint(self) -> object:
        return self.read_screen()[-2000:]

    def press(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """To this run: without --run it would reach every other of this user's too."""
        return subprocess.run(
            [sys.executable, "-m", "x2c_edge.cli.main", "ctl", *words, "--run", str(self.pid)],
            env=self.environment, capture_output=True, text=True, timeout=LATE_S,
        )  # fmt: skip

    def end(self) -> int:
        """End it with q; its exit code."""
        self.press("q")
        return self.wait()

    def wait(self) -> int:
        until = time.monotonic() + LATE_S
        while time.monotonic() < until:
            self.read_screen()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.terminal)
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        raise AssertionError("the run does not end")

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.terminal)


def followed_after(lines: list[dict[str, Any]], t_ns: int) -> int:
    """How many commands left after ``t_ns`` before the first that does not follow."""
    later = [line["state"] for line in lines if line["t_send_ns"] >= t_ns]
    assert any(state != "FOLLOWING" for state in later), "it still follows"
    return next(k for k, state in enumerate(later) if state != "FOLLOWING")


def ticks_to(lines: list[dict[str, Any]], t_ns: int, arrived_ns: int) -> int:
    """How many commands left from ``t_ns`` until ``arrived_ns``."""
    return sum(t_ns <= line["t_send_ns"] < arrived_ns for line in lines)


def values_of(line: dict[str, Any]) -> np.ndarray:
    return np.array([line["controls"][name] for name in NAMES])


def _whole_lines(path: Path, start: int = 0) -> list[bytes]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(start)
        data = file.read()
    return data[: data.rfind(b"\n") + 1].splitlines()


def ticks_allowed(ticks: int) -> int:
    """``ticks``, or a second's worth where more wants to run than there are cores.

    What is judged is the run's own share; on a crowded machine the way of a key, a click or a datagram from
    one process to another takes whatever the system gives it.
    """
    crowded = os.getloadavg()[0] > (os.cpu_count() or 1)
    return max(ticks, 60) if crowded else ticks
