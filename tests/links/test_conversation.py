"""What a host may send, by docs/spec/links.md 4.3.3 and 4.3.6; time is made up."""

from __future__ import annotations

import math

import pytest

from x2c_edge.links.codec import Pong, Status
from x2c_edge.links.conversation import Conversation, window_frames

MS = 1_000_000


def status(**fields: int) -> Status:
    return Status(run=7, seq=0, t_us=0, **fields)


def sent(conversation: Conversation, frames: int, now_ns: int = 0) -> None:
    for _ in range(frames):
        conversation.take_seq()
        conversation.command_sent(now_ns)


def test_runs_differ_and_are_never_zero() -> None:
    runs = {Conversation(60).run for _ in range(50)}
    assert len(runs) == 50
    assert 0 not in runs


def test_the_window_is_300_ms() -> None:
    assert window_frames(60) == 18
    assert window_frames(30) == 9


def test_without_telemetry_there_is_no_window() -> None:
    conversation = Conversation(60)
    sent(conversation, 1000)
    assert not conversation.window_full()
    assert conversation.command_delay_s(0, windowed=True) == 0


def test_a_full_window_lets_a_probe_out_every_100_ms_until_status_catches_up() -> None:
    conversation = Conversation(60)
    conversation.hear(status(state=1))
    sent(conversation, 18, now_ns=0)
    assert conversation.command_delay_s(30 * MS, windowed=True) == pytest.approx(0.07)
    assert conversation.command_delay_s(100 * MS, windowed=True) == 0
    assert conversation.command_delay_s(30 * MS, windowed=False) == 0
    conversation.hear(status(state=2, ack_run=conversation.run, last_seq=5))
    assert conversation.command_delay_s(30 * MS, windowed=True) == 0


def test_an_acknowledgement_of_what_was_never_sent_does_not_count() -> None:
    conversation = Conversation(60)
    sent(conversation, 18)
    conversation.hear(status(state=2, ack_run=conversation.run, last_seq=500))
    assert conversation.window_full()


def test_numbers_and_window_survive_the_wrap() -> None:
    conversation = Conversation(60)
    conversation._next_seq = (1 << 32) - 2
    assert [conversation.take_seq() for _ in range(4)] == [(1 << 32) - 2, (1 << 32) - 1, 0, 1]
    conversation.hear(status(state=2, ack_run=conversation.run, last_seq=(1 << 32) - 1))
    assert not conversation.window_full()
    sent(conversation, 16)
    assert conversation.window_full()


@pytest.mark.parametrize(
    "fields",
    [
        {"state": 2, "ack_run": 99, "rx_age_us": 500_000},  # the other run fell silent
        {"state": 1, "ack_run": 99},  # the other run has ended
        {"state": 1, "ack_run": 0},
        {"state": 2, "ack_run": 0, "fault": 10},
    ],
)
def test_a_robot_that_is_free_is_not_refused(fields: dict[str, int]) -> None:
    conversation = Conversation(60)
    conversation.hear(status(**fields))
    assert conversation.refusal() == ""
    assert conversation.ping_delay_s(0) == math.inf


def test_a_refusal_stops_commands_and_pings_once_a_second() -> None:
    conversation = Conversation(60)
    conversation.hear(status(state=5, fault=7, fault_arg=13))
    assert conversation.refusal() == "the robot reports FAULT: motor offline (13)"
    assert conversation.command_delay_s(0, windowed=True) == math.inf
    assert conversation.ping_delay_s(0) == 0
    ping = conversation.ping(5 * MS)
    assert (ping.run, ping.seq, ping.t_us) == (conversation.run, 0, 5000)
    assert conversation.ping_delay_s(105 * MS) == pytest.approx(0.9)
    assert conversation.ping_delay_s(2000 * MS) == 0


def test_other_words_change_nothing() -> None:
    conversation = Conversation(60)
    conversation.hear(Pong(run=7, seq=0, t_us=0, nonce=1, echo_t_us=2))
    assert conversation.status is None
