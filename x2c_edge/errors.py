"""Errors that are the user's to fix: one line that says what, where, and what to do.

The command line prints the message of a ``UserError`` without a traceback and exits with its
``exit_code`` (docs/spec/program.md section 8). Anything else that escapes is a bug of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 1000


class UserError(Exception):
    """Base of the errors that end a command with one clear line.

    One line whatever is quoted in it: control characters become spaces and the middle of a long text dots.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


class BadArgumentError(UserError):
    """A wrong argument, option, configuration key or value (exit code 2)."""

    exit_code = 2


class NotFoundError(UserError):
    """A source, pack, engine or link that is missing or unusable (exit code 3)."""

    exit_code = 3


class FaultError(UserError):
    """The run ended in the FAULT state (exit code 4)."""

    exit_code = 4


def _one_line(text: str) -> str:
    line = "".join(
        " " if character < " " or "\x7f" <= character < "\xa0" else character for character in text
    )
    if len(line) <= _LONGEST:
        return line
    return f"{line[: _LONGEST * 2 // 3]} ... {line[-_LONGEST // 4 :]}"


def nearest(name: str, known: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the known name closest to ``name``, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{match[0]}'?)" if match else ""
