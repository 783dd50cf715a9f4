"""Smoothing of the 30 controls: a One-Euro filter (``x2c_edge/one_euro.py``) with settings for each group."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import N_CONTROLS, indices
from x2c_edge.errors import BadArgumentError
from x2c_edge.one_euro import OneEuro
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
# next (tests/safety/test_smoothing.py).
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


class Smoothing:
    """The filter's state for one stream of poses. Nothing is allocated after construction."""

    __slots__ = ("_filter", "_started")

    def __init__(self, settings: SmoothingSettings) -> None:
        columns = np.empty((3, N_CONTROLS))
        for group in fields(settings):
            one: OneEuroSettings = getattr(settings, group.name)
            where = indices(group.name)  # type: ignore[arg-type]
            columns[:, where] = [[one.min_cutoff], [one.beta], [one.d_cutoff]]
        self._filter = OneEuro(*columns, leads=False)
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
            self._filter.reset(values)
        elif dt_s > 0:
            self._filter.step(values, dt_s)
        return self._filter.value
