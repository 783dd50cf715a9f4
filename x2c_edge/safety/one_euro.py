"""One-Euro smoothing of the 30 controls: still at rest, quick in motion.

Casiez, Roussel and Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
Interactive Systems", CHI 2012, algorithm 1. A first-order low-pass whose cutoff rises with the speed of
the input: ``cutoff = min_cutoff + beta * |speed|``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import N_CONTROLS, indices
from x2c_edge.errors import BadArgumentError
from x2c_edge.within import Within


@dataclass(frozen=True, slots=True)
class OneEuroSettings:
    """One group's filter.

    min_cutoff: Hz, the cutoff at rest; lower trembles less. beta: Hz per (paper unit per second); higher
    lags less in motion. d_cutoff: Hz, smoothing of the speed that beta multiplies.
    """

    min_cutoff: Annotated[float, Within(1e-3, 1e6)]
    beta: Annotated[float, Within(0, 1e6)]
    d_cutoff: Annotated[float, Within(1e-3, 1e6)] = 1.0

    def __post_init__(self) -> None:
        for name, lowest in (("min_cutoff", 1e-3), ("beta", 0.0), ("d_cutoff", 1e-3)):
            value = getattr(self, name)
            if not (lowest <= value <= 1e6):
                raise BadArgumentError(f"smoothing {name}: {value:g} is not allowed; use {lowest:g} to 1e6")


# At 30 Hz these leave 0.011 to 0.017 of an input noise of 0.03 (std, paper units), while a 100 ms blink keeps
# 90 % of its depth and a 20 degree saccade has gone 83 % of its way in the first frame after it, 96 % in the
# next (tests/safety/test_one_euro.py).
@dataclass(frozen=True, slots=True)
class SmoothingSettings:
    """One filter per control group."""

    brows: OneEuroSettings = OneEuroSettings(1.0, 3.0, 2.0)
    eyelids: OneEuroSettings = OneEuroSettings(1.0, 4.5, 3.0)
    gaze: OneEuroSettings = OneEuroSettings(1.0, 4.5, 3.0)
    nose: OneEuroSettings = OneEuroSettings(1.0, 3.0, 2.0)
    jaw: OneEuroSettings = OneEuroSettings(1.0, 4.0, 3.0)
    lips: OneEuroSettings = OneEuroSettings(1.0, 3.0, 2.0)
    head: OneEuroSettings = OneEuroSettings(0.7, 3.0, 1.0)


class OneEuro:
    """The filter's state for one stream of poses. Nothing is allocated after construction."""

    __slots__ = ("_beta", "_d_rate", "_gain", "_min_rate", "_out", "_rate", "_speed", "_started", "_tmp")

    def __init__(self, settings: SmoothingSettings) -> None:
        self._min_rate = np.empty(N_CONTROLS)
        self._beta = np.empty(N_CONTROLS)
        self._d_rate = np.empty(N_CONTROLS)
        for group in fields(settings):
            one: OneEuroSettings = getattr(settings, group.name)
            where = indices(group.name)  # type: ignore[arg-type]
            self._min_rate[where] = 2 * math.pi * one.min_cutoff
            self._beta[where] = 2 * math.pi * one.beta
            self._d_rate[where] = 2 * math.pi * one.d_cutoff
        self._out = np.zeros(N_CONTROLS)
        self._speed = np.zeros(N_CONTROLS)
        self._gain = np.empty(N_CONTROLS)
        self._rate = np.empty(N_CONTROLS)
        self._tmp = np.empty(N_CONTROLS)
        self._started = False

    def reset(self) -> None:
        """Forget the past: the next pose passes unchanged."""
        self._started = False

    def step(self, values: NDArray[np.float64], dt_s: float) -> NDArray[np.float64]:
        """The smoothed pose for ``values`` (30,), ``dt_s`` seconds after the pose before.

        ``values`` must be finite and moderate (clamped). Without time passed (``dt_s`` <= 0) the last
        output stands. The result is the filter's own buffer, overwritten by the next call.
        """
        if not self._started:
            self._started = True
            self._out[:] = values
            self._speed[:] = 0
        elif dt_s > 0:
            np.subtract(values, self._out, out=self._tmp)
            # gain of a first-order low-pass: r / (1 + r) with r = 2 pi cutoff dt
            np.multiply(self._d_rate, dt_s, out=self._rate)
            np.add(self._rate, 1, out=self._gain)
            np.divide(self._rate, self._gain, out=self._gain)
            np.divide(self._tmp, dt_s, out=self._rate)
            np.subtract(self._rate, self._speed, out=self._rate)
            np.multiply(self._rate, self._gain, out=self._rate)
            np.add(self._speed, self._rate, out=self._speed)
            np.abs(self._speed, out=self._rate)
            np.multiply(self._rate, self._beta, out=self._rate)
            np.add(self._rate, self._min_rate, out=self._rate)
            np.multiply(self._rate, dt_s, out=self._rate)
            np.add(self._rate, 1, out=self._gain)
            np.divide(self._rate, self._gain, out=self._gain)
            np.multiply(self._tmp, self._gain, out=self._tmp)
            np.add(self._out, self._tmp, out=self._out)
        return self._out
