"""The part that serial, UDP and Tritium links share: a thread, one slot, reconnecting for ever.

``send`` puts the newest command in the slot and wakes the thread; everything that can take time
happens there.
"""

from __future__ import annotations

import os
import select
import threading
import time
from abc import ABC, abstractmethod
from typing import Final, Generic, TypeVar

from x2c_edge.frames import Command, Flag
from x2c_edge.links.base import LinkState, LinkStatus
from x2c_edge.links.codec import Status

END_FRAMES: Final = 3
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0

Channel = TypeVar("Channel")


class WorkerLink(ABC, Generic[Channel]):
    """A link whose channel (an open port, a socket) lives in its own thread."""

    def __init__(self, uri: str, *, rate_hz: int) -> None:
        self.uri = uri
        self._rate_hz = rate_hz
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pending: Command | None = None
        self._last_end: Command | None = None
        self._ends = 0
        self._closing = True
        self._close_at = 0.0
        self._state: LinkState = "closed"
        self._sent = self._dropped = self._errors = self._reconnects = 0
        self._last_error = ""
        self._robot: Status | None = None

    @abstractmethod
    def _connect(self) -> Channel:
        """Open the channel. OSError when that fails."""

    @abstractmethod
    def _disconnect(self, channel: Channel) -> None:
        """Let go of the channel; must not fail or wait."""

    @abstractmethod
    def _talk(self, channel: Channel) -> None:
        """Send and receive until ``_finished``. OSError when the channel is lost."""

    @abstractmethod
    def _explain(self, error: OSError) -> str:
        """One line: what failed, where, and what to do."""

    @abstractmethod
    def _first_connect(self) -> Channel:
        """``_connect``, with NotFoundError instead of OSError."""

    def _pause_after(self, error: OSError, pause_s: float) -> float:
        """Seconds until the next attempt to connect, after one that failed ``pause_s`` after the last."""
        return min(2 * pause_s, LONGEST_PAUSE_S)

    # --- the contract ---

    def open(self) -> None:
        """Open the channel (NotFoundError when that is impossible) and start the thread."""
        channel = self._first_connect()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_out, False)
        os.set_blocking(self._wake_in, False)
        self._pending = self._last_end = None
        self._ends = 0
        self._closing = False
        self._state = "opening"
        self._thread = threading.Thread(target=self._run, args=(channel,), name=self.uri, daemon=True)
        self._thread.start()

    def send(self, command: Command) -> None:
        """Offer the newest command; returns at once."""
        with self._lock:
            if self._closing:
                self._dropped += 1
                return
            if self._pending is None:
                self._wake()
            else:
                self._dropped += 1
            self._pending = command

    def status(self) -> LinkStatus:
        """A snapshot."""
        with self._lock:
            return LinkStatus(
                self.uri,
                self._state,
                self._sent,
                self._dropped,
                self._errors,
                self._reconnects,
                self._last_error,
                self._robot,
            )

    def close(self, timeout_s: float) -> None:
        """Flush the last command (three frames of it when it carries END), then stop the thread."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._close_at = time.monotonic() + timeout_s
            self._wake()
        if self._thread is not None:
            self._thread.join(timeout_s + 0.5)
        with self._lock:
            self._state = "closed"

    # --- for the thread ---

    def _wake(self) -> None:
        # At most one byte waits per command taken and one for closing, so the pipe is never full.
        os.write(self._wake_in, b"!")

    def _peek(self) -> bool:
        """Whether a command waits; while closing, an END that has not left often enough counts."""
        with self._lock:
            return self._pending is not None or (self._closing and 0 < self._ends < END_FRAMES)

    def _take(self) -> Command | None:
        with self._lock:
            command, self._pending = self._pending, None
            if command is None and self._closing and 0 < self._ends < END_FRAMES:
                return self._last_end
            return command

    def _put_back(self, command: Command) -> None:
        with self._lock:
            if self._pending is None:
                self._pending = command
            else:
                self._dropped += 1

    def _abandon(self) -> None:
        """Let nothing more leave: the other side would not take it."""
        with self._lock:
            self._dropped += self._pending is not None
            self._pending = self._last_end = None
            self._ends = 0

    def _wrote(self, command: Command) -> None:
        ended = bool(command.flags & Flag.END)
        with self._lock:
            self._sent += 1
            self._ends = self._ends + 1 if ended else 0
            self._last_end = command if ended else None

    def _discarded(self) -> None:
        with self._lock:
            self._dropped += 1

    def _failed(self, text: str) -> None:
        with self._lock:
            self._errors += 1
            self._last_error = text

    def _is(self, state: LinkState, reason: str = "") -> None:
        with self._lock:
            self._state = state
            if reason:
                self._last_error = reason

    def _time_left(self) -> float:
        """Seconds until the thread must end, for a thread that is asked to; infinite otherwise."""
        return self._close_at - time.monotonic() if self._closing else float("inf")

    def _finished(self) -> bool:
        """Whether the thread should end now: asked to, and nothing more to write or no time left."""
        return self._closing and (not self._peek() or self._time_left() <= 0)

    def _run(self, first: Channel) -> None:
        channel: Channel | None = first
        while channel is not None:
            try:
                self._talk(channel)
            except OSError as error:
                self._failed(self._explain(error))
            self._is("down")
            self._disconnect(channel)
            channel = self._reconnect()
        os.close(self._wake_out)
        os.close(self._wake_in)

    def _reconnect(self) -> Channel | None:
        pause = FIRST_PAUSE_S
        poll = select.poll()
        poll.register(self._wake_out, select.POLLIN)
        while True:
            until = time.monotonic() + pause
            while (left := until - time.monotonic()) > 0 and not self._closing:
                if poll.poll(left * 1000):
                    os.read(self._wake_out, 64)
            if self._closing:
                return None
            try:
                channel = self._connect()
            except OSError as error:
                self._failed(self._explain(error))
                pause = self._pause_after(error, pause)
                continue
            with self._lock:
                self._reconnects += 1
            return channel
