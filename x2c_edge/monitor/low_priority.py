"""What every server's process does first."""

from __future__ import annotations

import contextlib
import os
from typing import Final

_NICENESS: Final = 10


def let_the_run_go_first() -> None:
    """Work when the run leaves the processor alone, where the system can arrange that."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICENESS)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
