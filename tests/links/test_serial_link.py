"""The serial link on real ptys."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import Command, Flag
from x2c_edge.links.codec import CmdU16, Message, Ping, SerialParser, Status, encode, to_serial
from x2c_edge.links.serial_link import SerialLink

Eventually = Callable[[Callable[[], object]], None]
CommandMaker = Callable[..., Command]
PEER = Path(__file__).with_name("serial_peer.py")
END = Flag.NEUTRAL | Flag.END


class Peer:
    """The robot's process."""

    def __init__(self, link: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PEER), str(link)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PEER.parents[2])},
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        assert self._line() == word

    def report(self) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.close()
        report: dict[str, Any] = json.loads(self._line())
        self.stop()
        return report

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class Pty:
    """Both ends of a line in this process."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.name = os.ttyname(self.slave)
        self.parser = SerialParser()
        self.got: list[Message] = []

    def read(self) -> list[Message]:
        """Everything that has arrived so far, ever."""
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self.master, 4096):
                self.got += self.parser.feed(data)
        return self.got

    def say(self, **fields: int) -> None:
        os.write(self.master, to_serial(encode(Status(run=7, seq=0, t_us=0, **fields))))

    def commands(self) -> list[CmdU16]:
        return [m for m in self.read() if isinstance(m, CmdU16)]

    def pings(self) -> list[Ping]:
        return [m for m in self.read() if isinstance(m, Ping)]


@pytest.fixture
def pty() -> Iterator[Pty]:
    line = Pty()
    yield line
    os.close(line.master)
    os.close(line.slave)


@pytest.fixture
def opened(pty: Pty) -> Iterator[SerialLink]:
    """A link on ``pty`` that does not wait for the robot's first word."""
    link = SerialLink(pty.name, rate_hz=60, settle_s=0)
    link.open()
    yield link
    link.close(0.2)


def test_another_process_gets_every_frame_and_answers(
    tmp_path: Path, make_command: CommandMaker, eventually: Eventually
) -> None:
    peer = Peer(tmp_path / "robot")
    link = SerialLink(str(tmp_path / "robot"), rate_hz=60)
    assert link.status().state == "closed"
    link.open()
    eventually(lambda: link.status().state == "up")
    for seq in range(100):
        link.send(make_command(seq))
        eventually(lambda n=seq + 1: link.status().sent == n)
        time.sleep(0.005)
    eventually(lambda: (robot := link.status().robot) is not None and robot.n_ok == 100)
    link.send(make_command(100, END))
    link.close(2)

    report = peer.report()
    frames = report["frames"]
    assert report["bad"] == {}
    assert len({run for run, *_ in frames}) == 1
    assert [seq for _, seq, *_ in frames] == list(range(103))
    assert [flags for _, _, flags, *_ in frames] == [0] * 100 + [END] * 3
    assert [rate for *_, rate, _ in frames] == [60] * 103
    np.testing.assert_allclose([value for *_, value in frames[:100]], np.arange(100) / 1000, atol=1e-5)
    status = link.status()
    assert (status.state, status.errors, status.reconnects, status.dropped) == ("closed", 0, 0, 0)
    assert status.robot is not None
    assert status.robot.state_name == "ACTIVE"


def test_three_end_commands_pass_through_as_three(
    pty: Pty, opened: SerialLink, make_command: CommandMaker, eventually: Eventually
) -> None:
    for seq in range(3):
        opened.send(make_command(seq, END))
        eventually(lambda n=seq + 1: len(pty.commands()) == n)
    opened.close(1)
    assert [m.flags for m in pty.commands()] == [END] * 3


def test_a_device_that_leaves_and_returns_is_found_again(
    tmp_path: Path, make_command: CommandMaker, eventually: Eventually
) -> None:
    name = tmp_path / "robot"
    first = Peer(name)
    link = SerialLink(str(name), rate_hz=60)
    link.open()
    seq = 0

    def send_until(condition: Callable[[], bool]) -> None:
        nonlocal seq

        def step() -> bool:
            nonlocal seq
            link.send(make_command(seq))
            seq += 1
            return condition()

        eventually(step)

    send_until(lambda: link.status().sent > 5)
    name.unlink()  # as the system does it; the pty's own name may soon be somebody else's
    first.stop()
    send_until(lambda: link.status().state == "down" and link.status().errors >= 2)
    assert "hung up" in link.status().last_error or "not found" in link.status().last_error
    sent_before = link.status().sent

    second = Peer(name)
    send_until(lambda: link.status().state == "up" and link.status().sent > sent_before + 5)
    link.close(1)

    frames = second.report()["frames"]
    assert link.status().reconnects >= 1
    assert [frame[1] for frame in frames] == list(range(len(frames)))  # a new run counts from 0
    assert frames[0][0] != 0


def test_a_peer_that_stops_reading_and_talking_gets_the_newest_first_when_it_returns(
    tmp_path: Path, make_command: CommandMaker, eventually: Eventually
) -> None:
    peer = Peer(tmp_path / "robot")
    link = SerialLink(str(tmp_path / "robot"), rate_hz=60)
    link.open()
    seq = 0

    def run(seconds: float) -> None:
        nonlocal seq
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            link.send(make_command(seq))
            seq += 1
            time.sleep(1 / 60)

    run(0.5)
    peer.tell("pause")
    run(1.5)
    assert link.status().state == "down"
    assert "acknowledges nothing" in link.status().last_error
    paused_at = seq
    peer.tell("resume")
    run(1.0)
    eventually(lambda: link.status().state == "up")
    link.close(1)

    frames = peer.report()["frames"]
    values = [round(value * 1000) for *_, value in frames]
    # Of the 90 commands of the pause, the window let 18 out, then came probes; what was queued was discarded.
    assert sum(paused_at - 90 <= v < paused_at for v in values) < 40
    assert max(values) >= seq - 2
    assert values == sorted(values)


def test_without_telemetry_a_full_line_drops_the_old_and_recovers(
    pty: Pty, opened: SerialLink, make_command: CommandMaker, eventually: Eventually
) -> None:
    for seq in range(1000):
        opened.send(make_command(seq))
        time.sleep(0.0005)
    assert opened.status().sent < 1000  # the line took what it holds
    opened.send(make_command(1000))
    eventually(lambda: pty.commands() and round(pty.commands()[-1].robot_values[0] * 1000) == 0)
    status = opened.status()
    assert status.sent + status.dropped == 1001
    assert pty.parser.n_bad == 0
    sequence = [m.seq for m in pty.commands()]
    assert sequence == list(range(len(sequence)))  # every frame that was begun was finished


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"state": 5, "fault": 4}, "overheat"),
        ({"state": 6}, "emergency stop"),
        ({"state": 2, "ack_run": 0xABCD}, "another sender"),
        ({"state": 1, "fault": 2}, "another layout"),
    ],
)
def test_a_robot_that_refuses_gets_pings_only_until_it_accepts(
    pty: Pty,
    opened: SerialLink,
    make_command: CommandMaker,
    eventually: Eventually,
    fields: dict[str, int],
    text: str,
) -> None:
    pty.say(**fields)
    eventually(lambda: opened.status().state == "down")
    assert text in opened.status().last_error
    opened.send(make_command(0))
    opened.send(make_command(1))
    eventually(lambda: len(pty.pings()) == 1)
    assert pty.commands() == []
    pty.say(state=1)
    eventually(lambda: len(pty.commands()) == 1)
    assert opened.status().state == "up"


def test_closing_towards_a_robot_that_refuses_leaves_at_once(
    pty: Pty, opened: SerialLink, make_command: CommandMaker, eventually: Eventually
) -> None:
    opened.send(make_command(0, END))
    eventually(lambda: len(pty.commands()) == 1)
    pty.say(state=6)
    eventually(lambda: opened.status().state == "down")
    opened.send(make_command(1, END))
    opened.close(60)
    assert len(pty.commands()) == 1
    assert opened.status().dropped == 1


def test_the_first_command_waits_for_the_robots_first_word(
    pty: Pty, make_command: CommandMaker, eventually: Eventually
) -> None:
    link = SerialLink(pty.name, rate_hz=60, settle_s=60)
    link.open()
    link.send(make_command(0))
    time.sleep(0.1)
    assert link.status().state == "opening"
    assert pty.read() == []
    pty.say(state=0)
    eventually(lambda: len(pty.commands()) == 1)
    link.close(1)


def test_a_command_that_is_not_finite_never_leaves(
    pty: Pty, opened: SerialLink, make_command: CommandMaker, eventually: Eventually
) -> None:
    bad = make_command(0)
    bad.values[3] = np.nan
    opened.send(bad)
    eventually(lambda: opened.status().errors == 1)
    opened.send(make_command(1))
    eventually(lambda: len(pty.commands()) == 1)
    assert "non-finite" in opened.status().last_error


def test_noise_from_the_robot_is_survived(
    pty: Pty, opened: SerialLink, make_command: CommandMaker, eventually: Eventually
) -> None:
    os.write(pty.master, os.urandom(3000))
    pty.say(state=2, n_ok=5)
    eventually(lambda: (robot := opened.status().robot) is not None and robot.n_ok == 5)
    opened.send(make_command(0))
    eventually(lambda: len(pty.commands()) == 1)


def test_closing_a_stuck_line_ends_in_time_and_commands_after_it_are_counted(
    pty: Pty, opened: SerialLink, make_command: CommandMaker
) -> None:
    for seq in range(400):
        opened.send(make_command(seq))
        time.sleep(0.0005)
    opened.close(0.1)
    dropped = opened.status().dropped
    opened.send(make_command(400))
    opened.close(0.1)
    assert opened.status().state == "closed"
    assert opened.status().dropped == dropped + 1


def test_a_missing_port_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"/robot: not found; check the cable.*\(ports here: "):
        SerialLink(str(tmp_path / "robot"), rate_hz=60).open()


def test_a_file_is_not_a_port(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path):
        with pytest.raises(NotFoundError, match="not a serial port; name a device"):
            SerialLink(str(path), rate_hz=60).open()


def test_a_port_in_use_is_one_clear_line(pty: Pty, opened: SerialLink) -> None:
    with pytest.raises(NotFoundError, match="in use by another program"):
        SerialLink(pty.name, rate_hz=60).open()


def may_become(user: int) -> bool:
    """Root may, of those whom its user namespace has."""
    rows = (map(int, line.split()) for line in Path("/proc/self/uid_map").read_text().splitlines())
    return os.geteuid() == 0 and any(first <= user < first + count for first, _, count in rows)


@pytest.mark.skipif(not may_become(65534), reason="only root can become somebody without permission")
def test_permission_denied_names_the_cure(pty: Pty) -> None:
    os.chmod(pty.name, 0o600)
    code = (
        "import os, sys; from x2c_edge.links.serial_link import SerialLink\n"
        "os.setuid(65534)\n"
        "SerialLink(sys.argv[1], rate_hz=60).open()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, pty.name],
        capture_output=True,
        text=True,
        cwd=PEER.parents[2],
        check=False,
    )
    last = result.stderr.strip().splitlines()[-1]
    assert "NotFoundError" in last
    assert "permission denied; run 'sudo usermod -aG dialout $USER'" in last


def test_a_line_too_slow_for_the_rate_is_refused() -> None:
    with pytest.raises(BadArgumentError, match="57600 baud is too slow for 60 commands/s; use baud=115200"):
        SerialLink("/dev/null", rate_hz=60, baud=57600)
    SerialLink("/dev/null", rate_hz=60, baud=115200)
