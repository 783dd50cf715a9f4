"""The operator's doors of a command: signals, keys and the control socket."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from x2c_edge.cli.keys import watched
from x2c_edge.cli.streams import say
from x2c_edge.errors import BadArgumentError, UserError
from x2c_edge.runtime.control_socket import ControlSocket
from x2c_edge.runtime.operator import HOLD_S, Operator
from x2c_edge.runtime.telemetry import as_dict

if TYPE_CHECKING:
    from x2c_edge.runtime.run import Run
    from x2c_edge.runtime.settings import Settings

KEYS: Final = ("space: stop", "r: resume", "n: new neutral", "q, Ctrl-C: ease and end")
REPLAY_KEYS: Final = ("space: stop", "r: resume", "q, Ctrl-C: ease and end")
HOLD_KEYS: Final = ("hold space: run", "r: reset", "n: new neutral", "q, Ctrl-C: ease and end")


def keys_of(run: Run) -> tuple[str, ...]:
    """What the keys do, for the panel's lowest line."""
    if run.operator.hold_to_run:
        return HOLD_KEYS
    return KEYS if run.operator.recalibrate is not None else REPLAY_KEYS


@contextlib.contextmanager
def doors(run: Run) -> Iterator[None]:
    """Every door of this process is open inside; the terminal and the socket are put back after."""
    operator = run.operator
    listen_to_signals(operator, run.stop)
    keys, gone = _actions(run)
    with ControlSocket(operator, lambda: {"pid": os.getpid(), **as_dict(run.snapshot())}) as ctl:
        if ctl.problem:
            say(f"x2c-edge: {ctl.problem}")
        with watched(keys, gone):
            yield


def listen_to_signals(operator: Operator, end: Callable[[], None]) -> None:
    """End: INT, TERM, HUP. Stop: USR2, and TSTP (Ctrl-Z). Resume: RTMIN. Reset: RTMIN+1. Neutral: USR1.

    A run that Ctrl-Z suspended would leave the robot to its own watchdog; so would one that died with its
    terminal.
    """
    on: dict[str, Callable[[], None]] = {
        "SIGINT": end,
        "SIGTERM": end,
        "SIGHUP": end,
        "SIGUSR2": lambda: operator.stop("SIGUSR2"),
        "SIGTSTP": lambda: operator.stop("Ctrl-Z"),
        "SIGUSR1": lambda: _tried(operator.neutral, "SIGUSR1"),
    }
    numbers = {getattr(signal, name): act for name, act in on.items() if hasattr(signal, name)}
    if hasattr(signal, "SIGRTMIN"):
        numbers[signal.SIGRTMIN] = lambda: operator.resume("SIGRTMIN")
        numbers[signal.SIGRTMIN + 1] = lambda: operator.reset("SIGRTMIN+1")
    for number, act in numbers.items():
        ignored = number == getattr(signal, "SIGHUP", 0) and signal.getsignal(number) == signal.SIG_IGN
        if not ignored:  # nohup
            signal.signal(number, lambda *_, act=act: act())


def _actions(run: Run) -> tuple[dict[str, Callable[[], None]], Callable[[], None]]:
    operator = run.operator

    def go_on() -> None:
        operator.reset("keys")
        operator.resume("keys")

    space = HeldKey(operator).press if operator.hold_to_run else lambda: operator.stop("keys")
    actions: dict[str, Callable[[], None]] = {
        " ": space,
        "r": go_on,
        "n": lambda: _tried(operator.neutral, "keys"),
        "q": run.stop,
    }
    return actions, lambda: operator.release("keys")


class HeldKey:
    """A key as a dead-man button: a terminal only tells that it repeats, not that it was let go.

    A press that follows the one before within ``HOLD_S``, as a held key's do, holds for as long again; a
    single press does nothing.
    """

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._last_s = 0.0

    def press(self) -> None:
        """The key was pressed, or repeated."""
        now = time.monotonic()
        if now - self._last_s < HOLD_S:
            self._operator.hold("keys")
        self._last_s = now


def _tried(request: Callable[[str], None], by: str) -> None:
    with contextlib.suppress(UserError):  # a key that means nothing here
        request(by)


def show_address(run: Run) -> None:
    """Where the page and Foxglove's server are, on standard error."""
    if run.outlets.page is not None:
        access = run.outlets.page.link.access
        say(f"page (operator): {access.url()}")
        say(f"page (look, and stop): {access.url('viewer')}")
    if run.outlets.foxglove is not None:
        say(f"foxglove: {run.outlets.foxglove.link.url}")


def require_a_hand(settings: Settings, *, page: bool, fast: bool) -> None:
    """BadArgumentError when --hold-to-run was given and nobody could hold."""
    if settings.safety.hold_to_run and fast:
        raise BadArgumentError("--hold-to-run: a file's clock cannot be held; leave out --fast")
    if settings.safety.hold_to_run and not page and not sys.stdin.isatty():
        raise BadArgumentError("--hold-to-run: nobody can hold; start it in a terminal or with --monitor")
