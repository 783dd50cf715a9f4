"""What the link tests share: commands, patience, and a check that nothing is left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.patience import patient
from x2c_edge.controls import NEUTRAL
from x2c_edge.frames import Command

CommandMaker = Callable[..., Command]


@pytest.fixture
def make_command() -> CommandMaker:
    """A command whose first control tells its number apart."""

    def make(seq: int, flags: int = 0) -> Command:
        values = np.array(NEUTRAL)
        values[0] = seq % 1000 / 1000
        return Command(seq, time.monotonic_ns(), "NEUTRAL", flags, values)

    return make


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Wait for something to become true; the limit only ends a test that has failed."""

    def wait(condition: Callable[[], object], limit_s: float = patient(10)) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, "it never happened"
            time.sleep(0.005)

    return wait


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No thread and no file descriptor outlives its test."""
    threads, files = set(threading.enumerate()), _open_files()
    yield
    assert set(threading.enumerate()) == threads
    assert _open_files() == files
