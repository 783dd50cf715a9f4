"""The fault list's grammar, and what it does to bytes."""

from __future__ import annotations

import pytest

from x2c_edge.errors import BadArgumentError
from x2c_edge.robot.endpoints import make_endpoint
from x2c_edge.robot.faults import Faults


def test_spans() -> None:
    faults = Faults("stall=2s@10s, unplug=3@20,stall=0.5s@1s,estop=1s@5s")
    assert [faults.active("stall", t) for t in (0.9, 1.2, 1.5, 10, 11.9, 12)] == [
        False, True, False, True, True, False,
    ]  # fmt: skip
    assert faults.active("unplug", 21)
    assert (faults.broken(5.5), faults.broken(7)) == ("e-stop", "")


def test_chances_are_kept_and_repeatable() -> None:
    piece = bytes(range(100))
    drop = Faults("drop=0.2")
    arrived = sum(len(drop.damage(piece)) for _ in range(2000))
    assert 1500 < arrived < 1700
    flip = Faults("flip=0.01")
    flipped = sum(
        (a ^ b).bit_count() for _ in range(100) for a, b in zip(flip.damage(piece)[0], piece, strict=True)
    )
    assert 600 < flipped < 1000
    assert Faults("flip=0.01").damage(piece) == Faults("flip=0.01").damage(piece)
    assert Faults("flip=0.01").damage(piece) != Faults("flip=0.01,seed=2").damage(piece)
    assert len(Faults("dup=1,noise=1").damage(piece)) == 3
    assert Faults().damage(piece) == [piece]
    assert (Faults("drop=1").passes(), Faults("dup=1").passes(), Faults().passes()) == (0, 2, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dorp=0.1", "did you mean 'drop'"),
        ("drop", "a chance is a number from 0 to 1"),
        ("drop=2", "a chance is a number"),
        ("flip=nan", "a chance is a number"),
        ("stall=2s", "write LONG@START"),
        ("stall=-1s@2s", "write LONG@START"),
        ("seed=x", "unknown"),
    ],
)
def test_mistakes_get_one_line(text: str, words: str) -> None:
    with pytest.raises(BadArgumentError, match=words) as caught:
        Faults(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "fault", "words"),
    [
        ("jsonl:x", "", "the robot listens on serial:, udp:"),
        ("seral:///x", "", "did you mean 'serial'"),
        ("zmq://", "flip=0.1", "TCP carries no damaged bits"),
        ("serial:///dev/null", "", "exists; name a path"),
        ("udp://h/path", "", "write udp://HOST:PORT"),
    ],
)
def test_links_that_a_robot_does_not_have(uri: str, fault: str, words: str) -> None:
    with pytest.raises(BadArgumentError, match=words):
        make_endpoint(uri, Faults(fault))
