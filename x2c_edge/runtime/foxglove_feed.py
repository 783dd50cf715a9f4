"""``--foxglove``: the run live, in the topics and schemas of the recordings.

A recorder among the others: ``command`` and ``offer`` only put what somebody has subscribed to where a thread
of its own finds it; that one makes messages of it and lets the server's process have them.
"""

from __future__ import annotations

import importlib.util
import time
from collections import deque
from typing import Any, Final

import numpy as np

from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Command
from x2c_edge.monitor import foxglove_messages
from x2c_edge.monitor.access import address_of, listen
from x2c_edge.record.messages import (
    CAMERA,
    COMMAND,
    EXPRESSION,
    ROBOT_FACE,
    TOPICS,
    Seen,
    command_message,
    expression_message,
    picture_message,
)
from x2c_edge.record.side_by_side import to_bgr
from x2c_edge.runtime.seen import seen_in
from x2c_edge.runtime.server_feed import ServerFeed
from x2c_edge.runtime.server_link import ServerLink, Word
from x2c_edge.runtime.vision import Sight

PERIOD_S: Final = 1 / 60
PICTURE_S: Final = 1 / 15
_WAITING: Final = 240  # of commands and expressions, some 3 s


class FoxgloveLink(ServerLink):
    """wanted: topics that somebody has subscribed to. url: what to open in Foxglove."""

    def __init__(self, address: str) -> None:
        """NotFoundError: the address is taken, or foxglove-sdk is missing. BadArgumentError for nonsense."""
        if importlib.util.find_spec("foxglove") is None:
            raise NotFoundError("--foxglove needs foxglove-sdk; run: pip install 'x2c-edge[foxglove]'")
        self._host, port = address_of("--foxglove", address)
        # The server opens the port itself; here it is only found out early whether it can.
        with listen("--foxglove", self._host, port) as listener:
            self._port: int = listener.getsockname()[1]
        self.wanted: frozenset[str] = frozenset()
        super().__init__("foxglove-in", self._heard)

    @property
    def url(self) -> str:
        return f"ws://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"

    def _module(self) -> tuple[str, tuple[object, ...]]:
        return "x2c_edge.monitor.foxglove_server", (self._host, self._port)

    def _heard(self, word: Word) -> None:
        self.wanted = frozenset(word["wanted"])

    def _ended(self) -> None:
        self.wanted = frozenset()


class FoxgloveFeed(ServerFeed):
    """One run's feed; ``start`` begins it."""

    def __init__(self, address: str) -> None:
        self.link = FoxgloveLink(address)
        super().__init__(self.link, "foxglove", PERIOD_S, PICTURE_S)
        self._waiting: deque[Command | Seen] = deque(maxlen=_WAITING)
        self._topics: list[str] = []
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def start(self, *, generated: bool) -> None:
        """Serve from now on. generated: there will be faces of the two-stage pipeline."""
        self._topics = [topic for topic in TOPICS if generated or topic != ROBOT_FACE]
        self._begin(foxglove_messages.hello([(topic, *TOPICS[topic]) for topic in self._topics]))

    # --- the run's threads ------------------------------------------------------------------------

    def command(self, command: Command) -> None:
        """A command that was sent."""
        if COMMAND in self.link.wanted:
            self._waiting.append(command)

    def offer(self, sight: Sight) -> None:
        """One frame that vision has finished."""
        wanted = self.link.wanted
        if EXPRESSION in wanted:
            self._waiting.append(seen_in(sight))
        if CAMERA in wanted or ROBOT_FACE in wanted:
            self._sight = sight

    # --- the feed's thread ------------------------------------------------------------------------

    def _tell_waiting(self) -> None:
        while self._waiting:
            item = self._waiting.popleft()
            if isinstance(item, Command):
                self._tell(COMMAND, item.t_send_ns, command_message(item))
            else:
                self._tell(EXPRESSION, item.t_capture_ns, expression_message(item))

    def _tell_pictures(self, sight: Sight) -> None:
        wanted, t_ns = self.link.wanted, sight.frame.t_capture_ns
        log_time_ns = self._log_time_ns(t_ns)
        if CAMERA in wanted:
            self._tell(CAMERA, t_ns, picture_message(to_bgr(sight.frame), log_time_ns, "camera"))
        if ROBOT_FACE in wanted and sight.robot_face is not None:
            face = np.ascontiguousarray(sight.robot_face[..., ::-1])
            self._tell(ROBOT_FACE, t_ns, picture_message(face, log_time_ns, "robot"))

    def _tell(self, topic: str, t_ns: int, message: dict[str, Any]) -> None:
        place, log_time_ns = self._topics.index(topic), self._log_time_ns(t_ns)
        self.link.send(foxglove_messages.message(place, log_time_ns, message))

    def _log_time_ns(self, t_ns: int) -> int:
        """As in a recording of a live run: nanoseconds since 1970."""
        return max(t_ns + self._epoch_ns, 0)
