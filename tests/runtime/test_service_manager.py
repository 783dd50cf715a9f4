from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from x2c_edge.errors import BadArgumentError
from x2c_edge.runtime.governor import Governor
from x2c_edge.runtime.live_loop import LiveLoop
from x2c_edge.runtime.service_manager import ServiceManager

PEER = Path(__file__).with_name("service_peer.py")
LATE_S = 60.0
BUDGET_NS = 2_000_000_000


class Systemd:
    """The reading end, in a process of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.process = subprocess.Popen(
            [sys.executable, str(PEER), address], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "bound\n"
        self.heard: list[tuple[int, str]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            t_ns, said = json.loads(line)
            self.heard.append((t_ns, said))

    @property
    def lines(self) -> list[str]:
        return [said for _, said in self.heard]

    def wait_for(self, line: str) -> None:
        until = time.monotonic() + LATE_S
        while line not in self.lines:
            assert time.monotonic() < until, self.lines
            time.sleep(0.01)

    def close(self) -> None:
        self.process.kill()
        self._reader.join()
        self.process.wait()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Callable[[str], Systemd]]:
    """``systemd(kind)``: listens at a "path" or in the "abstract" namespace."""
    opened: list[Systemd] = []

    def listen(kind: str) -> Systemd:
        addresses = {
            "path": str(tmp_path / "notify"),
            "abstract": f"@x2c-edge/test/{os.getpid()}/{tmp_path.name}",
        }
        opened.append(Systemd(addresses[kind]))
        return opened[-1]

    yield listen
    for one in opened:
        one.close()


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_what_is_said_arrives(systemd, kind: str):
    peer = systemd(kind)
    service = ServiceManager({"NOTIFY_SOCKET": peer.address, "WATCHDOG_USEC": "2000000"})
    service.ready()
    service.ready()
    for now_ms in range(0, 1100, 100):  # a quarter of two seconds is 500 ms
        service.alive(now_ms * 1_000_000)
    service.stopping()
    service.stopping()
    peer.wait_for("STOPPING=1")
    assert peer.lines == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]
    service.close()


ANOTHER = {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getppid())}


@pytest.mark.parametrize("watchdog", [{}, ANOTHER], ids=["of nobody", "of another process"])
def test_no_sign_of_life_where_none_is_asked_of_this_process(systemd, watchdog: dict):
    peer = systemd("path")
    service = ServiceManager({"NOTIFY_SOCKET": peer.address, **watchdog})
    service.alive(10**15)
    service.stopping()
    peer.wait_for("STOPPING=1")
    assert peer.lines == ["STOPPING=1"]
    service.close()


def test_it_never_waits_for_a_reader_that_does_not_read(systemd, caplog: pytest.LogCaptureFixture):
    peer = systemd("path")
    peer.process.send_signal(signal.SIGSTOP)
    service = ServiceManager({"NOTIFY_SOCKET": peer.address, "WATCHDOG_USEC": "4"})
    for tick in range(5000):  # the kernel queues some ten of them
        service.alive(tick * 1_000_000)
    peer.process.send_signal(signal.SIGCONT)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "the service manager was not told WATCHDOG=1"
    ]
    service.close()


def test_a_socket_that_nobody_bound_does_not_end_a_run(tmp_path: Path):
    service = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    service.ready()
    service.stopping()
    service.close()


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"NOTIFY_SOCKET": "notify"}, "NOTIFY_SOCKET=notify"),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC=soon"),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"}, "WATCHDOG_USEC=0"),
    ],
    ids=str,
)
def test_what_systemd_would_not_have_written_is_one_line(environment: dict, named: str):
    with pytest.raises(BadArgumentError, match=named):
        ServiceManager(environment)


def test_a_live_loop_says_that_it_is_up_that_it_ticks_and_that_it_ends(parts, systemd):
    peer = systemd("abstract")
    service = ServiceManager({"NOTIFY_SOCKET": peer.address, "WATCHDOG_USEC": "400000"})
    of_loop = parts(paced=True).of_loop(service=service)
    loop = LiveLoop(of_loop, Governor(("single-stage",), BUDGET_NS, of_loop.period_ns), BUDGET_NS)
    assert peer.lines == []
    loop.run()
    peer.wait_for("STOPPING=1")
    lines = peer.lines
    assert lines[0] == "READY=1"
    assert lines.count("READY=1") == lines.count("STOPPING=1") == 1
    assert lines.index("STOPPING=1") > lines.index("WATCHDOG=1") > 0
    assert lines.count("WATCHDOG=1") > 10  # the clip takes 2.5 s, and a sign is due every 100 ms
    service.close()


def test_the_command_is_a_service(systemd, face_clip: Path, small_pack: Path, tmp_path: Path):
    peer = systemd("path")
    command = [
        sys.executable, "-m", "x2c_edge.cli.main", "run", "--pack", str(small_pack), "--backend", "torch",
        "--input", str(face_clip), "--duration", "1",
    ]  # fmt: skip
    environment = os.environ | {"NOTIFY_SOCKET": peer.address, "WATCHDOG_USEC": "1000000"}
    subprocess.run(command, check=True, env=environment, cwd=tmp_path, capture_output=True)
    peer.wait_for("STOPPING=1")
    assert peer.lines[0] == "READY=1"
    assert "WATCHDOG=1" in peer.lines
