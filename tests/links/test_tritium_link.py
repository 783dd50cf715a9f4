"""The Tritium link against a stand-in gateway: a second process, real sockets."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("websockets")

from x2c_edge.controls import NEUTRAL, to_robot
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import Command, Flag
from x2c_edge.links.registry import make_link
from x2c_edge.links.tritium_link import CHANNEL, POST_MESSAGE, TritiumLink

TOKEN = "a.good.token"
END = Flag.NEUTRAL | Flag.END
Eventually = Callable[[Callable[[], object]], None]
CommandMaker = Callable[..., Command]


class Gateway:
    def __init__(self, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("gateway_peer.py")), TOKEN, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._line())

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def tell(self, word: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self._line().strip()

    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.tell("report")))

    def messages(self) -> list[dict[str, Any]]:
        return [post["request"]["variable_values"]["input"]["message"] for post in self.report()["posts"]]

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    one = Gateway()
    yield one
    one.stop()


@pytest.fixture
def link(gateway: Gateway) -> Iterator[TritiumLink]:
    one = TritiumLink("127.0.0.1", gateway.port, token=TOKEN)
    one.open()
    yield one
    one.close(0)


def test_what_is_posted(
    gateway: Gateway, link: TritiumLink, make_command: CommandMaker, eventually: Eventually
) -> None:
    for seq in range(3):
        link.send(make_command(seq))
        eventually(lambda n=seq + 1: link.status().sent == n)
    link.send(make_command(3, END))
    link.close(2)
    report = gateway.report()
    requests = [post["request"] for post in report["posts"]]
    assert [r["request_id"] for r in requests] == list(range(6))
    assert {r["type"] for r in requests} == {"graphql"}
    assert {r["document"] for r in requests} == {POST_MESSAGE}
    assert {r["variable_values"]["input"]["channel"] for r in requests} == {CHANNEL}
    assert json.loads(report["metadata"][0])["session_type"] == "graphql"
    messages = gateway.messages()
    assert [m["seq"] for m in messages] == list(range(6))
    assert [m["flags"] for m in messages] == [0, 0, 0, END, END, END]
    assert len({m["run"] for m in messages}) == 1
    assert len(messages[0]["run"]) == 8
    assert all(set(m) == {"v", "run", "seq", "t", "flags", "c"} and m["v"] == 1 for m in messages)
    assert abs(messages[0]["t"] - report["posts"][0]["at"]) < 5
    expected = to_robot(make_command(2).values)
    assert np.abs(np.array(messages[2]["c"]) - expected).max() <= 5.1e-6
    assert 200 <= len(json.dumps(messages[2], separators=(",", ":"))) <= 330


def test_the_newest_wins_and_the_rate_is_kept(
    gateway: Gateway, make_command: CommandMaker, eventually: Eventually
) -> None:
    link = TritiumLink("127.0.0.1", gateway.port, token=TOKEN, rate_hz=10)
    link.open()
    for seq in range(60):
        link.send(make_command(seq))
        time.sleep(0.01)
    eventually(lambda: link.status().sent + link.status().dropped == 60)
    link.close(1)
    first = [m["c"][0] for m in gateway.messages()]
    assert first == sorted(first)
    assert first[-1] == 0.059
    at = [post["at"] for post in gateway.report()["posts"]]
    assert len(at) <= 10 * (at[-1] - at[0]) + 2


@pytest.mark.parametrize(("mode", "words"), [("errors", "no such channel"), ("error", "script node is down")])
def test_complaints_are_counted_and_it_goes_on(
    gateway: Gateway,
    link: TritiumLink,
    make_command: CommandMaker,
    eventually: Eventually,
    mode: str,
    words: str,
) -> None:
    gateway.tell(mode)
    link.send(make_command(0))
    eventually(lambda: link.status().state == "down")
    assert words in link.status().last_error
    gateway.tell("good")
    link.send(make_command(1))
    eventually(lambda: link.status().state == "up" and link.status().sent == 1)
    assert link.status().reconnects == 0


def test_rubbish_and_other_answers_are_ignored(
    gateway: Gateway, link: TritiumLink, make_command: CommandMaker, eventually: Eventually
) -> None:
    gateway.tell("rubbish")
    for seq in range(5):
        link.send(make_command(seq))
        eventually(lambda n=seq + 1: link.status().sent == n)
    assert link.status().errors == 0


def test_an_answer_that_is_late_costs_the_connection_and_no_more(
    gateway: Gateway, link: TritiumLink, make_command: CommandMaker, eventually: Eventually
) -> None:
    link.send(make_command(0))
    eventually(lambda: link.status().sent == 1)
    gateway.tell("slow")
    link.send(make_command(1))
    eventually(lambda: link.status().reconnects == 1)
    assert "no answer within 500 ms" in link.status().last_error
    gateway.tell("good")

    def arrived() -> bool:
        link.send(make_command(2))
        return link.status().sent >= 2

    eventually(arrived)
    first, second = gateway.messages()[0], gateway.messages()[-1]
    assert first["run"] != second["run"]
    assert second["seq"] >= 0


def test_a_hang_up_and_a_restart_are_survived(
    gateway: Gateway, link: TritiumLink, make_command: CommandMaker, eventually: Eventually
) -> None:
    gateway.tell("hang up")
    eventually(lambda: link.status().reconnects == 1)
    assert link.status().state == "up"
    gateway.stop()
    eventually(lambda: "nothing listens there" in link.status().last_error)
    assert link.status().state == "down"
    again = Gateway(gateway.port)
    try:
        eventually(lambda: link.status().state == "up")
        link.send(make_command(5))
        eventually(lambda: again.messages())
        assert again.messages()[0]["c"][0] == 0.005
    finally:
        again.stop()


def test_a_refused_token_is_one_line_and_not_hammered(
    gateway: Gateway, make_command: CommandMaker, eventually: Eventually
) -> None:
    with pytest.raises(NotFoundError, match=r"refuses the token \(HTTP 401\); make a new one"):
        TritiumLink("127.0.0.1", gateway.port, token="old").open()
    link = TritiumLink("127.0.0.1", gateway.port, token=TOKEN)
    link.open()
    link._token = "expired"
    gateway.tell("hang up")
    eventually(lambda: "refuses the token" in link.status().last_error)
    errors = link.status().errors
    time.sleep(1)
    assert link.status().errors == errors  # the next attempt is 30 s away
    link.close(1)


def test_a_command_that_is_not_finite_is_never_posted(
    gateway: Gateway, link: TritiumLink, make_command: CommandMaker, eventually: Eventually
) -> None:
    bad = make_command(0)
    bad.values[3] = np.nan
    link.send(bad)
    eventually(lambda: link.status().errors == 1)
    link.send(make_command(1))
    eventually(lambda: link.status().sent == 1)
    assert len(gateway.messages()) == 1


def test_nobody_there_and_no_such_host_are_one_line() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with pytest.raises(NotFoundError, match="nothing listens there"):
        TritiumLink("127.0.0.1", port, token=TOKEN).open()
    with pytest.raises(NotFoundError, match="no such host"):
        TritiumLink("no-such-host.invalid", 1, token=TOKEN).open()


def test_uris(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X2C_EDGE_TRITIUM_TOKEN", raising=False)
    with pytest.raises(BadArgumentError, match="X2C_EDGE_TRITIUM_TOKEN holds no token"):
        make_link("tritium://robot", rate_hz=60)
    monkeypatch.setenv("X2C_EDGE_TRITIUM_TOKEN", "bad\r\nheader: x")
    with pytest.raises(BadArgumentError, match="holds no token"):
        make_link("tritium://robot", rate_hz=60)
    monkeypatch.setenv("X2C_EDGE_TRITIUM_TOKEN", TOKEN)
    link = make_link("tritium://robot", rate_hz=60)
    assert isinstance(link, TritiumLink)
    assert (link._url, link._rate_hz) == ("ws://robot:1234/", 30)
    slow = make_link("tritium://[::1]:99?rate=5", rate_hz=60)
    assert isinstance(slow, TritiumLink)
    assert (slow._url, slow._rate_hz) == ("ws://[::1]:99/", 5)
    for uri in ("tritium:robot", "tritium://robot?rate=61", "tritium://robot/path", "tritium://token@robot"):
        with pytest.raises(BadArgumentError):
            make_link(uri, rate_hz=60)
    assert len(NEUTRAL) == 30
