"""``null:``: counts commands and forgets them."""

from __future__ import annotations

from x2c_edge.frames import Command
from x2c_edge.links.base import LinkState, LinkStatus


class NullLink:
    """A link to nowhere, for measuring everything before it."""

    def __init__(self, uri: str = "null:") -> None:
        self.uri = uri
        self._state: LinkState = "closed"
        self._sent = 0

    def open(self) -> None:
        """Ready at once."""
        self._state = "up"

    def send(self, command: Command) -> None:
        """Count it."""
        self._sent += 1

    def status(self) -> LinkStatus:
        """A snapshot."""
        return LinkStatus(self.uri, self._state, sent=self._sent)

    def close(self, timeout_s: float) -> None:
        """Nothing waits, so nothing is flushed."""
        self._state = "closed"
