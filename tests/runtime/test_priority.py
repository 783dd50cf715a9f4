"""The tick's priority ends with the tick, and nobody inherits it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from x2c_edge.runtime.priority import SWITCH_INTERVAL_S, preferred

ASK = (
    "import os; print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.getpriority(os.PRIO_PROCESS, 0))"
)


def may_be_preferred() -> bool:
    """Root may, but in a container that took this from it."""
    take = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))"
    return subprocess.run([sys.executable, "-c", take], capture_output=True).returncode == 0


def now() -> tuple[int, int, float]:
    policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    return policy, nice, sys.getswitchinterval()


def test_it_ends_and_children_do_not_have_it() -> None:
    before, inside, child = now(), (), ""

    def work() -> None:
        nonlocal inside, child
        with preferred():
            inside = now()
            child = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True).stdout
        assert now() == before

    work()
    assert inside[2] == SWITCH_INTERVAL_S
    if may_be_preferred():
        assert inside[0] == os.SCHED_RR
    policy, nice = map(int, child.split())
    assert policy == os.SCHED_OTHER
    if inside[0] == os.SCHED_RR:  # the kernel resets a nice value below 0 with it
        assert nice >= 0
    assert now() == before


def test_it_ends_after_an_error() -> None:
    before = now()
    try:
        with preferred():
            raise KeyError
    except KeyError:
        pass
    assert now() == before
