"""The UDP link against a real socket, with and without a key."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Command, Flag
from x2c_edge.links.codec import (
    CmdU16,
    FrameError,
    Hello,
    HelloAck,
    Key,
    Message,
    Ping,
    Status,
    decode,
    decode_authenticated,
    encode,
    encode_authenticated,
)
from x2c_edge.links.udp_link import UdpLink

Eventually = Callable[[Callable[[], object]], None]
CommandMaker = Callable[..., Command]
KEY = Key(bytes(range(32)), 1)
END = Flag.NEUTRAL | Flag.END


class Robot:
    """A receiver on the loopback; answers only when told to."""

    def __init__(self, key: Key | None = None, challenge: int = 0x1122334455667788, port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self.key, self.challenge = key, challenge
        self.got: list[Message] = []
        self.refused = 0
        self.host: tuple[str, int] | None = None

    def read(self) -> list[Message]:
        while True:
            try:
                frame, self.host = self.socket.recvfrom(300)
            except BlockingIOError:
                return self.got
            try:
                if self.key:
                    self.got.append(decode_authenticated(frame, self.key, self.challenge))
                else:
                    self.got.append(decode(frame))
            except FrameError:
                self.refused += 1

    def of(self, kind: type[Message]) -> list[Message]:
        return [m for m in self.read() if isinstance(m, kind)]

    def say(self, message: Message) -> None:
        assert self.host
        frame = encode_authenticated(message, self.key, self.challenge) if self.key else encode(message)
        self.socket.sendto(frame, self.host)

    def acknowledge(self, nonce: int | None = None) -> None:
        hello = self.of(Hello)[-1]
        assert isinstance(hello, Hello)
        self.say(
            HelloAck(
                run=7,
                seq=0,
                t_us=0,
                nonce=hello.nonce if nonce is None else nonce,
                challenge=self.challenge if self.key else 0,
                hold_ms=100,
                neutral_ms=500,
                max_rate_hz=60,
            )
        )

    def status(self, **fields: int) -> None:
        self.say(Status(run=7, seq=0, t_us=0, **fields))


@pytest.fixture
def robot() -> Iterator[Robot]:
    one = Robot()
    yield one
    one.socket.close()


@pytest.fixture
def guarded() -> Iterator[Robot]:
    one = Robot(KEY)
    yield one
    one.socket.close()


def link_to(robot: Robot, key: Key | None = None) -> UdpLink:
    link = UdpLink(port=robot.port, rate_hz=60, key=key)
    link.open()
    return link


def test_commands_arrive_without_any_answer(
    robot: Robot, make_command: CommandMaker, eventually: Eventually
) -> None:
    link = link_to(robot)
    for seq in range(20):
        link.send(make_command(seq))
        eventually(lambda n=seq + 1: len(robot.of(CmdU16)) == n)
    link.send(make_command(20, END))
    link.close(1)
    assert [m.flags for m in robot.of(CmdU16)] == [0] * 20 + [END] * 3
    assert [m.seq for m in robot.got] == list(range(len(robot.got)))
    assert len({m.run for m in robot.got}) == 1
    assert (link.status().sent, link.status().errors) == (23, 0)


def test_the_robots_report_is_read_and_its_refusal_obeyed(
    robot: Robot, make_command: CommandMaker, eventually: Eventually
) -> None:
    link = link_to(robot)
    eventually(lambda: robot.of(Hello))
    robot.status(state=5, fault=4)
    eventually(lambda: link.status().state == "down")
    assert "overheat" in link.status().last_error
    link.send(make_command(0))
    eventually(lambda: robot.of(Ping))
    assert robot.of(CmdU16) == []
    robot.status(state=1)
    eventually(lambda: robot.of(CmdU16))
    assert link.status().robot is not None
    robot.status(state=6)
    eventually(lambda: link.status().state == "down")
    link.send(make_command(1))
    link.close(60)
    assert link.status().dropped == 1


def test_a_robot_that_is_not_there_yet_is_counted_and_found_when_it_comes(
    robot: Robot, make_command: CommandMaker, eventually: Eventually
) -> None:
    robot.socket.close()
    link = link_to(robot)

    def refused() -> bool:
        link.send(make_command(0))
        return link.status().errors >= 2

    eventually(refused)
    assert "nothing listens there" in link.status().last_error
    assert link.status().state == "down"
    late = Robot(port=robot.port)

    def arrived() -> bool:
        link.send(make_command(1))
        return len(late.of(CmdU16)) > 2

    eventually(arrived)
    late.status(state=2)
    eventually(lambda: link.status().state == "up")
    link.close(1)
    late.socket.close()


def test_bad_datagrams_are_counted_and_change_nothing(
    robot: Robot, make_command: CommandMaker, eventually: Eventually
) -> None:
    link = link_to(robot)
    eventually(lambda: robot.of(Hello))
    assert robot.host
    for data in (b"", b"rubbish", os.urandom(92), b"x" * 60_000):
        robot.socket.sendto(data, robot.host)
    eventually(lambda: link.status().errors == 4)
    assert "datagram refused: length" in link.status().last_error
    bad = make_command(0)
    bad.values[0] = float("nan")
    link.send(bad)
    eventually(lambda: link.status().errors == 5)
    link.send(make_command(1))
    eventually(lambda: len(robot.of(CmdU16)) == 1)
    link.close(1)


def test_with_a_key_nothing_leaves_before_the_challenge(
    guarded: Robot, make_command: CommandMaker, eventually: Eventually
) -> None:
    link = link_to(guarded, KEY)
    link.send(make_command(0))
    eventually(lambda: len(guarded.of(Hello)) >= 2)  # it greets again when nobody answers
    assert link.status().state == "opening"
    guarded.acknowledge(nonce=12345)  # somebody else's, or an old one
    guarded.status(state=2)
    eventually(lambda: link.status().errors == 1)  # a status before the challenge proves nothing
    assert guarded.of(CmdU16) == []
    guarded.acknowledge()
    eventually(lambda: len(guarded.of(CmdU16)) == 1)
    assert guarded.refused == 0
    guarded.status(state=2, n_ok=9)
    eventually(lambda: (report := link.status().robot) is not None and report.n_ok == 9)
    assert link.status().state == "up"
    link.close(1)


def test_silence_brings_a_new_greeting_and_a_new_run(
    guarded: Robot, make_command: CommandMaker, eventually: Eventually
) -> None:
    link = link_to(guarded, KEY)
    eventually(lambda: guarded.of(Hello))
    guarded.acknowledge()
    link.send(make_command(0))
    eventually(lambda: guarded.of(CmdU16))
    first = guarded.got[-1].run
    nonces = {m.nonce for m in guarded.of(Hello) if isinstance(m, Hello)}
    guarded.challenge = 0xABCDEF  # the robot was restarted
    eventually(lambda: guarded.of(Hello)[-1].run != first)
    assert link.status().state == "down"
    assert "no authentic answer" in link.status().last_error
    guarded.acknowledge()
    link.send(make_command(1))
    eventually(lambda: len(guarded.of(CmdU16)) == 2)
    newest = guarded.of(Hello)[-1]
    assert isinstance(newest, Hello)
    assert newest.nonce not in nonces
    assert guarded.of(CmdU16)[-1].run == newest.run
    link.close(1)


def test_a_robot_with_another_key_is_not_believed(
    guarded: Robot, make_command: CommandMaker, eventually: Eventually
) -> None:
    link = link_to(guarded, Key(b"z" * 32))
    link.send(make_command(0))
    eventually(lambda: guarded.read() == [] and guarded.refused >= 1)
    guarded.got.append(Hello(run=1, seq=0, t_us=0, nonce=1, rate_hz=60))
    guarded.acknowledge()
    eventually(lambda: link.status().errors == 1)
    assert "datagram refused: auth" in link.status().last_error
    link.close(0.1)
    assert guarded.of(CmdU16) == []


def test_an_unknown_host_and_a_multicast_address_are_one_clear_line() -> None:
    with pytest.raises(NotFoundError, match="no such host; check the name"):
        UdpLink("no-such-host.invalid", rate_hz=60).open()
    for address in ("224.0.0.1", "255.255.255.255"):
        with pytest.raises(NotFoundError, match="broadcast and multicast are not used"):
            UdpLink(address, rate_hz=60).open()
