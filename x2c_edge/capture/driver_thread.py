"""A thread that spends its life inside a driver."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

# Longer than any driver call blocks (see opencv.py and gstreamer.py), so that exit always gets there.
_PATIENCE_AT_EXIT_S = 8.0


class DriverThread:
    """Runs ``work`` in a thread; ``work`` looks at ``stopping`` between its blocking calls.

    The program's exit waits for the thread: CPython cuts a thread off that returns from C++ into an
    interpreter that is gone, and C++ answers that by aborting the process.
    """

    def __init__(self, work: Callable[[threading.Event], None], name: str) -> None:
        self._work = work
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        atexit.register(self._at_exit)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work(self._stopping)
        finally:
            atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        self.stop(_PATIENCE_AT_EXIT_S)

    def stop(self, patience_s: float) -> bool:
        """Ask the thread to end and wait for it so long; True when it has ended."""
        self._stopping.set()
        self._thread.join(timeout=patience_s)
        return not self._thread.is_alive()
