"""When the actuation ticks: at the link's rate, just after expressions arrive.

Expressions come at the camera's rate and ticks at the link's. With a phase of its own a tick would find an
expression half a period old on average. So each period is stretched or shortened, by 5 % at most, to make
a tick fall shortly after the moment at which the next expression is expected. Where the two rates have no
such phase (25 pictures and 60 commands a second), it gets as near as the 5 % allow.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from typing import Final

STRETCH: Final = 0.05  # of the period, either way
_FEWEST: Final = 4  # arrivals before any is expected
_AFTER_NS: Final = 1_000_000  # the latest that is expected
_WAITS: Final = 64


class TickClock:
    """Deadlines on the monotonic clock. Each follows from the one before, never from when a tick really ran,
    so lateness does not add up; deadlines that have passed are left out, so nothing is caught up on in a
    burst.

    ``arrived`` may be called by another thread than the other methods.
    """

    def __init__(self, period_ns: int, start_ns: int) -> None:
        self._period_ns = period_ns
        self.due_ns = start_ns
        self._arrivals: deque[int] = deque(maxlen=16)
        self._waits: deque[int] = deque(maxlen=_WAITS)

    def arrived(self, now_ns: int) -> None:
        """An expression is ready."""
        self._arrivals.append(now_ns)

    def taken(self, now_ns: int) -> int | None:
        """The tick takes the newest expression: how long that waited, ns."""
        if not self._arrivals:
            return None
        wait = max(now_ns - self._arrivals[-1], 0)
        self._waits.append(wait)
        return wait

    @property
    def wait_ns(self) -> int:
        """How long an expression must expect to wait: the 95th percentile of the last 64, or a whole period
        while fewer than half of them are known."""
        waits = sorted(self._waits)
        if len(waits) < _WAITS // 2:
            return self._period_ns
        return min(waits[int(0.95 * (len(waits) - 1))], self._period_ns)

    def advance(self, now_ns: int) -> None:
        """To the next deadline."""
        self.due_ns += self._steered(now_ns)
        if now_ns > self.due_ns:
            self.due_ns += (now_ns - self.due_ns) // self._period_ns * self._period_ns

    def _steered(self, now_ns: int) -> int:
        """The next period: towards a tick on the next target that is not too near to be met."""
        expected = self._expected(now_ns)
        if expected is None:
            return self._period_ns
        target, usual = expected
        left = target - self.due_ns
        left += max(math.ceil((0.5 * self._period_ns - left) / usual), 0) * usual
        ticks = max(round(left / self._period_ns), 1)
        stretch = left / ticks / self._period_ns - 1
        return round(self._period_ns * (1 + min(max(stretch, -STRETCH), STRETCH)))

    def _expected(self, now_ns: int) -> tuple[float, float] | None:
        """When a tick should be for the expression after the last, and how far apart expressions are, ns;
        None where none is expected."""
        arrivals = list(self._arrivals)
        if len(arrivals) < _FEWEST:
            return None
        intervals = sorted(after - before for before, after in pairwise(arrivals))
        usual: float = intervals[len(intervals) // 2]
        last = arrivals[-1]
        if usual <= 0 or now_ns - last > 4 * usual:
            return None
        # They lie about a grid; some places on it may be empty. Most come before the latest one of them.
        places = [round((at - last) / usual) for at in arrivals]
        usual = (last - arrivals[0]) / max(-places[0], 1)
        offsets = sorted(at - last - place * usual for at, place in zip(arrivals, places, strict=True))
        middle = offsets[len(offsets) // 2]
        return last + usual + min(offsets[-1], middle + self._period_ns / 4) + _AFTER_NS, usual
