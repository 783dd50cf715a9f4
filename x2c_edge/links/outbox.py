"""Between the run's thread and a link's own: commands that wait, a wake-up, and how it is going."""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
import time
from collections import deque

from x2c_edge.frames import Command, Flag
from x2c_edge.links.base import LinkState, LinkStatus, RobotReport


class Outbox:
    """One link's. The run's thread offers commands; the link's thread, if it has one, takes them.

    room: commands that may wait; the oldest gives way to a newer one. ends: how often a command with END
    leaves in all when the link closes after it.

    A link without a thread (it writes where it is called) uses the counters and the state alone.
    """

    def __init__(self, uri: str, *, room: int = 1, ends: int = 1) -> None:
        self.uri = uri
        self._room = room
        self._end_frames = ends
        self._change = threading.Condition()
        self._waiting: deque[Command] = deque()
        self._last_end: Command | None = None
        self._ends = 0
        self._closing = True
        self._close_at = 0.0
        self._state: LinkState = "closed"
        self._sent = self._dropped = self._errors = self._reconnects = 0
        self._last_error = ""
        self._robot: RobotReport | None = None

    # --- for the run's thread ---

    def open(self) -> None:
        """Take commands from now on; the link's thread gives back what this needs (``release``)."""
        # A link's thread waits for its channel and for commands at once, so the wake-up is a file descriptor.
        self.wake_fd, self._wake_in = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self._wake_in, False)
        self._poll = select.poll()
        self._poll.register(self.wake_fd, select.POLLIN)
        self._waiting.clear()
        self._last_end = None
        self._ends = 0
        self._closing = False
        self._state = "opening"

    def offer(self, command: Command) -> None:
        """Let the newest command wait; returns at once."""
        with self._change:
            if self._closing:
                self._dropped += 1
                return
            if len(self._waiting) >= self._room:
                self._waiting.popleft()
                self._dropped += 1
            self._append(command)

    def offer_patiently(self, command: Command) -> bool:
        """The same, but wait for room instead of dropping; False when the link is not up."""
        with self._change:
            self._change.wait_for(lambda: len(self._waiting) < self._room or self._state != "up")
            if self._state != "up":
                return False
            self._append(command)
            return True

    def close(self, timeout_s: float) -> bool:
        """Take no more commands; the thread has so long for those that wait. False when closed before."""
        with self._change:
            if self._closing:
                return False
            self._closing = True
            self._close_at = time.monotonic() + timeout_s
            self._wake()
            return True

    def closed(self) -> None:
        """The link is closed; what has not left by now is lost."""
        with self._change:
            self._dropped += len(self._waiting)
            self._waiting.clear()
            self._state = "closed"
            self._change.notify_all()

    def status(self) -> LinkStatus:
        """A snapshot, from any thread."""
        with self._change:
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

    def _append(self, command: Command) -> None:
        if not self._waiting:
            self._wake()
        self._waiting.append(command)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes too
            os.write(self._wake_in, b"!")

    # --- for the link's thread: commands ---

    def waits(self) -> bool:
        """Whether a command waits; while closing, an END that has not left often enough counts."""
        with self._change:
            return bool(self._waiting) or self._end_is_due()

    def take(self) -> Command | None:
        """The command that is next, None when there is none."""
        with self._change:
            if self._waiting:
                self._change.notify_all()
                return self._waiting.popleft()
            return self._last_end if self._end_is_due() else None

    def next(self) -> Command | None:
        """The same, waiting for one; None when the link is closing and none is left, or no time."""
        while self.time_left() > 0:
            command = self.take()
            if command is not None or self._closing:
                return command
            self.wait()
        return None

    def abandon(self) -> None:
        """Let nothing more leave: the other side would not take it."""
        with self._change:
            self._dropped += len(self._waiting)
            self._waiting.clear()
            self._last_end = None
            self._ends = 0

    def _end_is_due(self) -> bool:
        return self._closing and 0 < self._ends < self._end_frames

    # --- for the link's thread: waiting ---

    @property
    def closing(self) -> bool:
        """Whether the thread is asked to end, or there is none."""
        return self._closing

    def time_left(self) -> float:
        """Seconds until the thread must end, when it is asked to; infinite otherwise."""
        return self._close_at - time.monotonic() if self._closing else math.inf

    def finished(self) -> bool:
        """Whether the thread should end now: asked to, and nothing more to write or no time left."""
        return self._closing and (not self.waits() or self.time_left() <= 0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until a command comes or the link closes, ``timeout_s`` at most; whether something did."""
        if not self._poll.poll(None if timeout_s is None else math.ceil(timeout_s * 1000)):
            return False
        self.clear_wake()
        return True

    def clear_wake(self) -> None:
        """For a thread that polls ``wake_fd`` itself: it has seen that there is something to read."""
        os.read(self.wake_fd, 64)

    def pause(self, seconds: float) -> bool:
        """Wait so long, commands or not; less when the link closes. Whether it does."""
        until = time.monotonic() + seconds
        while not self._closing and (left := until - time.monotonic()) > 0:
            self.wait(left)
        return self._closing

    def release(self) -> None:
        """The thread ends: let go of the wake-up."""
        os.close(self.wake_fd)
        os.close(self._wake_in)

    # --- for the link's thread: how it is going ---

    @property
    def state(self) -> LinkState:
        """As in ``LinkStatus``."""
        return self._state

    def enter(self, state: LinkState, reason: str = "") -> None:
        """The state from now on, and why."""
        with self._change:
            if reason:
                self._last_error = reason
            self._state = state
            self._change.notify_all()

    def wrote(self, command: Command) -> None:
        """A command has left whole."""
        ended = bool(command.flags & Flag.END)
        with self._change:
            self._sent += 1
            self._ends = self._ends + 1 if ended else 0
            self._last_end = command if ended else None

    def drop(self) -> None:
        """A command that was taken will not leave."""
        with self._change:
            self._dropped += 1

    def failed(self, text: str) -> None:
        """Something went wrong; one line."""
        with self._change:
            self._errors += 1
            self._last_error = text

    def reconnected(self) -> None:
        """The way is open again."""
        with self._change:
            self._reconnects += 1

    def hear(self, robot: RobotReport | None) -> None:
        """What the robot says of itself."""
        with self._change:
            self._robot = robot
