"""The part that serial, UDP and Tritium links share: a thread that reconnects for ever.

``send`` puts the newest command into the outbox; everything that can take time happens in the thread.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Final, Generic, TypeVar

from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Command
from x2c_edge.links.base import LinkStatus
from x2c_edge.links.outbox import Outbox

END_FRAMES: Final = 3
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0

Channel = TypeVar("Channel")


class WorkerLink(ABC, Generic[Channel]):
    """A link whose channel (an open port, a socket) lives in its own thread.

    A link of this kind says how to connect, what to do with a channel, and what an error means; what to send,
    when to end and what to count is the outbox's.
    """

    def __init__(self, uri: str, *, rate_hz: int) -> None:
        self.uri = uri
        self.outbox = Outbox(uri, ends=END_FRAMES)
        self._rate_hz = rate_hz
        self._thread: threading.Thread | None = None

    @abstractmethod
    def connect(self) -> Channel:
        """Open the channel. OSError when that fails."""

    @abstractmethod
    def disconnect(self, channel: Channel) -> None:
        """Let go of the channel; must not fail or wait."""

    @abstractmethod
    def talk(self, channel: Channel) -> None:
        """Send what the outbox holds until it is ``finished``; listen too. OSError: the channel is lost."""

    @abstractmethod
    def explain(self, error: OSError) -> str:
        """One line: what failed, where, and what to do."""

    def pause_after(self, error: OSError, pause_s: float) -> float:
        """Seconds until the next attempt to connect, after one that failed ``pause_s`` after the last."""
        return min(2 * pause_s, LONGEST_PAUSE_S)

    # --- the contract ---

    def open(self) -> None:
        """Open the channel (NotFoundError when that is impossible) and start the thread."""
        try:
            channel = self.connect()
        except OSError as error:
            raise NotFoundError(self.explain(error)) from error
        self.outbox.open()
        self._thread = threading.Thread(target=self._run, args=(channel,), name=self.uri, daemon=True)
        self._thread.start()

    def send(self, command: Command) -> None:
        """Offer the newest command; returns at once."""
        self.outbox.offer(command)

    def status(self) -> LinkStatus:
        """A snapshot."""
        return self.outbox.status()

    def close(self, timeout_s: float) -> None:
        """Flush the last command (three frames of it when it carries END), then stop the thread."""
        if not self.outbox.close(timeout_s):
            return
        if self._thread is not None:
            self._thread.join(timeout_s + 0.5)
        self.outbox.closed()

    # --- the thread ---

    def _run(self, first: Channel) -> None:
        channel: Channel | None = first
        while channel is not None:
            try:
                self.talk(channel)
            except OSError as error:
                self.outbox.failed(self.explain(error))
            self.outbox.enter("down")
            self.disconnect(channel)
            channel = self._reconnect()
        self.outbox.release()

    def _reconnect(self) -> Channel | None:
        pause_s = FIRST_PAUSE_S
        while not self.outbox.pause(pause_s):
            try:
                channel = self.connect()
            except OSError as error:
                self.outbox.failed(self.explain(error))
                pause_s = self.pause_after(error, pause_s)
                continue
            self.outbox.reconnected()
            return channel
        return None
