"""Keys while a run goes on. Only when standard input is a terminal, and we are in its foreground: the system
stops a program that reads from its terminal, or sets it up, from the background (``x2c-edge run ... &``).
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

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
    keyboard = sys.stdin.fileno()  # read past Python's buffer, which select cannot see
    before: list[list[Any]] = []  # how the terminal was, once we have set it up
    stop = threading.Event()

    def set_up() -> bool:
        """Keys at once, Ctrl-C still a signal. False while the terminal is somebody else's."""
        if not _ours(keyboard):
            return False
        if not before:
            before.append(termios.tcgetattr(keyboard))
            tty.setcbreak(keyboard)
        return True

    def read() -> None:
        while not stop.is_set():
            if os.isatty(keyboard) and not set_up():
                stop.wait(POLL_S)
            elif select.select([keyboard], [], [], POLL_S)[0]:
                keys = b""
                with contextlib.suppress(OSError):
                    keys = os.read(keyboard, 64)
                if not keys:
                    gone()
                    return
                for key in keys.decode(errors="ignore"):
                    actions.get(key, lambda: None)()

    set_up()
    reader = threading.Thread(target=read, name="keys", daemon=True)
    reader.start()
    try:
        yield
    finally:
        stop.set()
        reader.join()
        with contextlib.suppress(termios.error):  # the terminal may have gone
            if before and _ours(keyboard):
                # At once, because the terminal may stand still (Ctrl-S), and what it shows is not waited for.
                termios.tcsetattr(keyboard, termios.TCSANOW, before[0])


def _ours(terminal: int) -> bool:
    """Whether this program is in the terminal's foreground."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # another session's: its keys are for whoever runs there
        return False
