"""What a run lets a server in a process of its own have: the recorder's side of it.

``command`` and ``offer`` of the deriving class only put something in a slot; a thread of its own turns it
into messages.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod

from x2c_edge.errors import NotFoundError
from x2c_edge.runtime.server_link import ServerLink
from x2c_edge.runtime.vision import Sight


class ServerFeed(ABC):
    """Made before the links open, so that a taken port is found early; then begun."""

    def __init__(self, link: ServerLink, name: str, period_s: float, picture_s: float) -> None:
        """name: of the thread. period_s: between two looks at what waits. picture_s: between two pictures."""
        self._server = link
        self._period_s, self._picture_s = period_s, picture_s
        self._sight: Sight | None = None  # the newest whose pictures are wanted
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.failure: NotFoundError | None = None  # a server that is lost ends no run

    def close(self) -> None:
        """The run is over."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
        self._server.close()

    def _begin(self, hello: bytes) -> None:
        """Serve from now on. hello: what every server is told first."""
        self._server.start(hello)
        self._thread.start()

    def _work(self) -> None:
        next_picture = 0.0
        while not self._closing.wait(self._period_s):
            self._tell_waiting()
            self._tell_news()
            now = time.monotonic()
            sight = self._sight
            if sight is not None and now >= next_picture:
                next_picture = now + self._picture_s
                self._sight = None
                self._tell_pictures(sight)
        self._tell_waiting()

    @abstractmethod
    def _tell_waiting(self) -> None:
        """Send what has come since the last time; also once at the end."""

    def _tell_news(self) -> None:
        """Send what else there is to say, in every period."""
        return

    @abstractmethod
    def _tell_pictures(self, sight: Sight) -> None:
        """Send the sight's pictures."""
