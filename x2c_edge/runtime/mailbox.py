"""A one-slot mailbox: the newest item replaces one that nobody took (docs/spec/program.md section 6)."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Any number of posters, one taker."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._ready = threading.Condition()
        self.replaced = 0  # items that were never taken

    def post(self, item: T) -> None:
        with self._ready:
            if self._item is not None:
                self.replaced += 1
            self._item = item
            self._ready.notify()

    def take(self, timeout_s: float) -> T | None:
        """The item, waiting at most ``timeout_s`` for one."""
        with self._ready:
            if self._item is None:
                self._ready.wait(timeout_s)
            item, self._item = self._item, None
            return item
