"""The contract that every link keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from x2c_edge.frames import Command
from x2c_edge.links.codec import Status

LinkState = Literal["closed", "opening", "up", "down"]


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """What a link knows of itself; a snapshot.

    state: ``up`` when commands leave, ``down`` when they do not (it keeps trying), ``opening`` before
    the first could leave. sent: commands written whole. dropped: commands that a newer one replaced
    or that could not be kept. errors: failures of any kind. reconnects: successful reopenings.
    last_error: one line, empty when there was none. robot: the robot's last report, None on a link
    without a way back.
    """

    uri: str
    state: LinkState
    sent: int = 0
    dropped: int = 0
    errors: int = 0
    reconnects: int = 0
    last_error: str = ""
    robot: Status | None = None


class Link(Protocol):
    """One way to the robot. ``open``, ``send`` and ``close`` are called from one thread at a time."""

    @property
    def uri(self) -> str:
        """How the user named it."""

    def open(self) -> None:
        """Make it ready. NotFoundError when it is not there or may not be used."""

    def send(self, command: Command) -> None:
        """Take the newest command and return at once; an older one still waiting is dropped."""

    def status(self) -> LinkStatus:
        """A snapshot; may be called from any thread."""

    def close(self, timeout_s: float) -> None:
        """Write the last command, waiting ``timeout_s`` at most, then let go of everything."""
