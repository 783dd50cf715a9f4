"""Real processes: senders against ``x2c-edge sim`` on every transport, with faults, kills and signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.edge import EDGE, clip
from tests.patience import EMULATED, patient

pytest.importorskip("zmq")
pytest.importorskip("websockets")

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "X2C_EDGE_TRITIUM_TOKEN": "a.good.token",
}
SIM = [sys.executable, "-m", "x2c_edge.cli.main", "sim"]
DRIVER = [sys.executable, str(Path(__file__).with_name("link_driver.py"))]


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Sim:
    """One virtual robot; ``end`` stops it and gives its report."""

    def __init__(self, folder: Path, uri: str, fault: str = "") -> None:
        self.file = folder / f"{uri.partition(':')[0]}.json"
        self.process = subprocess.Popen(
            [*SIM, "--link", uri, "--fault", fault, "--json", str(self.file)],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.where = line.split()[-1]

    def end(self) -> dict[str, Any]:
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=patient(20))
        report = dict(json.loads(self.file.read_text()))
        assert self.process.returncode == (4 if report["violations"] else 0), out
        return report


class Sims(list[Sim]):
    def kill(self) -> None:
        for sim in self:
            sim.process.kill()
            sim.process.communicate()


@pytest.fixture
def sims() -> Iterator[Sims]:
    all_of_them = Sims()
    yield all_of_them
    all_of_them.kill()


def drive(seconds: float, *uris: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*DRIVER, "60", str(seconds), *uris], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "running\n"
    return process


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=patient(30))
    assert process.returncode == 0
    return dict(json.loads(out.splitlines()[-1]))


def states(report: dict[str, Any]) -> list[str]:
    return [change["state"] for change in report["transitions"]]


def journey(report: dict[str, Any]) -> list[str]:
    """The states without the short holds of a busy machine."""
    steps = [state for state in states(report) if state != "HOLD"]
    return [state for k, state in enumerate(steps) if k == 0 or steps[k - 1] != state]


def test_every_transport_at_once_loses_nothing(tmp_path: Path, sims: Sims) -> None:
    key = tmp_path / "key"
    key.write_text("5a" * 32)
    key.chmod(0o600)
    udp = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}?key={key}"
    zmq, tritium = f"zmq://127.0.0.1:{free_port()}?variant=31", f"tritium://127.0.0.1:{free_port()}"
    sims += [Sim(tmp_path, uri) for uri in (f"serial://{tmp_path}/robot", udp, zmq, tritium)]
    sent = finished(drive(2.5, sims[0].where, udp, zmq, tritium))
    reports = [sim.end() for sim in sims]
    # ZeroMQ's queue holds one message: on a busy machine a newer one replaces it. So it is with a serial peer
    # that stands still for longer than a pty holds; what is replaced there is counted as dropped.
    serial, _, published, _ = sent["links"].values()
    replaced = 0.5 if EMULATED else 0.1  # an emulated robot is slower than the wire
    lost = (min(serial["dropped"], 0.1 * serial["sent"]), 0.0, replaced * published["sent"], 0.0)
    for report, status, missed in zip(reports, sent["links"].values(), lost, strict=True):
        assert report["violations"] == 0, report["worst"]
        assert report["gap"] <= missed
        assert report["foreign"] == report["late"] == 0
        assert report["stale"] <= 3  # a busy machine may stand still for 150 ms
        assert report["bad"] == {}
        assert status["errors"] == 0
        assert report["from_neutral"] < 0.01
    used = [report["applied"] + report["stale"] for report in reports]
    assert used[0] == sent["links"][sims[0].where]["sent"]
    assert used[1] == sent["links"][udp]["sent"]
    assert used[2] >= (1 - replaced) * sent["links"][zmq]["sent"]
    assert used[3] == sent["links"][tritium]["sent"]
    assert [report["ends"] for report in reports] == [3, 3, 0, 3]
    held = sent["entries"].pop("HOLDING", 0) if EMULATED else 0
    assert sent["entries"] == {"FOLLOWING": 1 + held, "STOPPED": 1}


def test_a_killed_sender_leaves_the_face_at_neutral_and_may_come_back(tmp_path: Path, sims: Sims) -> None:
    serial, udp = f"serial://{tmp_path}/robot", f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    sims += [Sim(tmp_path, uri) for uri in (serial, udp)]
    process = drive(30, sims[0].where, udp)
    time.sleep(1.0)
    process.kill()
    process.communicate()
    time.sleep(2.0)
    again = drive(30, sims[0].where, udp)
    time.sleep(1.5)
    again.terminate()  # SIGTERM: neutral first, then END
    finished(again)
    time.sleep(0.3)
    for sim in sims:
        report = sim.end()
        assert "HOLD" in states(report)
        assert journey(report) == ["ACTIVE", "NEUTRAL", "ACTIVE", "WAIT"]
        assert (report["runs"], report["ends"], report["violations"]) == (2, 3, 0)
        assert report["from_neutral"] < 0.01


@pytest.mark.slow
def test_damage_is_refused_and_counted(tmp_path: Path, sims: Sims) -> None:
    serial, udp = f"serial://{tmp_path}/robot", f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    sims += [Sim(tmp_path, uri, "drop=0.05,flip=1e-4,dup=0.02,noise=0.05") for uri in (serial, udp)]
    sent = finished(drive(3, sims[0].where, udp))
    for sim, status in zip(sims, sent["links"].values(), strict=True):
        report = sim.end()
        assert (report["violations"], report["runs"]) == (0, 1)
        assert sum(report["bad"].values()) > 0
        assert 0 < report["gap"] < 0.4 * status["sent"]
        assert report["applied"] + report["gap"] >= status["sent"] - 10
        assert status["down_s"] < 1


@pytest.mark.slow
def test_stalls_and_pulled_plugs_end_by_themselves(tmp_path: Path, sims: Sims) -> None:
    serial, udp = f"serial://{tmp_path}/robot", f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    zmq, tritium = f"zmq://127.0.0.1:{free_port()}", f"tritium://127.0.0.1:{free_port()}"
    sims += [Sim(tmp_path, uri, "stall=0.7s@2.2s,unplug=0.7s@3.8s") for uri in (serial, udp, zmq, tritium)]
    sent = finished(drive(5, sims[0].where, udp, zmq, tritium))
    for sim, (uri, status) in zip(sims, sent["links"].items(), strict=True):
        report = sim.end()
        assert report["violations"] == 0, (uri, report["worst"])
        assert states(report).count("NEUTRAL") >= 2, uri  # both silences were longer than 500 ms
        assert "ACTIVE" in journey(report)[-2:], uri
        assert report["from_neutral"] < 0.01, uri
        assert status["down_s"] < 2.5, uri


def test_a_fault_of_the_robot_stops_the_commands(tmp_path: Path, sims: Sims) -> None:
    udp = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    sims.append(Sim(tmp_path, udp, "overheat=1s@1.5s"))
    sent = finished(drive(4, udp))
    report = sims[0].end()
    assert "FAULT" in states(report)
    assert sent["faults"] == 1
    assert sent["entries"]["FAULT"] == 1
    assert report["ignored"] < 30  # those on their way while the news travelled
    assert journey(report)[-2:] == ["ACTIVE", "WAIT"]


def test_a_sender_that_breaks_the_rules_is_reported(tmp_path: Path, sims: Sims) -> None:
    from x2c_edge.links.codec import CmdU16, encode

    port = free_port(socket.SOCK_DGRAM)
    sims.append(Sim(tmp_path, f"udp://127.0.0.1:{port}"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wild:
        for seq in range(3):
            t_us = time.monotonic_ns() // 1000
            steps = (0 if seq % 2 else 65534,) * 30
            frame = encode(CmdU16(run=5, seq=seq, t_us=t_us, age_us=0, rate_hz=60, steps=steps))
            wild.sendto(frame, ("127.0.0.1", port))
            time.sleep(0.05)
        wild.sendto(os.urandom(60000), ("127.0.0.1", port))
        time.sleep(0.2)
    report = sims[0].end()  # checks the exit code, 4
    assert report["range"] == 3
    assert report["speed"] >= 1
    assert sum(report["bad"].values()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--link", "zmk://x"], 2, "did you mean 'zmq'"),
        (["--link", "udp://", "--fault", "dorp=1"], 2, "did you mean 'drop'"),
        (["--link", "udp://192.0.2.1:5"], 3, "Cannot assign requested address"),
        (["--link", "udp://", "--hold-ms", "0"], 2, "watchdog: hold after"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(arguments: list[str], code: int, words: str) -> None:
    done = subprocess.run(
        [*SIM, *arguments],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=patient(30),
    )  # fmt: skip
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_program_itself_drives_the_robot_and_says_goodbye(tmp_path: Path, sims: Sims) -> None:
    serial, zmq = f"serial://{tmp_path}/robot", f"zmq://127.0.0.1:{free_port()}"
    picture = clip("d18")
    sims += [Sim(tmp_path, uri) for uri in (serial, zmq)]
    sent = tmp_path / "sent.jsonl"
    process = subprocess.Popen(
        [*EDGE, "run", "--input", str(picture), "--link", sims[0].where, "--link", zmq,
         "--link", f"jsonl:{sent}"],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if sent.exists() and sent.read_bytes().count(b"\n") > 180:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=patient(30))
    assert process.returncode == 0, said
    time.sleep(0.3)
    for sim, ends in zip(sims, (3, 0), strict=True):
        report = sim.end()
        assert report["violations"] == 0, report["worst"]
        assert report["applied"] > 60
        assert report["bad"] == {}
        assert report["ends"] == ends
        assert report["from_neutral"] < 0.02
