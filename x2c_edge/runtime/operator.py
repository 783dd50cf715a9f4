"""The operator's requests, on their way to the thread that ticks.

Keys, the page, signals, ``ctl`` and the Python API all end here, in threads of their own or in a signal
handler that may have interrupted the ticking thread itself. So nothing here takes a lock: one slot per kind
of request, which the next tick empties.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from x2c_edge.errors import BadArgumentError
from x2c_edge.safety.supervisor import Supervisor

REQUESTS: Final = ("stop", "resume", "reset", "neutral")
HOLD_S: Final = 0.15  # how long one sign of life of a dead-man button counts
_LOG_LINES: Final = 64


class Operator:
    """Stop, resume, reset and a new neutral, callable from any thread and from signal handlers.

    by: who asks, for the log. hold_to_run: the robot also only follows while somebody ``hold``s.
    """

    def __init__(self, *, hold_to_run: bool = False, recalibrate: Callable[[], None] | None = None) -> None:
        self.hold_to_run = hold_to_run
        self.recalibrate = recalibrate
        self.log: deque[tuple[float, str]] = deque(maxlen=_LOG_LINES)  # Unix seconds, what and by whom
        self._asked: dict[str, deque[str]] = {name: deque(maxlen=1) for name in ("stop", "resume", "reset")}
        self._held_until_ns: dict[str, int] = {}
        self._stopped_by = ""
        self._halted = False  # what the supervisor was told last
        self._ticks = 0

    # --- any thread -------------------------------------------------------------------------------

    def stop(self, by: str = "api") -> None:
        """Hold the pose with the next command, then ease to neutral and stay there until ``resume``."""
        self._ask("stop", by)

    def resume(self, by: str = "api") -> None:
        """End ``stop``: the face starts softly from where it is. Does not end a FAULT."""
        self._ask("resume", by)

    def reset(self, by: str = "api") -> None:
        """End a FAULT; what caused it counts afresh."""
        self._ask("reset", by)

    def neutral(self, by: str = "api") -> None:
        """Take the driver's neutral anew. BadArgumentError where there is no driver (a replay)."""
        if self.recalibrate is None:
            raise BadArgumentError("neutral: a replay has no driver whose neutral could be taken")
        self._note("neutral", by)
        self.recalibrate()

    def ask(self, request: str, by: str) -> None:
        """One of ``REQUESTS``, by name."""
        if request not in REQUESTS:
            raise BadArgumentError(f"'{request[:20]}': choose {', '.join(REQUESTS)}")
        getattr(self, request)(by)

    def hold(self, by: str, seconds: float = HOLD_S) -> None:
        """A dead-man button is pressed; say so again before ``seconds`` have passed."""
        self._held_until_ns[by] = time.monotonic_ns() + round(seconds * 1e9)

    def release(self, by: str) -> None:
        """A dead-man button was let go, or who held it is gone."""
        self._held_until_ns.pop(by, None)

    def release_all(self, prefix: str) -> None:
        """``release`` for everybody whose name begins so."""
        for by in tuple(self._held_until_ns):
            if by.startswith(prefix):
                self.release(by)

    @property
    def halted(self) -> str:
        """Why the operator's side keeps the robot at neutral, in a few words; empty when it does not."""
        if self._stopped_by:
            return f"stopped ({self._stopped_by})"
        return "nobody holds" if self._halted else ""

    def attended(self, timeout_s: float) -> bool:
        """Wait until what was asked before this call is on the wire. False when the run does not tick."""
        goal = self._ticks + 2  # the next tick takes it; when the one after begins, its command has left
        until = time.monotonic() + timeout_s
        while self._ticks < goal:
            if time.monotonic() > until:
                return False
            time.sleep(0.002)
        return True

    # --- the thread that ticks --------------------------------------------------------------------

    def attend(self, supervisor: Supervisor, now_ns: int) -> None:
        """Tell the supervisor what was asked since the last tick. A stop wins over a resume beside it."""
        self._ticks += 1
        if self._taken("reset"):
            supervisor.reset(now_ns)
        if self._taken("resume"):
            self._stopped_by = ""
        if by := self._taken("stop"):
            self._stopped_by = by
        halt = bool(self._stopped_by) or (self.hold_to_run and not self._held(now_ns))
        if halt != self._halted:
            self._halted = halt
            if halt:
                supervisor.operator_stop(now_ns)
            else:
                supervisor.operator_resume(now_ns)

    def _ask(self, request: str, by: str) -> None:
        self._asked[request].append(by)
        self._note(request, by)

    def _note(self, request: str, by: str) -> None:
        self.log.append((time.time(), f"{request} ({by})"))

    def _taken(self, request: str) -> str:
        try:
            return self._asked[request].popleft()
        except IndexError:
            return ""

    def _held(self, now_ns: int) -> bool:
        return any(now_ns < until for until in tuple(self._held_until_ns.values()))
