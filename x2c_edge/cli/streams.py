"""The three standard streams: any of them may be closed (systemd, cron) or full."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Final, TextIO

_NAMES: Final = ("stdin", "stdout", "stderr")


def open_missing() -> None:
    """Put something in the place of streams that are closed.

    Otherwise the next file or socket that is opened gets the number 0, 1 or 2, and what anybody prints goes
    there; and ``print(file=sys.stderr)`` with no standard error writes to standard output, where commands may
    go. The file of a closed output cannot be written, so that ``jsonl:-`` finds out.
    """
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest free number: this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: SIM115


def say(line: str) -> None:
    """A line on standard error, if that takes it: whoever cannot be told must not end a run."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def flushed() -> bool:
    """Write out what was printed; False when standard output does not take it."""
    _written_out(sys.stderr)
    return _written_out(sys.stdout)


def _written_out(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError):
            os.dup2(nowhere, stream.fileno())  # the interpreter tries once more when it ends
        return False
    return True
