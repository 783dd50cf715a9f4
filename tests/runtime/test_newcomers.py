from __future__ import annotations

import numpy as np
import pytest

from x2c_edge.controls import NEUTRAL
from x2c_edge.frames import Command, Flag
from x2c_edge.links.base import LinkState, LinkStatus
from x2c_edge.runtime.newcomers import Newcomers

MS = 1_000_000
URIS = ("udp://robot", "jsonl:log")
COMMAND = Command(7, 1, "FOLLOWING", Flag.CLAMPED, NEUTRAL + 0.1, 3, 0, "direct")


def look(newcomers: Newcomers, robot: LinkState, file: LinkState, now_ms: int) -> bool:
    states: tuple[LinkState, ...] = (robot, file)
    return newcomers.look(
        [LinkStatus(uri, state) for uri, state in zip(URIS, states, strict=True)], now_ms * MS
    )


@pytest.fixture
def newcomers() -> Newcomers:
    return Newcomers(URIS, NEUTRAL)


def told_to_rest(newcomers: Newcomers) -> bool:
    command = newcomers.told(0, COMMAND)
    assert newcomers.told(1, COMMAND) is COMMAND  # a file is told everything
    if command is COMMAND:
        return False
    np.testing.assert_array_equal(command.values, NEUTRAL)
    assert (command.seq, command.state, command.flags) == (7, "RETURNING", Flag.NEUTRAL)
    assert command.frame_seq is command.t_capture_ns is command.pipeline is None
    return True


def test_a_robot_is_told_to_rest_until_it_is_admitted(newcomers: Newcomers):
    assert told_to_rest(newcomers)
    assert not look(newcomers, "opening", "up", 0)
    newcomers.admit()
    assert told_to_rest(newcomers)  # it is not even there
    assert look(newcomers, "up", "up", 100)
    assert not look(newcomers, "up", "up", 200)  # it came once
    assert told_to_rest(newcomers)
    newcomers.admit()
    assert not told_to_rest(newcomers)


@pytest.mark.parametrize(("away_ms", "joins"), [(100, False), (499, False), (500, True), (9000, True)])
def test_a_short_absence_is_none(newcomers: Newcomers, away_ms: int, joins: bool):
    look(newcomers, "up", "up", 0)
    newcomers.admit()
    assert not look(newcomers, "down", "up", 1000)
    assert not look(newcomers, "down", "up", 1000 + away_ms)
    assert told_to_rest(newcomers) is joins
    assert look(newcomers, "up", "up", 1000 + away_ms) is joins


@pytest.mark.parametrize(("away_ms", "joins"), [(400, False), (600, True)])
def test_an_absence_that_was_seen_once_counts_as_long_as_it_was(
    newcomers: Newcomers, away_ms: int, joins: bool
):
    look(newcomers, "up", "up", 0)
    newcomers.admit()
    look(newcomers, "down", "up", 1000)
    assert look(newcomers, "up", "up", 1000 + away_ms) is joins
    assert told_to_rest(newcomers) is joins


def test_one_that_goes_while_it_waits_is_not_admitted(newcomers: Newcomers):
    look(newcomers, "up", "up", 0)
    look(newcomers, "down", "up", 100)
    newcomers.admit()
    assert told_to_rest(newcomers)
    assert look(newcomers, "up", "up", 200)


def test_a_file_that_comes_back_moves_nobody(newcomers: Newcomers):
    look(newcomers, "up", "down", 0)
    newcomers.admit()
    look(newcomers, "up", "down", 5000)
    assert not look(newcomers, "up", "up", 6000)
    assert not told_to_rest(newcomers)


def test_the_end_is_said_to_everybody(newcomers: Newcomers):
    end = Command(9, 1, "STOPPED", Flag.NEUTRAL | Flag.END, NEUTRAL)
    assert newcomers.told(0, end) is end
