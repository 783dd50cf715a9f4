"""Keys while a run goes on. Only when standard input is a terminal, and we are in its foreground: the system
stops a program that reads from its terminal, or sets it up, from the background (``x2c-edge run ... &``).
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

try:
    import termios
    import tty
except ImportError:  # not on every system; then there are no keys
    termios = None  # type: ignore[assignment]

POLL_S: Final = 0.2


@contextlib.contextmanager
def watched(
    actions: dict[str, Callable[[], None]], gone: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Call an action when its key is pressed, from a thread of its own; the terminal is put back after.

    gone: called when the terminal itself has gone.
    """
    if termios is None or sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        yield
        return
    if not _ours(sys.stdin.fileno()):
        yield
        return
    keyboard = sys.stdin.fileno()  # read past Python's buffer, which select cannot see
    before = termios.tcgetattr(keyboard)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            if select.select([keyboard], [], [], POLL_S)[0]:
                if os.isatty(keyboard) and not _ours(keyboard):
                    time.sleep(POLL_S)  # somebody else's keys
                    continue
                keys = b""
                with contextlib.suppress(OSError):
                    keys = os.read(keyboard, 64)
                if not keys:
                    gone()
                    return
                for key in keys.decode(errors="ignore"):
                    actions.get(key, lambda: None)()

    tty.setcbreak(keyboard)  # keys at once, Ctrl-C still a signal
    reader = threading.Thread(target=read, name="keys", daemon=True)
    reader.start()
    try:
        yield
    finally:
        stop.set()
        reader.join()
        with contextlib.suppress(termios.error):  # the terminal may have gone
            if _ours(keyboard):
                termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _ours(terminal: int) -> bool:
    """Whether it is a terminal whose foreground is this program."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # not a terminal, or not this session's
        return False
