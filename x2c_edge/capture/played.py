"""A paced file under somebody's hand: pause, step, another speed."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import Any, Final

from x2c_edge.capture.base import Source
from x2c_edge.capture.pacing import Paced
from x2c_edge.frames import Frame

SLOWEST, FASTEST = 0.05, 4.0
_MOST_STEPS: Final = 100
_WAITING_ORDERS: Final = 64


class Played(Paced):
    """While paused the newest frame is handed out again and again, as if its moment lasted.

    paused, speed: as they are now. Orders come from any thread; ``read`` from one.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._orders: deque[dict[str, Any]] = deque(maxlen=_WAITING_ORDERS)
        self._steps = 0
        self.paused = False

    @property
    def speed(self) -> float:
        return self._speed

    def order(self, word: dict[str, Any]) -> None:
        """{"pause": bool}, {"step": frames}, which also pauses, {"speed": factor}. ValueError otherwise."""
        speed, steps = float(word.get("speed", 1.0)), int(word.get("step", 0))
        if not SLOWEST <= speed <= FASTEST or not 0 <= steps <= _MOST_STEPS:
            raise ValueError(f"speed {SLOWEST:g} to {FASTEST:g}, up to {_MOST_STEPS} steps")
        self._orders.append(word)

    def read(self, timeout_s: float) -> Frame | None:
        self._obey()
        if not self.paused or self._latest is None:
            return super().read(timeout_s)
        if self._steps:
            frame = self._next or self._following(timeout_s)
            if frame is None:
                return None
            self._steps -= 1
            self._latest, self._next = frame, None
        else:
            time.sleep(min(timeout_s, 1 / self.nominal_fps))
        return replace(self._latest, t_capture_ns=time.monotonic_ns())

    def _obey(self) -> None:
        while self._orders:
            word = self._orders.popleft()
            if "speed" in word:
                self._speed = float(word["speed"])
            if "pause" in word:
                self.paused = bool(word["pause"])
                self._steps = 0
            if "step" in word:
                self.paused = True
                self._steps += int(word["step"])
            self._start_ns = None  # the next frame is due now, the others count from it
