"""The robot's end of a link, whatever the transport: where commands arrive, and where telemetry leaves.

An endpoint turns what arrives into demands (for a ``Receiver``) and, where the transport has a way back,
frames that want an answer; it counts what it refuses. ``endpoints.py`` has the table of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter

from x2c_edge.links.codec import CmdF32, CmdU16, Message
from x2c_edge.robot.receiver import Demand

Arrival = Demand | Message


class Endpoint(ABC):
    """where: what the host's ``--link`` should be, known after ``open``. skipped: commands left unread."""

    def __init__(self, uri: str) -> None:
        self.where = uri
        self.skipped = 0
        self._bad: Counter[str] = Counter()

    @property
    def bad(self) -> Counter[str]:
        """Refused pieces by reason."""
        return self._bad

    @property
    def challenge(self) -> int:
        """What to put into a HelloAck; 0 without a key."""
        return 0

    @abstractmethod
    def open(self) -> None:
        """Listen. NotFoundError when that is impossible."""

    @abstractmethod
    def receive(self, timeout_s: float) -> list[Arrival]:
        """What arrived, in order; waits for the first."""

    @abstractmethod
    def close(self) -> None:
        """Be gone, as after pulling the plug; ``open`` comes back."""

    # What only some transports have.

    def send(self, message: Message) -> None:  # noqa: B027
        """Telemetry; dropped when the host does not read, or when there is no way back."""

    def renew(self) -> None:  # noqa: B027
        """The run is over: make recordings of it worthless, where the transport can."""

    def be_silent(self, seconds: float) -> None:  # noqa: B027
        """Answer nothing for so long, where a host expects answers."""


def arrival_of(message: Message) -> Arrival:
    """A frame as the simulator takes it: a command is a demand."""
    if not isinstance(message, CmdU16 | CmdF32):
        return message
    t_s = message.t_us / 1e6
    return Demand(
        run=message.run,
        seq=message.seq,
        values=message.values,
        flags=message.flags,
        rate_hz=message.rate_hz,
        t_s=t_s,
        sent_s=t_s + message.age_us / 1e6,
    )
