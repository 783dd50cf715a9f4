"""The budget governor: which gear a frame gets, so that its command is on the wire in time.

Gears from best to cheapest, then "hold" (docs/spec/program.md section 6). A frame's prediction is its age
when vision takes it, plus the running p95 of the gear's plan, plus ``wait_ns``: how long finished expressions
wait for their tick, at first a whole actuation period. No gear shortens that wait, so at most half of the
budget counts: else a run with few commands a second would hold for ever, however quick its plan.

In "hold" the face keeps its pose unless a frame is in time after all: such frames are used, late ones
are not. It is left on easier terms than a gear is climbed, after two seconds of frames in time without
the margin: a face that moves just in time is better than one that does not move.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

HOLD: Final = "hold"
MISSES_TO_SHIFT_DOWN: Final = 3
HOPELESS: Final = 4  # budgets; a frame that late is reason enough by itself
MARGIN_TO_SHIFT_UP: Final = 0.8
CALM_NS_TO_SHIFT_UP: Final = 2_000_000_000
WINDOW: Final = 64
# A gear that is not running is not measured. Its last estimate fades, so that it is tried again some
# time after the load that made it slow has gone.
FADE_PER_SECOND: Final = 0.95


@dataclass(frozen=True, slots=True)
class Shift:
    """One decision. t_ns on the run's clock."""

    t_ns: int
    before: str
    after: str
    why: str


class Governor:
    """Used by the vision thread alone; other threads may read ``gear`` and ``shifts``."""

    def __init__(self, gears: tuple[str, ...], budget_ns: int, tick_ns: int) -> None:
        self._gears = (*gears, HOLD)
        self._budget_ns = budget_ns
        self.wait_ns = tick_ns  # whoever ticks keeps it up to date
        self._durations = {gear: deque[int](maxlen=WINDOW) for gear in gears}
        self._left_ns = dict.fromkeys(gears, 0)
        self._index = 0
        self._misses = 0
        self._calm_since_ns: int | None = None
        self.shifts: deque[Shift] = deque(maxlen=256)
        self.shift_count = 0

    @property
    def gear(self) -> str:
        return self._gears[self._index]

    @property
    def running(self) -> str:
        """The pipeline to run: in "hold" the cheapest one still runs, to see when it would make it."""
        return self._gears[min(self._index, len(self._gears) - 2)]

    def p95_ns(self, gear: str) -> int:
        """Running p95 of a gear's plan; 0 before it has run."""
        durations = sorted(self._durations[gear])
        return durations[int(0.95 * (len(durations) - 1))] if durations else 0

    def finished(self, now_ns: int, age_ns: int, plan_ns: int) -> bool:
        """Account for one frame run in ``running``. True when its expression may be used.

        age_ns: capture to the start of the plan. plan_ns: everything from there to the expression.
        """
        self._durations[self.running].append(plan_ns)
        missed = age_ns + plan_ns + self._wait_ns() > self._budget_ns
        predicted = age_ns + self.p95_ns(self.running) + self._wait_ns() > self._budget_ns
        if self.gear == HOLD:
            self._consider_leaving_hold(now_ns, missed)
            return not missed
        hopeless = age_ns + plan_ns > HOPELESS * self._budget_ns
        weight = MISSES_TO_SHIFT_DOWN if hopeless else 1
        self._misses = self._misses + weight if missed or predicted else 0
        if self._misses >= MISSES_TO_SHIFT_DOWN:
            what = "missed" if missed else "would miss"
            self._shift(now_ns, +1, f"{self._misses} frames {what} {self._budget_ns / 1e6:.0f} ms")
        else:
            self._consider_shifting_up(now_ns, age_ns)
        return True

    def _wait_ns(self) -> int:
        return min(self.wait_ns, self._budget_ns // 2)

    def _consider_leaving_hold(self, now_ns: int, missed: bool) -> None:
        if missed:
            self._calm_since_ns = None
        elif self._calm_since_ns is None:
            self._calm_since_ns = now_ns
        elif now_ns - self._calm_since_ns >= CALM_NS_TO_SHIFT_UP:
            self._durations[self.running].clear()  # else the slow ones would shift it down again at once
            self._shift(now_ns, -1, f"{self.running} was in time for 2 s")

    def _consider_shifting_up(self, now_ns: int, age_ns: int) -> None:
        if self._index == 0:
            return
        higher = self._gears[self._index - 1]
        faded = FADE_PER_SECOND ** ((now_ns - self._left_ns[higher]) / 1e9)
        estimate = self.p95_ns(higher) * faded
        if age_ns + estimate + self._wait_ns() > MARGIN_TO_SHIFT_UP * self._budget_ns:
            self._calm_since_ns = None
        elif self._calm_since_ns is None:
            self._calm_since_ns = now_ns
        elif now_ns - self._calm_since_ns >= CALM_NS_TO_SHIFT_UP:
            self._durations[higher].clear()  # as above
            self._shift(now_ns, -1, f"{higher} fits with 20 % margin for 2 s")

    def _shift(self, now_ns: int, step: int, why: str) -> None:
        before = self.gear
        if before in self._left_ns:
            self._left_ns[before] = now_ns
        self._index += step
        self._misses = 0
        self._calm_since_ns = None
        self.shift_count += 1
        self.shifts.append(Shift(now_ns, before, self.gear, why))
