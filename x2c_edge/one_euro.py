"""The One-Euro filter on a vector: still at rest, quick in motion.

Casiez, Roussel and Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
Interactive Systems", CHI 2012, algorithm 1. A first-order low-pass whose cutoff rises with the speed of
the input: ``cutoff = min_cutoff + beta * |speed|``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class OneEuro:
    """n components at once. ``value`` and ``speed`` (n,), per second, are its state.

    Nothing is allocated after construction: both are overwritten by every step.
    """

    __slots__ = ("_beta", "_d_rate", "_gain", "_min_rate", "_rate", "_seen", "_tmp", "speed", "value")

    def __init__(self, min_cutoff: Array, beta: Array, d_cutoff: Array, *, leads: bool) -> None:
        """min_cutoff (n,): Hz, the cutoff at rest. beta (n,): Hz for each unit of speed. d_cutoff (n,): Hz,
        of the speed's own low-pass.

        leads: whether anybody predicts with ``speed``. Then it is that of the measurements, free of the
        filter's lag; else, as in the paper, it is taken from the last output, which calms a tremble more.
        """
        self._min_rate, self._beta = 2 * math.pi * min_cutoff, 2 * math.pi * beta
        self._d_rate = 2 * math.pi * d_cutoff
        self.value, self.speed = np.zeros_like(min_cutoff), np.zeros_like(min_cutoff)
        # What the next speed is taken from; without ``leads`` that is the very array of the output.
        self._seen = np.zeros_like(min_cutoff) if leads else self.value
        self._gain, self._rate, self._tmp = (np.empty_like(min_cutoff) for _ in range(3))

    def reset(self, value: Array) -> None:
        """Be at ``value``, at rest."""
        self.value[:] = self._seen[:] = value
        self.speed[:] = 0

    def step(self, measured: Array, dt_s: float, unit: ArrayLike = 1.0) -> Array:
        """``value`` after ``dt_s`` > 0 seconds. unit: how much of each component counts as 1 in the speed
        that sets the cutoff."""
        gain, rate, tmp = self._gain, self._rate, self._tmp
        # gain of a first-order low-pass: r / (1 + r) with r = 2 pi cutoff dt
        np.multiply(self._d_rate, dt_s, out=rate)
        np.add(rate, 1, out=gain)
        np.divide(rate, gain, out=gain)
        np.subtract(measured, self._seen, out=tmp)
        np.divide(tmp, dt_s, out=rate)
        np.subtract(rate, self.speed, out=rate)
        np.multiply(rate, gain, out=rate)
        np.add(self.speed, rate, out=self.speed)
        np.abs(self.speed, out=rate)
        np.divide(rate, unit, out=rate)
        np.multiply(rate, self._beta, out=rate)
        np.add(rate, self._min_rate, out=rate)
        np.multiply(rate, dt_s, out=rate)
        np.add(rate, 1, out=gain)
        np.divide(rate, gain, out=gain)
        np.subtract(measured, self.value, out=tmp)
        np.multiply(tmp, gain, out=tmp)
        np.add(self.value, tmp, out=self.value)
        if self._seen is not self.value:
            self._seen[:] = measured
        return self.value
