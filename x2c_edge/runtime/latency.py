"""Where the time went: constant-memory latency histograms for a whole run (docs/spec/program.md section 6).

Each histogram has one writer thread. Any thread may read at any time without a lock: counts are
64-bit cells that only grow, so a reader sees a distribution that misses at most the samples being
added at that moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# The log-linear scheme of HdrHistogram: linear in steps of UNIT up to 2 * HALF units, then HALF linear
# buckets for every doubling. From 1 us (125 units) up, a bucket is at most 1/64 as wide as its low end,
# so that its middle is within 0.8 % of every value inside.
_UNIT_BITS: Final = 3  # 8 ns
_HALF_BITS: Final = 6
_HALF: Final = 1 << _HALF_BITS
_LONGEST_NS: Final = 100_000_000_000


def _bucket(ns: int) -> int:
    units = ns >> _UNIT_BITS
    shift = units.bit_length() - _HALF_BITS - 1
    return units if shift <= 0 else (shift << _HALF_BITS) + (units >> shift)


def _low_edges(buckets: int) -> NDArray[np.float64]:
    index = np.arange(buckets + 1, dtype=np.int64)
    shift = np.maximum((index >> _HALF_BITS) - 1, 0)
    edges = ((index - (shift << _HALF_BITS)) << shift) << _UNIT_BITS
    return np.asarray(edges, dtype=np.float64)


_BUCKETS: Final = _bucket(_LONGEST_NS) + 1
_EDGES: Final = _low_edges(_BUCKETS)
_EDGES.flags.writeable = False
_MIDDLES: Final = (_EDGES[:-1] + _EDGES[1:]) / 2


class Histogram:
    """Durations in nanoseconds, 1 us to 100 s, percentiles within 1 %; 15 kB whatever is added.

    Below 1 us the resolution is 8 ns. A negative duration counts as 0 and one above 100 s falls into
    the last bucket; ``max_ns`` and ``mean_ns`` are exact for all.
    """

    __slots__ = ("_cells", "_counts", "_max", "_total")

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros(_BUCKETS, dtype=np.int64)
        self._cells = self._counts.data  # three times as quick to increment as the array
        self._total = 0
        self._max = 0

    def add(self, ns: int) -> None:
        """Count one duration."""
        if ns < 0:
            ns = 0
        self._cells[_bucket(ns) if ns < _LONGEST_NS else _BUCKETS - 1] += 1
        self._total += ns
        if ns > self._max:
            self._max = ns

    def merge(self, other: Histogram) -> None:
        """Add everything that ``other`` holds. Counts as writing to this one."""
        self._counts += other._counts
        self._total += other._total
        self._max = max(self._max, other._max)

    @property
    def count(self) -> int:
        """How many durations were added."""
        return int(self._counts.sum())

    @property
    def max_ns(self) -> int:
        """The longest, exact; 0 when empty."""
        return self._max

    @property
    def mean_ns(self) -> float:
        """The mean, exact; 0 when empty."""
        count = self.count
        return self._total / count if count else 0.0

    def percentile(self, q: float) -> float:
        """The duration in ns that ``q`` percent do not exceed (nearest rank), q in 0..100; 0 when empty."""
        return self.percentiles(q)[0]

    def percentiles(self, *qs: float) -> list[float]:
        """Several percentiles of one and the same moment."""
        cumulative = np.cumsum(self._counts)
        count = int(cumulative[-1])
        if count == 0:
            return [0.0] * len(qs)
        ranks = [min(max(math.ceil(q * count / 100), 1), count) for q in qs]
        buckets = np.searchsorted(cumulative, ranks)
        return [min(float(_MIDDLES[bucket]), float(self._max)) for bucket in buckets]

    def cumulative(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(edges in ns, how many durations are below each edge); both (buckets + 1,)."""
        return _EDGES, np.concatenate(([0], np.cumsum(self._counts)))


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One histogram as numbers, milliseconds."""

    name: str
    count: int
    p50: float
    p95: float
    p99: float
    max: float
    mean: float


END_TO_END: Final = ("capture_to_controls", "capture_to_wire")


class LatencyBook:
    """The latency accounts of one run.

    stages: histograms by stage name, in the order of the journey ("queue", "locate", the plan's steps,
    ...). capture_to_controls, capture_to_wire: a frame's age when its expression is ready and
    when its command leaves. tick_jitter: how late the actuation tick was. tick_wait: how long an expression
    waited for its tick. overhead: vision time per frame that no stage accounts for. misses: frames whose
    command left later than the budget. skips: frames captured but never processed. gear_seconds: time spent
    in each gear.

    One writer thread per histogram and per counter.
    """

    def __init__(self, stages: Iterable[str] = ()) -> None:
        self.stages: dict[str, Histogram] = {name: Histogram() for name in stages}
        self.capture_to_controls = Histogram()
        self.capture_to_wire = Histogram()
        self.tick_jitter = Histogram()
        self.tick_wait = Histogram()
        self.overhead = Histogram()
        self.misses = 0
        self.skips = 0
        self.gear_seconds: dict[str, float] = {}
        self._gear: str | None = None
        self._gear_since_ns = 0

    def stage(self, name: str) -> Histogram:
        """The stage's histogram; a new name is added at the end. Adding is for start-up."""
        if name not in self.stages:
            self.stages[name] = Histogram()
        return self.stages[name]

    def note_gear(self, gear: str, now_ns: int) -> None:
        """From ``now_ns`` on ``gear`` is in use; the time since the last note goes to the gear before.

        Call it at every shift, and now and then in between to keep ``gear_seconds`` up to date.
        """
        if self._gear is not None:
            spent = max(now_ns - self._gear_since_ns, 0) / 1e9
            self.gear_seconds[self._gear] = self.gear_seconds.get(self._gear, 0.0) + spent
        self._gear = gear
        self._gear_since_ns = now_ns

    def histograms(self) -> Iterator[tuple[str, Histogram]]:
        """All of them, by name: stages first, then end to end, the tick and overhead."""
        yield from list(self.stages.items())
        for name in (*END_TO_END, "tick_jitter", "tick_wait", "overhead"):
            yield name, getattr(self, name)

    def rows(self) -> list[LatencyRow]:
        """Every histogram as numbers, in the order of ``histograms``."""
        return [_row(name, histogram) for name, histogram in self.histograms()]

    def dominant(self) -> tuple[str, float] | None:
        """The stage with the longest p50 and its share (0..1) of the sum of all stages' p50.

        None when no stage has been timed.
        """
        typical = {name: histogram.percentile(50) for name, histogram in list(self.stages.items())}
        total = sum(typical.values())
        if total == 0:
            return None
        slowest = max(typical, key=lambda name: typical[name])
        return slowest, typical[slowest] / total

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Times in ms; every histogram as {count, p50, p95, p99, max, mean}."""
        numbers = {row.name: {k: v for k, v in asdict(row).items() if k != "name"} for row in self.rows()}
        dominant = self.dominant()
        return {
            "unit": "ms",
            "stages": {name: numbers[name] for name in self.stages},
            "end_to_end": {name: numbers[name] for name in END_TO_END},
            "tick_jitter": numbers["tick_jitter"],
            "tick_wait": numbers["tick_wait"],
            "overhead": numbers["overhead"],
            "misses": self.misses,
            "skips": self.skips,
            "gear_seconds": dict(self.gear_seconds),
            "dominant": None if dominant is None else {"stage": dominant[0], "share": dominant[1]},
        }


def _row(name: str, histogram: Histogram) -> LatencyRow:
    p50, p95, p99 = (ns / 1e6 for ns in histogram.percentiles(50, 95, 99))
    return LatencyRow(name, histogram.count, p50, p95, p99, histogram.max_ns / 1e6, histogram.mean_ns / 1e6)
