"""A steady square: still at rest, close behind (or with) the face in motion.

Three parts, in this order. A One-Euro filter (``x2c_edge/one_euro.py``) takes the noise out
of centre, log size and roll, less the faster they change. A dead band then holds each of them until it
has left the band, so that at rest the crop does not move at all. Last, the centre's own speed carries it
over the time between the landmarks and the frame that is cropped.

The size is filtered more slowly than the rest: opening the jaw makes the landmarks' box higher, and the
crop must not pump with it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from x2c_edge.face.crop_geometry import Square
from x2c_edge.one_euro import OneEuro

Array = NDArray[np.float64]

# Components: centre x, centre y (in sides of the square), log side, roll (radians).
_MIN_CUTOFF = np.array([1.0, 1.0, 0.4, 1.0])  # Hz
_BETA = np.array([40.0, 40.0, 3.0, 25.0])  # Hz per (unit/s)
_SPEED_CUTOFF = np.array([6.0, 6.0, 1.5, 6.0])  # Hz
_BAND = np.array([0.006, 0.006, 0.015, 0.010])
_REST_SPEED = 0.08  # sides/s: slower than this the centre is at rest
_LONGEST_LEAD = 0.1  # s
_SHORTEST_STEP = 1e-3  # s


class SteadySquare:
    """The square of one face over time. Times are the frames' nanoseconds."""

    def __init__(self, square: Square, t_ns: int) -> None:
        self._filter = OneEuro(_MIN_CUTOFF, _BETA, _SPEED_CUTOFF, leads=True)
        self.snap(square, t_ns)

    def snap(self, square: Square, t_ns: int) -> None:
        """Take ``square`` as it is and forget the motion."""
        self._held = _vector(square)
        self._filter.reset(self._held)
        self._t_ns = t_ns

    def update(self, square: Square, t_ns: int) -> None:
        """The face as measured at ``t_ns``. Time that does not pass counts as a millisecond."""
        measured = _vector(square)
        measured[3] = self._held[3] + math.remainder(measured[3] - self._held[3], 2 * math.pi)
        side = math.exp(self._held[2])
        unit = np.array([side, side, 1.0, 1.0])
        smooth = self._filter.step(measured, max((t_ns - self._t_ns) / 1e9, _SHORTEST_STEP), unit)
        band = _BAND * unit * min(1.0, _REST_SPEED / max(self._speed(), 1e-9))
        self._held = np.clip(self._held, smooth - band, smooth + band)
        self._t_ns = t_ns

    def at(self, t_ns: int) -> Square:
        """Where to expect the face at ``t_ns``."""
        x, y, log_side, roll = self._held.tolist()
        side = math.exp(log_side)
        vx, vy = self._filter.speed[:2].tolist()
        # Fades in above the rest speed, so that noise at rest does not shake the crop.
        moving = max(0.0, 1 - _REST_SPEED / max(self._speed(), 1e-9))
        lead = moving * min(max((t_ns - self._t_ns) / 1e9, 0.0), _LONGEST_LEAD)
        return Square(x + vx * lead, y + vy * lead, side, roll)

    def _speed(self) -> float:
        """Of the centre, in sides per second."""
        vx, vy, *_ = self._filter.speed.tolist()
        return math.hypot(vx, vy) / math.exp(self._held[2])


def _vector(square: Square) -> Array:
    return np.array([square.x, square.y, math.log(square.side), square.roll])
