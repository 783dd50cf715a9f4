"""The outbox that every link has, without a link."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from x2c_edge.frames import Command, Flag
from x2c_edge.links.outbox import Outbox

CommandMaker = Callable[..., Command]
END = Flag.NEUTRAL | Flag.END


@pytest.fixture
def opened() -> Iterator[Callable[..., Outbox]]:
    """opened(room=1, ends=1): an outbox as its link's thread finds it."""
    made: list[Outbox] = []

    def make(**options: int) -> Outbox:
        made.append(Outbox("test:", **options))
        made[-1].open()
        return made[-1]

    yield make
    for outbox in made:
        outbox.close(0)
        outbox.release()


def test_the_newest_command_replaces_the_one_that_waits(
    opened: Callable[..., Outbox], make_command: CommandMaker
) -> None:
    outbox = opened()
    for seq in range(3):
        outbox.offer(make_command(seq))
    command = outbox.take()
    assert command is not None
    assert command.seq == 2
    outbox.wrote(command)
    assert outbox.take() is None
    assert (outbox.status().sent, outbox.status().dropped) == (1, 2)


def test_with_room_the_oldest_gives_way(opened: Callable[..., Outbox], make_command: CommandMaker) -> None:
    outbox = opened(room=3)
    for seq in range(5):
        outbox.offer(make_command(seq))
    taken = [outbox.take() for _ in range(4)]
    assert [None if command is None else command.seq for command in taken] == [2, 3, 4, None]
    assert outbox.status().dropped == 2


def test_an_offer_wakes_and_a_wake_is_heard_once(
    opened: Callable[..., Outbox], make_command: CommandMaker
) -> None:
    outbox = opened()
    assert not outbox.wait(0)
    outbox.offer(make_command(0))
    outbox.offer(make_command(1))
    assert outbox.wait(10)
    assert not outbox.wait(0)
    assert outbox.waits()


def test_next_waits_for_a_command_and_ends_with_the_link(
    opened: Callable[..., Outbox], make_command: CommandMaker
) -> None:
    outbox, seen = opened(), []

    def take_all() -> None:
        while (command := outbox.next()) is not None:
            seen.append(command.seq)
            outbox.wrote(command)

    thread = threading.Thread(target=take_all)
    thread.start()
    for seq in range(3):
        outbox.offer(make_command(seq))
        while outbox.status().sent <= seq:
            time.sleep(0.001)
    outbox.close(10)
    thread.join()
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("ends", [1, 3])
def test_an_end_leaves_as_often_as_the_link_wants(
    opened: Callable[..., Outbox], make_command: CommandMaker, ends: int
) -> None:
    outbox = opened(ends=ends)
    outbox.offer(make_command(7, END))
    outbox.close(10)
    left = 0
    while (command := outbox.next()) is not None:
        assert command.seq == 7
        outbox.wrote(command)
        left += 1
    assert left == outbox.status().sent == ends
    assert outbox.finished()


def test_what_cannot_leave_in_time_is_counted(
    opened: Callable[..., Outbox], make_command: CommandMaker
) -> None:
    outbox = opened(room=9)
    for seq in range(4):
        outbox.offer(make_command(seq))
    outbox.close(0)
    assert outbox.next() is None
    outbox.closed()
    outbox.offer(make_command(4))
    assert (outbox.status().state, outbox.status().dropped) == ("closed", 5)


def test_abandoned_commands_and_ends_do_not_leave(
    opened: Callable[..., Outbox], make_command: CommandMaker
) -> None:
    outbox = opened(ends=3)
    outbox.wrote(make_command(0, END))
    outbox.offer(make_command(1, END))
    outbox.close(10)
    outbox.abandon()
    assert outbox.finished()
    assert outbox.take() is None
    assert outbox.status().dropped == 1


def test_a_patient_offer_waits_for_room_and_gives_up_when_the_link_does(
    opened: Callable[..., Outbox], make_command: CommandMaker
) -> None:
    outbox = opened(room=1)
    assert not outbox.offer_patiently(make_command(0))  # not up yet
    outbox.enter("up")
    assert outbox.offer_patiently(make_command(1))
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(outbox.offer_patiently(make_command(2))))
    thread.start()
    assert outbox.take() is not None
    thread.join()
    thread = threading.Thread(target=lambda: answers.append(outbox.offer_patiently(make_command(3))))
    thread.start()
    outbox.failed("the disk is full")
    outbox.enter("down")
    thread.join()
    assert answers == [True, False]
    assert outbox.status().dropped == 0


def test_a_pause_ends_when_the_link_closes(opened: Callable[..., Outbox], make_command: CommandMaker) -> None:
    outbox = opened()
    assert not outbox.pause(0.01)
    timer = threading.Timer(0.05, outbox.close, (1,))
    timer.start()
    outbox.offer(make_command(0))  # wakes, and is no reason to go on
    assert outbox.pause(60)
    timer.join()
    assert outbox.waits()


def test_a_thread_that_never_looks_at_the_wake_up_does_not_hold_up_the_sender(
    opened: Callable[..., Outbox], make_command: CommandMaker
) -> None:
    outbox, command = opened(), make_command(0)
    for _ in range(70_000):  # a pipe holds 65536
        outbox.offer(command)
        outbox.take()
    assert outbox.status().dropped == 0
