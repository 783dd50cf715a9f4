"""``null:``: counts commands and forgets them."""

from __future__ import annotations

from x2c_edge.errors import BadArgumentError
from x2c_edge.frames import Command
from x2c_edge.links.base import LinkNeeds, LinkStatus
from x2c_edge.links.outbox import Outbox


def null_link(uri: str, needs: LinkNeeds) -> NullLink:
    """The link of ``null:``, not yet open."""
    if uri != "null:":
        raise BadArgumentError(f"link '{uri}': null: takes nothing after the colon")
    return NullLink(uri)


class NullLink:
    """A link to nowhere, for measuring everything before it."""

    def __init__(self, uri: str = "null:") -> None:
        self.uri = uri
        self._outbox = Outbox(uri)

    def open(self) -> None:
        """Ready at once."""
        self._outbox.enter("up")

    def send(self, command: Command) -> None:
        """Count it."""
        self._outbox.wrote(command)

    def status(self) -> LinkStatus:
        """A snapshot."""
        return self._outbox.status()

    def close(self, timeout_s: float) -> None:
        """Nothing waits, so nothing is flushed."""
        self._outbox.closed()
