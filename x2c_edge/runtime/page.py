"""``--monitor``: what a run tells its page, and what the page may ask of it.

A recorder among the others: ``command`` and ``offer`` only put something in a slot; a thread of its own
turns it into messages and lets the page's process have them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from x2c_edge.controls import GROUPS
from x2c_edge.errors import UserError
from x2c_edge.frames import Command
from x2c_edge.monitor import feed
from x2c_edge.record.side_by_side import to_bgr
from x2c_edge.runtime.operator import REQUESTS, Operator
from x2c_edge.runtime.page_link import PageLink
from x2c_edge.runtime.server_feed import ServerFeed
from x2c_edge.runtime.vision import Sight

PERIOD_S: Final = 1 / 30
SNAPSHOT_S: Final = 0.25
PICTURE_S: Final = 1 / 15
_WAITING: Final = 240  # commands, 4 s of them
_HIGHEST_GAIN: Final = 3.0

Facts = Callable[[], dict[str, Any]]
Retune = Callable[[dict[str, float], bool], None]


class Player(Protocol):
    """What the page's time line moves."""

    def order(self, word: dict[str, Any]) -> None:
        """{"pause": bool}, {"step": frames} or {"speed": factor}."""


class RunPage(ServerFeed):
    """One run's page; ``start`` begins it."""

    _operator: Operator  # from ``start`` on

    def __init__(self, address: str) -> None:
        self.link = PageLink(address, self._obey)
        super().__init__(self.link, "page", PERIOD_S, PICTURE_S)
        self._commands: deque[feed.Row] = deque(maxlen=_WAITING)
        self._last_frame: int | None = None
        self._snapshot: Facts = dict
        self._next_snapshot = 0.0
        self._retune: Retune | None = None
        self._tuning: dict[str, Any] = {}  # gain and mirror as they are now
        self._player: Player | None = None
        # For the log: what was last told of.
        self._told: dict[str, str] = {}
        self._told_requests = 0.0

    @property
    def url(self) -> str:
        """The operator's address."""
        return self.link.access.url()

    @property
    def looking(self) -> int:
        """How many pages are open and in view."""
        return self.link.looking

    def start(
        self,
        facts: dict[str, Any],
        snapshot: Facts,
        operator: Operator,
        *,
        retune: Retune | None = None,
        player: Player | None = None,
    ) -> None:
        """Serve from now on. facts: for the page's heading. snapshot: what there is to say now. operator,
        retune, player: what the page's buttons, gains and time line work on."""
        self._snapshot, self._operator = snapshot, operator
        self._retune, self._player = retune, player
        if retune is not None:
            self._tuning = {"gain": facts["gain"], "mirror": facts["mirror"]}
        can = {
            "neutral": self._operator.recalibrate is not None,
            "tune": self._retune is not None,
            "play": self._player is not None,
            "hold": self._operator.hold_to_run,
        }
        self._begin(feed.hello(facts | {"can": can}))

    # --- the run's threads ------------------------------------------------------------------------

    def command(self, command: Command) -> None:
        """A command that was sent."""
        age_ms = float("nan")
        if command.t_capture_ns is not None and command.frame_seq != self._last_frame:
            self._last_frame = command.frame_seq
            age_ms = (time.monotonic_ns() - command.t_capture_ns) / 1e6
        state = feed.STATES.index(command.state)
        self._commands.append(feed.Row(command.t_send_ns / 1e6, state, command.flags, age_ms, command.values))

    def offer(self, sight: Sight) -> None:
        """One frame that vision has finished; kept when somebody looks."""
        if self.link.looking:
            self._sight = sight

    # --- the page's thread ------------------------------------------------------------------------

    def _tell_news(self) -> None:
        now = time.monotonic()
        if now >= self._next_snapshot:
            self._next_snapshot = now + SNAPSHOT_S
            facts = self._snapshot()
            self.link.send(feed.snapshot(facts | self._tuning))
            self._tell_changes(facts)

    def _tell_waiting(self) -> None:
        rows: list[feed.Row] = []
        while self._commands:
            rows.append(self._commands.popleft())
        if rows and self.link.looking:
            self.link.send(feed.commands(rows))

    def _tell_pictures(self, sight: Sight) -> None:
        crop = None
        if sight.crop is not None:
            crop = {"affine": sight.crop.affine.ravel().round(2).tolist(), "size": sight.crop.size}
        landmarks = None if sight.landmarks is None else sight.landmarks.round(1).ravel().tolist()
        face_there = sight.robot_face is not None
        facts = {"crop": crop, "landmarks": landmarks, "hint": sight.hint, "face": face_there}
        camera = feed.picture("P", to_bgr(sight.frame), facts)
        face = None if sight.robot_face is None else feed.picture("F", sight.robot_face[..., ::-1], {})
        for message in (camera, face):
            if message is not None:
                self.link.send(message)

    def _tell_changes(self, facts: dict[str, Any]) -> None:
        """The log: states, gears, links, and what was asked for."""
        now = {"state": f"{facts['state']} {facts['reason']}".strip(), "gear": f"gear {facts['gear']}"}
        for link in facts["links"]:
            trouble = f": {link['last_error']}" if link["last_error"] and link["state"] != "up" else ""
            now[link["uri"]] = f"{link['uri']} {link['state']}{trouble}"
        for t_s, text in list(self._operator.log):
            if t_s > self._told_requests:
                self._told_requests = t_s
                self.link.send(feed.log(t_s, text))
        for key, text in now.items():
            if self._told.get(key) != text:
                self.link.send(feed.log(time.time(), text))
        self._told = now

    # --- what the page asks -----------------------------------------------------------------------

    def _obey(self, word: dict[str, Any]) -> None:
        request, by = word.get("do"), str(word.get("by", ""))[:40]
        try:
            if request == "hold":
                self._operator.hold(by)
            elif request == "release":
                self._operator.release_all("page") if not by else self._operator.release(by)
            elif request in REQUESTS:
                self._operator.ask(str(request), by)
            elif request == "tune" and self._retune is not None:
                gain, mirror = _tuning(word)
                self._retune(gain, mirror)
                self._tuning = {"gain": gain, "mirror": mirror}
            elif request == "play" and self._player is not None:
                self._player.order(word)
        except (UserError, TypeError, ValueError, ArithmeticError) as error:
            self.link.send(feed.log(time.time(), f"{request}: {error}"[:200]))


def _tuning(word: dict[str, Any]) -> tuple[dict[str, float], bool]:
    """Gains of all groups within 0..3, and mirror. ValueError for anything else."""
    gains = {str(group): float(gain) for group, gain in dict(word.get("gain", {})).items()}
    if not set(gains) <= set(GROUPS) or not all(0 <= gain <= _HIGHEST_GAIN for gain in gains.values()):
        raise ValueError(f"gains are by group ({', '.join(GROUPS)}), 0 to {_HIGHEST_GAIN:g}")
    return dict.fromkeys(GROUPS, 1.0) | gains, bool(word.get("mirror", False))
