"""Key-framed animations of the 30 controls (the paper's section 2.3, Eqs. 1-3).

Between two key frames a control follows a cubic Bézier curve, a line, or holds the first one's value.
``animation_text`` reads and writes them; ``x2c_edge/robot/animations`` has the hand-made ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x2c_edge.controls import CONTROLS, NEUTRAL
from x2c_edge.errors import BadArgumentError

Interpolation = Literal["bezier", "linear", "hold"]
INTERPOLATIONS: Final[tuple[Interpolation, ...]] = ("bezier", "linear", "hold")
LONGEST_S: Final = 3600.0
_HALVINGS: Final = 48  # of the curve's parameter: to about the precision of a float64
_SLACK: Final = 1e-9  # sums of decimals may end this far beyond a range


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A key frame: seconds, paper units, and how the control gets from here to the next key frame.

    handles: for "bezier", (out_dt, out_dv, in_dt, in_dv). The curve's inner points are
    (time + out_dt, value + out_dv) and (next time - in_dt, next value + in_dv); both dt lie in 0..the
    interval, so that time never runs backwards. None eases out and in: thirds of the interval, dv = 0.
    """

    time: float
    value: float
    interpolation: Interpolation = "bezier"
    handles: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Animation:
    """tracks: key frames by control index; controls without a track stay neutral.

    Before its first and after its last key frame a control keeps that key frame's value.
    ``BadArgumentError`` names the control and the key frame that break a rule (see ``track_problem``).
    """

    name: str
    tags: tuple[str, ...] = ()
    tracks: Mapping[int, tuple[KeyFrame, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for index, keys in self.tracks.items():
            problem = track_problem(index, keys)
            if problem:
                position, what = problem
                raise BadArgumentError(
                    f"animation {self.name!r}, {CONTROLS[index].name}, key frame {position + 1}: {what}"
                )

    @property
    def duration(self) -> float:
        """Time of the last key frame of all tracks, seconds."""
        return max((keys[-1].time for keys in self.tracks.values()), default=0.0)

    def sample(self, times: ArrayLike) -> NDArray[np.float64]:
        """The controls at times (T,), seconds -> (T, 30) float64, paper units."""
        t = np.asarray(times, dtype=np.float64)
        values = np.tile(NEUTRAL, (len(t), 1))
        if self.tracks:
            columns = list(self.tracks)
            pieces = np.concatenate([_pieces(self.tracks[column], t) for column in columns])
            values[:, columns] = _curve(pieces, np.tile(t, len(columns))).reshape(len(columns), -1).T
        return values


def track_problem(index: int, keys: tuple[KeyFrame, ...]) -> tuple[int, str] | None:
    """The first broken rule of one control's key frames: (position, what and what to do), or None.

    Times rise and lie in 0..an hour; values, and the ends of handles, which a Bézier curve stays between,
    lie in the control's range; handles end within their interval.
    """
    if not keys:
        return 0, "the track has no key frames; give it one or remove it"
    control = CONTROLS[index]
    low, high = control.low - _SLACK, control.high + _SLACK
    for i, key in enumerate(keys):
        if not 0 <= key.time <= LONGEST_S:
            return i, f"time {key.time:g}; give seconds in 0..{LONGEST_S:g}"
        if i and key.time <= keys[i - 1].time:
            return i, f"time {key.time:g} does not come after {keys[i - 1].time:g}; put key frames in order"
        if not low <= key.value <= high:
            return i, f"value {key.value:g}; give {control.low:g}..{control.high:g}"
        if key.handles is None:
            continue
        if not all(math.isfinite(number) for number in key.handles):
            return i, "a handle is not finite; give numbers"
        out_dt, out_dv, in_dt, in_dv = key.handles
        if not low <= key.value + out_dv <= high:
            return i, f"a handle ends at {key.value + out_dv:g}; keep it in {control.low:g}..{control.high:g}"
        if i + 1 == len(keys):
            continue
        interval = keys[i + 1].time - key.time + _SLACK
        if not (0 <= out_dt <= interval and 0 <= in_dt <= interval):
            return i, f"handle times {out_dt:g}, {in_dt:g}; keep both in 0..{interval:g}, the interval"
        if not low <= keys[i + 1].value + in_dv <= high:
            ends = keys[i + 1].value + in_dv
            return i, f"a handle ends at {ends:g}; keep it in {control.low:g}..{control.high:g}"
    return None


def _pieces(keys: tuple[KeyFrame, ...], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The piece of a track that each time falls on: (T, 9), four points x, y and the kind's number."""
    rows = []
    for key, end in zip(keys, (*keys[1:], keys[-1]), strict=True):
        third = (end.time - key.time) / 3
        out_dt, out_dv, in_dt, in_dv = key.handles or (third, 0.0, third, 0.0)
        kind = INTERPOLATIONS.index(key.interpolation if end is not key else "hold")
        start = (key.time, key.value, key.time + out_dt, key.value + out_dv)
        rows.append((*start, end.time - in_dt, end.value + in_dv, end.time, end.value, kind))
    place = np.searchsorted([key.time for key in keys], times, side="right") - 1
    pieces = np.array(rows)[np.maximum(place, 0)]
    pieces[place < 0, 8] = INTERPOLATIONS.index("hold")
    return pieces


def _curve(pieces: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (M,) of pieces (M, 9) at times (M,)."""
    x0, y0, x1, y1, x2, y2, x3, y3, kind = pieces.T
    values = y0.copy()
    line = kind == INTERPOLATIONS.index("linear")
    share = (t[line] - x0[line]) / (x3[line] - x0[line])
    values[line] += share * (y3[line] - y0[line])
    curve = kind == INTERPOLATIONS.index("bezier")
    at = (t - x0)[curve]  # from the piece's start, so that the curve meets its first point exactly
    xs = [(x - x0)[curve] for x in (x0, x1, x2, x3)]
    low, high = np.zeros(len(at)), np.ones(len(at))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        before = _bezier(middle, xs) < at
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    values[curve] = _bezier((low + high) / 2, [y[curve] for y in (y0, y1, y2, y3)])
    return np.asarray(values)


def _bezier(u: NDArray[np.float64], points: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    p0, p1, p2, p3 = points
    v = 1 - u
    return np.asarray(v * v * v * p0 + 3 * v * u * (v * p1 + u * p2) + u * u * u * p3)
