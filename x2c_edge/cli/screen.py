"""A terminal that may stand still, behind Ctrl-S or a connection that hangs, and is not waited for."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import Final, TextIO

_MOST_LEFT: Final = 1 << 16  # bytes that wait: some twenty pictures
_LAST_S: Final = 1.0


class Screen:
    """Writes to a terminal without waiting for it; as much of a text file as rich needs.

    What it does not take yet goes before the next picture; with too much of that a picture is left out.
    Through a description of its own, because whoever shares ours (the shell) expects to wait. OSError where
    the terminal cannot be opened by its name.
    """

    def __init__(self, stream: TextIO) -> None:
        self.encoding = stream.encoding
        name = os.ttyname(stream.fileno())
        self._terminal = os.open(name, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._left = b""

    def write(self, text: str) -> int:
        """A picture, or what rich writes of one. OSError when the terminal has gone."""
        if len(self._left) < _MOST_LEFT:
            self._left += text.encode(self.encoding, "replace")
        return len(text)

    def flush(self) -> None:
        """As much as the terminal takes now. OSError when it has gone."""
        with contextlib.suppress(BlockingIOError):
            while self._left:
                self._left = self._left[os.write(self._terminal, self._left) :]

    def finish(self) -> None:
        """All that is left, if the terminal takes it within a second: the cursor should come back."""
        until = time.monotonic() + _LAST_S
        self.flush()
        while self._left and select.select([], [self._terminal], [], max(until - time.monotonic(), 0))[1]:
            self.flush()

    def isatty(self) -> bool:
        """It is one."""
        return True

    def fileno(self) -> int:
        """For its size."""
        return self._terminal
