"""A real terminal that nobody reads: nothing waits for it, and it gets whole pictures."""

from __future__ import annotations

import contextlib
import os
import pty
import time
from collections.abc import Iterator

import pytest

from x2c_edge.cli.live_panel import panel_for
from x2c_edge.cli.screen import Screen

PICTURE = "".join(chr(ord("a") + k % 26) for k in range(3000)) + "\n"


@pytest.fixture
def terminal() -> Iterator[tuple[int, Screen]]:
    """The end that its user reads, and the screen."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield ours, Screen(stream)
    with contextlib.suppress(OSError):
        os.close(ours)


def read_all(ours: int) -> str:
    os.set_blocking(ours, False)
    data = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            data += os.read(ours, 65536)
    return data.decode()


def test_what_is_read_is_whole_and_in_order(terminal: tuple[int, Screen]) -> None:
    ours, screen = terminal
    for k in range(3):
        screen.write(f"{k}{PICTURE}")
        screen.flush()
        assert read_all(ours) == f"{k}{PICTURE}".replace("\n", "\r\n")


def test_a_terminal_that_nobody_reads_is_not_waited_for(terminal: tuple[int, Screen]) -> None:
    ours, screen = terminal
    for k in range(1000):
        screen.write(f"{k:03d}{PICTURE}")
        screen.flush()
    start = time.monotonic()
    screen.finish()
    assert time.monotonic() - start > 0.9  # its second, in which nobody came
    got = read_all(ours)
    screen.finish()
    got += read_all(ours)
    while screen._left:
        screen.flush()
        got += read_all(ours)
    pictures = got.split("\r\n")[:-1]
    assert len(pictures) < 60  # and not a thousand
    assert pictures == [f"{k:03d}{PICTURE[:-1]}" for k in range(len(pictures))]


def test_a_terminal_that_has_gone_is_an_error(terminal: tuple[int, Screen]) -> None:
    ours, screen = terminal
    os.close(ours)
    screen.write(PICTURE)
    with pytest.raises(OSError, match="Input/output error"):
        screen.flush()


def test_the_panel_of_a_terminal_is_a_screen(terminal: tuple[int, Screen]) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        assert isinstance(panel_for(stream)._console.file, Screen)
    os.close(ours)
    with open(os.devnull, "w") as nowhere:
        assert panel_for(nowhere)._console.file is nowhere
