"""The ZeroMQ link against real subscribers, and its text against the test vectors."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

zmq = pytest.importorskip("zmq")

from x2c_edge.controls import HIGH, LOW, NEUTRAL, to_robot  # noqa: E402
from x2c_edge.errors import BadArgumentError, NotFoundError  # noqa: E402
from x2c_edge.frames import Command  # noqa: E402
from x2c_edge.links.codec import FrameError  # noqa: E402
from x2c_edge.links.registry import make_link  # noqa: E402
from x2c_edge.links.zmq_link import ZmqLink, decode_parts, encode_parts  # noqa: E402
from x2c_edge.zeromq import Subscriber, read_curve, write_curve_pair  # noqa: E402

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "data" / "link_vectors.json"
Eventually = Callable[[Callable[[], object]], None]
CommandMaker = Callable[..., Command]


@pytest.fixture
def port() -> int:
    with zmq.Context() as context, context.socket(zmq.PUB) as one:
        return int(one.bind_to_random_port("tcp://127.0.0.1"))


@pytest.fixture
def robot(port: int) -> Iterator[Subscriber]:
    one = Subscriber(f"tcp://127.0.0.1:{port}", queue=16, most_bytes=100)
    yield one
    one.close()


def test_the_test_vectors_byte_for_byte() -> None:
    vectors = json.loads(VECTORS.read_text())["zmq"]
    for name, time_s in (("parts_30", None), ("parts_31", vectors["time"])):
        parts = encode_parts(vectors["values"], time_s)
        assert [part.decode() for part in parts] == vectors[name]
        assert decode_parts(parts)[0] == time_s
        assert np.array_equal(decode_parts(parts)[1], vectors["values"])


@given(st.lists(st.floats(-130, 130), min_size=30, max_size=30))
def test_text_is_fixed_and_comes_back(values: list[float]) -> None:
    parts = encode_parts(values)
    for part in parts:
        text = part.decode()
        assert text != "-0.00000"
        assert not set(text) & set("eEnN+")
        assert len(text.split(".")[1]) == 5
    assert np.abs(decode_parts(parts)[1] - values).max() <= 5.1e-6


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda parts: parts[:29], "length"),
        (lambda parts: [*parts, b"1", b"2"], "length"),
        (lambda parts: [b"nan", *parts[1:]], "type"),
        (lambda parts: [b"0x10", *parts[1:]], "type"),
        (lambda parts: [b"1_0", *parts[1:]], "type"),
        (lambda parts: [b"", *parts[1:]], "type"),
        (lambda parts: [b"1" * 65, *parts[1:]], "type"),
        (lambda parts: [b"1e999", *parts[1:]], "nonfinite"),
    ],
)
def test_wrong_messages_are_refused(change: Callable[[list[bytes]], list[bytes]], reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode_parts(change(encode_parts(to_robot(NEUTRAL))))
    assert caught.value.reason == reason
    decode_parts([b"1e-05", *encode_parts(to_robot(NEUTRAL))[1:]])  # the authors' own text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_that_is_not_finite_is_encoded(value: float) -> None:
    with pytest.raises(ValueError, match="non-finite"):
        encode_parts([value] * 30)
    for values in (LOW, HIGH):
        encode_parts(to_robot(values))


def test_up_only_while_somebody_subscribes(
    port: int, make_command: CommandMaker, eventually: Eventually
) -> None:
    link = ZmqLink(port=port, with_time=True)
    link.open()
    link.send(make_command(0))
    assert (link.status().state, link.status().dropped) == ("opening", 1)
    for round_ in range(2):
        robot = Subscriber(f"tcp://127.0.0.1:{port}", queue=16, most_bytes=100)
        eventually(lambda: link.status().state == "up")
        link.send(make_command(round_))
        parts = robot.newest(5)
        assert parts is not None
        time_s, values = decode_parts(parts)
        assert time_s is not None
        assert values[0] == round_ / 1000
        robot.close()
        eventually(lambda: link.status().state == "down")
    assert "nobody subscribes" in link.status().last_error
    assert (link.status().sent, link.status().reconnects) == (2, 1)
    bad = make_command(0)
    bad.values[0] = np.nan
    robot = Subscriber(f"tcp://127.0.0.1:{port}", queue=16, most_bytes=100)
    eventually(lambda: link.status().state == "up")
    link.send(bad)
    assert link.status().errors == 1
    link.send(make_command(7))
    link.close(1)  # the last command still leaves
    parts = robot.newest(5)
    assert parts is not None
    assert decode_parts(parts)[1][0] == 0.007
    robot.close()
    assert link.status().state == "closed"


def test_a_robot_that_does_not_read_costs_the_others_nothing(
    port: int, make_command: CommandMaker, eventually: Eventually
) -> None:
    link = ZmqLink(port=port)
    link.open()
    slow = Subscriber(f"tcp://127.0.0.1:{port}", queue=1, most_bytes=100)
    quick = Subscriber(f"tcp://127.0.0.1:{port}", queue=1000, most_bytes=100)
    eventually(lambda: link.status().state == "up")
    seen = 0
    for seq in range(400):
        link.send(make_command(seq))
        seen += quick.newest(0.02) is not None
    assert seen > 350
    slow.close()
    quick.close()
    link.close(1)


def test_with_keys_only_robots_on_the_list_hear_anything(
    port: int, tmp_path: Path, make_command: CommandMaker, eventually: Eventually
) -> None:
    write_curve_pair(tmp_path / "host", tmp_path / "robot")
    write_curve_pair(tmp_path / "host2", tmp_path / "stranger")
    # The stranger knows the host's public key, but is not on its list.
    server = next(line for line in (tmp_path / "robot").read_text().splitlines() if "server" in line)
    own = next(line for line in (tmp_path / "stranger").read_text().splitlines() if "secret" in line)
    (tmp_path / "stranger").write_text(f"{own}\n{server}\n")
    link = make_link(f"zmq://127.0.0.1:{port}?curve={tmp_path}/host", rate_hz=60)
    link.open()
    endpoint = f"tcp://127.0.0.1:{port}"
    plain = Subscriber(endpoint, queue=16, most_bytes=100)
    stranger = Subscriber(
        endpoint, queue=16, most_bytes=100, curve=read_curve(str(tmp_path / "stranger"), "server")
    )
    assert plain.newest(0.3) is None
    assert link.status().state == "opening"
    robot = Subscriber(
        endpoint, queue=16, most_bytes=100, curve=read_curve(str(tmp_path / "robot"), "server")
    )
    eventually(lambda: link.status().state == "up")
    link.send(make_command(3))
    assert robot.newest(5) is not None
    assert plain.newest(0.1) is None
    assert stranger.newest(0.1) is None
    for one in (robot, plain, stranger):
        one.close()
    link.close(1)


def test_key_files(tmp_path: Path) -> None:
    host, robot = tmp_path / "host", tmp_path / "robot"
    subprocess.run([sys.executable, "-m", "x2c_edge.zeromq", host, robot], cwd=ROOT, check=True)
    again = subprocess.run(
        [sys.executable, "-m", "x2c_edge.zeromq", host, robot], cwd=ROOT, capture_output=True, text=True
    )
    assert again.returncode == 1
    assert again.stderr == f"CURVE file {host}: File exists\n"
    assert read_curve(str(host)).allowed
    assert "secret" not in repr(read_curve(str(host)))
    with pytest.raises(BadArgumentError, match="no line 'server KEY'"):
        read_curve(str(host), "server")
    host.chmod(0o644)
    with pytest.raises(BadArgumentError, match="chmod 600"):
        read_curve(str(host))
    robot.write_text("secret short\n")
    with pytest.raises(BadArgumentError, match="line 1: write"):
        read_curve(str(robot))
    with pytest.raises(NotFoundError, match="No such file"):
        read_curve(str(tmp_path / "none"))


def test_a_port_in_use_and_a_foreign_address_are_one_line(port: int) -> None:
    first = ZmqLink(port=port)
    first.open()
    with pytest.raises(NotFoundError, match="port is in use"):
        ZmqLink(port=port).open()
    first.close(0)
    with pytest.raises(NotFoundError, match="no such address"):
        ZmqLink("192.0.2.1", port).open()


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("zmq:6666", "write zmq://HOST:PORT"),
        ("zmq://*:0", "write zmq://HOST:PORT"),
        ("zmq://*:6666?variant=32", "variant is 30 or 31"),
        ("zmq://*:6666?varient=31", "did you mean 'variant'"),
    ],
)
def test_a_bad_uri_is_one_clear_line(uri: str, text: str) -> None:
    with pytest.raises(BadArgumentError, match=text):
        make_link(uri, rate_hz=60)


def test_the_default_address_is_the_loopback(eventually: Eventually) -> None:
    link = make_link("zmq://", rate_hz=60)
    assert isinstance(link, ZmqLink)
    assert link._endpoint == "tcp://127.0.0.1:6666"


def test_a_message_too_long_in_all_its_parts_is_refused_and_the_next_one_read() -> None:
    context = zmq.Context()
    peer = context.socket(zmq.PUB)
    port = peer.bind_to_random_port("tcp://127.0.0.1")
    subscriber = Subscriber(f"tcp://127.0.0.1:{port}", queue=16, most_bytes=100)

    def until(parts: list[bytes], done: Callable[[list[bytes] | None], bool]) -> None:
        end = time.monotonic() + 20
        while True:
            peer.send_multipart(parts)
            if done(subscriber.newest(0.05)):
                return
            assert time.monotonic() < end

    until([b"a" * 500, b"b" * 500], lambda got: got == [b"a" * 500, b"b" * 500])
    until([b"a" * 500, b"b" * 500, b"c" * 50], lambda got: got is None and subscriber.refused > 0)
    until([b"after"], lambda got: got == [b"after"])
    refused = subscriber.refused
    until([b""] * 100, lambda got: subscriber.refused > refused)
    until([b"after"], lambda got: got == [b"after"])
    subscriber.close()
    context.destroy(linger=0)
