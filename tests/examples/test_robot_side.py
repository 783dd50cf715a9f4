"""The example scripts for the robot, run against the links."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.patience import patient
from x2c_edge.controls import CONTROLS, NEUTRAL, SAFE_HIGH, SAFE_LOW, SLEW, to_robot
from x2c_edge.frames import Command, Flag
from x2c_edge.links.base import Link
from x2c_edge.links.registry import make_link

SCRIPTS = Path(__file__).parents[2] / "examples" / "robot_side"


def command(seq: int, level: float, flags: int = 0) -> Command:
    values = np.array(NEUTRAL)
    values[0] = level
    values[8] = 0.1
    return Command(seq, time.monotonic_ns(), "NEUTRAL", flags, values)


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def lines_of(script: str, *arguments: str, link: Link) -> list[str]:
    process = subprocess.Popen(
        [sys.executable, str(SCRIPTS / script), *arguments], stdout=subprocess.PIPE, text=True
    )
    link.open()
    end = time.monotonic() + patient(2.2)
    seq = 0
    while time.monotonic() < end:
        link.send(command(seq, 0.75))
        seq += 1
        time.sleep(0.02)
    link.close(0)
    out, _ = process.communicate(timeout=patient(20))
    assert process.returncode == 0
    return out.splitlines()


@pytest.mark.parametrize("variant", ["30", "31"])
def test_zmq_subscriber(variant: str) -> None:
    pytest.importorskip("zmq")
    port = free_port(socket.SOCK_STREAM)
    link = make_link(f"zmq://127.0.0.1:{port}?variant={variant}", rate_hz=60)
    lines = lines_of("zmq_subscriber.py", f"tcp://127.0.0.1:{port}", str(patient(3.2)), link=link)
    assert len(lines) > 20
    assert lines[-1] == "lost"
    numbers = [float(text) for text in lines[0].split()]
    assert numbers == pytest.approx(to_robot(command(0, 0.75).values), abs=6e-4)


def test_udp_receiver() -> None:
    port = free_port(socket.SOCK_DGRAM)
    link = make_link(f"udp://127.0.0.1:{port}", rate_hz=60)
    lines = lines_of("udp_receiver.py", str(port), str(patient(3.2)), link=link)
    assert len(lines) > 20
    assert lines[-1] == "lost"
    numbers = [float(text) for text in lines[0].split()]
    assert numbers == pytest.approx(to_robot(command(0, 0.75).values), abs=3e-3)


class ScriptHost:
    """What the robot's script host provides, as far as the script uses it, on a made-up clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.controls: list[Any] = []
        self.inside_bid = 0
        source = (SCRIPTS / "tritium_script.py").read_text()
        kinds = SimpleNamespace(VERY_HIGH=1, ON_DEMAND=2)
        names: dict[str, Any] = {"system": self, "Precedence": kinds, "BidType": kinds}
        exec(compile(source, "tritium_script.py", "exec"), names)
        names["monotonic"] = lambda: self.now
        self.names = names
        self.script = names["Activity"]()
        self.script.on_start()

    @property
    def arbitration(self) -> ScriptHost:
        return self

    def make_bid(self, specifiers: list[str], precedence: object, bid_type: object) -> ScriptHost:
        assert len(specifiers) == 8
        return self

    @contextlib.contextmanager
    def use(self) -> Any:
        self.inside_bid += 1
        yield
        self.inside_bid -= 1

    def control(self, name: str, namespace: str | None, acquire: list[str]) -> object:
        host = self
        k = len(self.controls)

        class Control:
            position = float(to_robot(NEUTRAL)[k])

            def __setattr__(self, attribute: str, value: float) -> None:
                assert attribute == "demand"
                assert host.inside_bid
                self.__dict__["demand"] = value

        one = Control()
        one.__dict__.update(name=name, namespace=namespace)
        self.controls.append(one)
        return one

    def tick(self, fps: int) -> Callable[[Any], Any]:
        assert fps == 60
        return lambda function: function

    def run(self, seconds: float) -> list[float]:
        for _ in range(round(seconds * 60)):
            self.now += 1 / 60
            self.script.on_tick()
        return [control.__dict__.get("demand", float("nan")) for control in self.controls]


def message(seq: int, level: float, flags: int = 0, run: int = 1) -> dict[str, Any]:
    pytest.importorskip("websockets")
    from x2c_edge.links.tritium_link import message_of

    return dict(
        json.loads(json.dumps(message_of(command(seq, level, flags), run=run, seq=seq, time_s=time.time())))
    )


def test_tritium_script_knows_the_30_controls() -> None:
    host = ScriptHost()
    assert [(c.name, c.namespace) for c in host.controls] == [(c.name, c.namespace) for c in CONTROLS]
    rows = np.array([row[2:] for row in host.names["CONTROLS"]], dtype=float)
    for column, expected in zip(rows[:, 2:].T, (NEUTRAL, SLEW), strict=True):
        assert column == pytest.approx(to_robot(expected))
    # The deployed robot's own ranges, which ours are cut from (three degrees at most).
    assert (rows[:, 0] <= to_robot(SAFE_LOW) + 1e-9).all()
    assert (rows[:, 1] >= to_robot(SAFE_HIGH) - 1e-9).all()
    assert rows[:, :2] == pytest.approx(np.column_stack([to_robot(SAFE_LOW), to_robot(SAFE_HIGH)]), abs=3)


def test_tritium_script_follows_holds_and_eases() -> None:
    host = ScriptHost()
    channel = "x2c_edge.controls"
    for seq in range(30):
        host.script.on_message(channel, message(seq, 0.75))
        demands = host.run(1 / 30)
    assert demands[0] == pytest.approx(0.75)
    assert demands[8] == pytest.approx(5.7296, abs=1e-3)
    for bad in (
        ("other", message(99, 0.1)),
        (channel, {**message(99, 0.1), "v": 2}),
        (channel, {**message(99, 0.1), "c": [0.5] * 29}),
        (channel, {**message(99, 0.1), "c": [float("nan")] * 30}),
        (channel, message(3, 0.1)),
        (channel, message(99, 0.1, run=2)),
        (channel, "text"),
    ):
        host.script.on_message(*bad)
    assert host.run(0.3)[0] == pytest.approx(0.75)  # held
    assert host.run(1.5)[0] == pytest.approx(0.5)  # neutral
    host.script.on_message(channel, message(0, 0.6, run=2))
    assert host.run(0.1)[0] < 0.59  # softly
    host.script.on_message(channel, message(1, 0.6, run=2))
    assert host.run(0.09)[0] == pytest.approx(0.6)
    host.script.on_message(channel, message(2, 0.5, Flag.NEUTRAL | Flag.END, run=2))
    assert host.run(1)[0] == pytest.approx(0.5)
    host.script.on_stop()
