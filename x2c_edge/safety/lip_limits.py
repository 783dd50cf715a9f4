"""Lip ranges that depend on the jaw and on each other (docs/spec/links.md section 2.2).

The robot enforces the same map at 60 Hz. Applying it here keeps what we believe we sent equal to what
the face does, and protects a robot that has no limiter of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import HIGH, INDEX, LOW

_JAW: Final = INDEX["Jaw Pitch"]
_BOTTOM_MIDDLE: Final = INDEX["Lip Bottom Depress Middle"]
_TOP_MIDDLE: Final = INDEX["Lip Top Raise Middle"]
_BOTTOM_CURL: Final = INDEX["Lip Bottom Curl"]
_TOP_CURL: Final = INDEX["Lip Top Curl"]
_LIPS: Final = (_JAW, _BOTTOM_MIDDLE, _BOTTOM_CURL, _TOP_MIDDLE, _TOP_CURL)


@dataclass(frozen=True, slots=True)
class _Ramp:
    """The rising line through two points, constant outside them."""

    x0: float
    y0: float
    x1: float
    y1: float

    def at(self, x: float) -> float:
        u = min(max((x - self.x0) / (self.x1 - self.x0), 0.0), 1.0)
        return self.y0 + u * (self.y1 - self.y0)

    def last(self, y: float) -> float:
        """The greatest x where the ramp is not above y."""
        return math.inf if y >= self.y1 else -math.inf if y < self.y0 else self._where(y)

    def first(self, y: float) -> float:
        """The least x where the ramp is not below y."""
        return -math.inf if y <= self.y0 else self._where(y)

    def _where(self, y: float) -> float:
        return self.x0 + (y - self.y0) / (self.y1 - self.y0) * (self.x1 - self.x0)


# Section 2.2. The top lip's middle is bound by jaw - 0.75 * bottom lip's middle; its curl from both sides.
_BOTTOM_OVER_JAW: Final = _Ramp(0.7, 0.0, 1.0, 0.40)
_RELIEF: Final = 0.75
_TOP_OVER_JAW: Final = _Ramp(0.4, 0.0, 0.7, 0.5)
_CURL_OVER_BOTTOM: Final = _Ramp(0.0, 0.1, 1.0, 0.85)
_CURL_OVER_TOP: Final = _Ramp(0.0, 0.0, 1.0, 0.75)
_CURL_UNDER_TOP: Final = _Ramp(0.0, 0.7, 0.2, 1.0)


@dataclass(frozen=True, slots=True)
class _Reach:
    """How far jaw and lips may go so that what depends on them finds a place between ``low`` and ``high``.

    lift: the most that jaw - 0.75 * bottom may be.
    """

    jaw: float
    bottom: float
    top_least: float
    top: float
    lift: float

    @classmethod
    def between(cls, low: NDArray[np.float64], high: NDArray[np.float64]) -> _Reach:
        bottom = min(float(high[_BOTTOM_MIDDLE]), _CURL_OVER_BOTTOM.last(float(high[_BOTTOM_CURL])))
        top = min(float(high[_TOP_MIDDLE]), _CURL_OVER_TOP.last(float(high[_TOP_CURL])))
        top_least = max(float(low[_TOP_MIDDLE]), _CURL_UNDER_TOP.first(float(low[_TOP_CURL])))
        lift = _TOP_OVER_JAW.last(top)
        jaw = min(float(high[_JAW]), _BOTTOM_OVER_JAW.last(bottom), lift + _RELIEF * bottom)
        return cls(jaw, bottom, top_least, top, lift)


def limit_lips(
    values: NDArray[np.float64], low: NDArray[np.float64] = LOW, high: NDArray[np.float64] = HIGH
) -> None:
    """Moves jaw and lips of ``values`` into their conditional ranges, in place. All (30,), paper units.

    In the specification's order, because each bound uses the limited value of the one before: bottom
    lip's middle (bound by the jaw), top lip's middle (by jaw and bottom lip), then the two curls.
    ``low`` and ``high`` bound what is within reach, ``values`` lie between them: lips make room for the jaw,
    and where they cannot, it waits for them. The result is allowed whenever any pose between them is.
    """
    reach = _Reach.between(low, high)
    jaw = min(float(values[_JAW]), reach.jaw)
    bottom = max(float(values[_BOTTOM_MIDDLE]), _BOTTOM_OVER_JAW.at(jaw), (jaw - reach.lift) / _RELIEF)
    bottom = min(bottom, reach.bottom)
    top = max(float(values[_TOP_MIDDLE]), _TOP_OVER_JAW.at(jaw - _RELIEF * bottom), reach.top_least)
    top = min(top, reach.top)
    values[_JAW] = jaw
    values[_BOTTOM_MIDDLE] = bottom
    values[_TOP_MIDDLE] = top
    values[_BOTTOM_CURL] = max(float(values[_BOTTOM_CURL]), _CURL_OVER_BOTTOM.at(bottom))
    values[_TOP_CURL] = min(max(float(values[_TOP_CURL]), _CURL_OVER_TOP.at(top)), _CURL_UNDER_TOP.at(top))


def pinned_lips(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[int, ...]:
    """Jaw and lips when no pose between ``low`` and ``high`` is in their conditional ranges, or none."""
    reach = _Reach.between(low, high)
    if reach.bottom < low[_BOTTOM_MIDDLE] or reach.top < reach.top_least or reach.jaw < low[_JAW]:
        return _LIPS
    return ()
