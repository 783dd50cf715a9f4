"""The tick first: a thread that the system prefers, while it ticks and no longer."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Final

SWITCH_INTERVAL_S: Final = 0.002  # Python's 5 ms is a third of a tick
_NICER: Final = -10


@contextlib.contextmanager
def preferred() -> Iterator[None]:
    """Ask the system to run this thread first; allowed for root and on tuned boards only.

    The tick works for some 100 us every 16 ms, so real-time priority cannot starve anything. Without the
    right to that, a nicer thread is the next best. And whoever holds the interpreter lets go of it soon. All
    of it ends with the ``with``, and what is started meanwhile does not inherit it: the thread may be that of
    somebody's own program, which goes on after the run.
    """
    thread, interval = threading.get_native_id(), sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with contextlib.ExitStack() as before:
        before.callback(sys.setswitchinterval, interval)
        with contextlib.suppress(OSError, AttributeError):
            nice = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, _NICER)
            before.callback(_quietly, os.setpriority, os.PRIO_PROCESS, thread, nice)
        with contextlib.suppress(OSError, AttributeError):
            policy, parameter = os.sched_getscheduler(thread), os.sched_getparam(thread)
            os.sched_setscheduler(thread, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
            # With the flag: only root may take it away again.
            before.callback(
                _quietly, os.sched_setscheduler, thread, policy | os.SCHED_RESET_ON_FORK, parameter
            )
        yield


def is_preferred() -> bool:
    """Whether the system runs this thread before ordinary ones."""
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR:
        return True
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) <= _NICER


def _quietly(call: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(OSError):
        call(*arguments)
