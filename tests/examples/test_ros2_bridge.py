"""The ROS 2 bridge: its pure part on real links, its node against stand-ins for rclpy and the messages."""

from __future__ import annotations

import importlib
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.examples.test_robot_side import command, free_port
from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.links.base import Link
from x2c_edge.links.registry import make_link

FOLDER = Path(__file__).parents[2] / "examples" / "ros2_bridge"
LATE_S = 30.0


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in ("commands_in", "bridge_node"):
        sys.modules.pop(name, None)


@pytest.fixture(params=["zmq", "udp"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    if request.param == "zmq":
        pytest.importorskip("zmq")
    kind = socket.SOCK_STREAM if request.param == "zmq" else socket.SOCK_DGRAM
    made = make_link(f"{request.param}://127.0.0.1:{free_port(kind)}", rate_hz=60)
    yield made
    made.close(0.0)


def received(link: Link, newest: Any) -> Any:
    """Send until something has arrived; what it was."""
    end = time.monotonic() + LATE_S
    for seq in range(10**6):
        link.send(command(seq, 0.75))
        time.sleep(0.01)
        if (found := newest()) is not None:
            return found
        assert time.monotonic() < end
    return None


def test_commands_become_joints_in_radians_and_an_array_of_thirty(link: Link) -> None:
    commands_in = importlib.import_module("commands_in")
    listening = commands_in.CommandsIn(link.status().uri)
    link.open()
    assert listening.newest() is None
    values = received(link, listening.newest)
    listening.close()
    sent = command(0, 0.75).values
    np.testing.assert_allclose(values, sent, atol=3e-4)
    joints = dict(zip(commands_in.JOINTS, commands_in.joint_positions(values), strict=True))
    assert " ".join(joints) == (
        "gaze_target_phi gaze_target_theta head_pitch head_roll head_yaw neck_pitch neck_roll"
    )
    assert joints["gaze_target_phi"] == pytest.approx(0.1, abs=3e-4)
    array = commands_in.control_array(values)
    assert array[0] == pytest.approx(0.75, abs=3e-4)
    assert array[NAMES.index("Jaw Pitch")] == pytest.approx(NEUTRAL[NAMES.index("Jaw Pitch")], abs=3e-4)


def test_what_comes_twice_is_published_once() -> None:
    commands_in = importlib.import_module("commands_in")
    from x2c_edge.links.codec import encode_command

    port = free_port(socket.SOCK_DGRAM)
    listening = commands_in.CommandsIn(f"udp://127.0.0.1:{port}")
    frame = encode_command(command(1, 0.75), run=5, rate_hz=60, now_ns=time.monotonic_ns())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        sender.send(frame)
        assert listening.newest(LATE_S) is not None
        for again in (frame, frame[:-1], b"rubbish"):
            sender.send(again)
            assert listening.newest(0.2) is None
    listening.close()


class StandIn:
    """A node of rclpy, as far as the bridge uses one."""

    def __init__(self, name: str) -> None:
        self.name, self.parameters, self.published = name, {"link": StandIn.link}, {}

    def declare_parameter(self, name: str, default: str) -> None:
        assert default.startswith("zmq://")

    def get_parameter(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(value=self.parameters[name])

    def create_publisher(self, kind: type, topic: str, depth: int) -> SimpleNamespace:
        return SimpleNamespace(publish=lambda message: self.published.__setitem__(topic, message))

    def create_timer(self, period_s: float, call: Any) -> None:
        self.look = call

    def get_clock(self) -> SimpleNamespace:
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: "now"))

    link = ""


def test_the_node_publishes_both(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    def message(**fields: Any) -> SimpleNamespace:
        return SimpleNamespace(header=SimpleNamespace(), **fields)

    stand_ins = {
        "rclpy": {},
        "rclpy.node": {"Node": StandIn},
        "sensor_msgs": {},
        "sensor_msgs.msg": {"JointState": message},
        "std_msgs": {},
        "std_msgs.msg": dict.fromkeys(
            ("Float32MultiArray", "MultiArrayDimension", "MultiArrayLayout"), message
        ),
    }
    for name, content in stand_ins.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(StandIn, "link", link.status().uri)
    node = importlib.import_module("bridge_node").Bridge()
    link.open()

    def newest() -> Any:
        node.look()
        return node.published or None

    published = received(link, newest)
    node.commands.close()
    joints, controls = published["joint_states"], published["~/controls"]
    assert joints.header.stamp == "now"
    assert len(joints.name) == len(joints.position) == 7
    assert len(controls.data) == controls.layout.dim[0].size == 30
    assert controls.data[0] == pytest.approx(0.75, abs=3e-4)
