"""``sim --monitor``: what the virtual robot received and how its face stands, on the page."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from x2c_edge.links.codec import STATES
from x2c_edge.monitor import feed
from x2c_edge.robot.simulator import Simulator
from x2c_edge.runtime.page_link import PageLink

PERIOD_S: Final = 1 / 60
SNAPSHOT_EVERY: Final = 15
_CAN: Final = {"look_only": True, "pictures": False}


class SimPage:
    """Shows a simulator until ``close``. Nothing can be asked of it: a robot is stopped by its sender."""

    def __init__(self, address: str, simulator: Simulator, uri: str) -> None:
        self.link = PageLink(address, lambda word: None)
        self._simulator, self._uri = simulator, uri
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="page", daemon=True)

    def start(self) -> None:
        """Serve from now on."""
        self.link.start(feed.hello({"source": f"virtual Ameca on {self._uri}", "can": _CAN}, STATES))
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._closing.set()
        self._thread.join(2.0)
        self.link.close()

    def _work(self) -> None:
        ticks, told = 0, ""
        while not self._closing.wait(PERIOD_S):
            receiver = self._simulator.receiver
            row = feed.Row(
                time.monotonic() * 1e3, receiver.state, 0, float("nan"), receiver.actuators.positions.copy()
            )
            if self.link.looking:
                self.link.send(feed.commands([row]))
            if ticks % SNAPSHOT_EVERY == 0:
                self.link.send(feed.snapshot(self._facts()))
                if self._simulator.state != told:
                    told = self._simulator.state
                    self.link.send(feed.log(time.time(), told))
            ticks += 1

    def _facts(self) -> dict[str, Any]:
        tally = self._simulator.receiver.tally
        counts = ("applied", "gap", "duplicate", "late", "stale", "foreign", "ignored", "limited", "ends")
        lines = {name: getattr(tally, name) for name in counts}
        lines["violations"] = f"{self._simulator.violations} {tally.worst}".strip()
        return {"state": self._simulator.state, "reason": "", "gear": "", "lines": lines}
