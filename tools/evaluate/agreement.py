"""How well a run's controls agree with labels: correlation, error, constant offset, gain, lag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.evaluate.single_stage_report import EXPRESSIBLE
from x2c_edge.controls import NAMES

Array = NDArray[np.float64]
MOVES = 0.02  # standard deviation of a label, below which a correlation is one with the labeller's noise
LAGS_S = np.arange(-0.10, 0.301, 1 / 60)
LEAST_R = 0.2  # below which the best of so many shifts is chance


@dataclass(frozen=True)
class Agreement:
    """Each (30,). r and gain (slope of the values on the labels) are NaN where the label does not move."""

    r: Array
    error: Array
    offset: Array
    gain: Array

    def mean(self, name: str) -> float:
        """Over the face controls; the offset's size."""
        values = np.abs(self.offset) if name == "offset" else getattr(self, name)
        kept = values[EXPRESSIBLE]
        return float(np.nanmean(kept)) if np.isfinite(kept).any() else float("nan")


def agreement(values: Array, labels: Array, moves: float = MOVES) -> Agreement:
    """values, labels: (N, 30) at the same moments. ValueError where one is not finite: a control would drop
    out of the means as if it had nothing to show."""
    for name, given in (("values", values), ("labels", labels)):
        if not np.isfinite(given).all():
            row, control = np.argwhere(~np.isfinite(given))[0]
            raise ValueError(f"{name}[{row}], {NAMES[control]}: {given[row, control]}, not a finite number")
    found, wanted = values - values.mean(0), labels - labels.mean(0)
    spread, wanted_spread = found.std(0), wanted.std(0)
    together = (found * wanted).mean(0)
    still = wanted_spread < moves
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.where(still | (spread < 1e-9), np.nan, together / (spread * wanted_spread))
        gain = np.where(still, np.nan, together / wanted_spread**2)
    # A value that never moves agrees with nothing.
    r = np.where(~still & (spread < 1e-9), 0.0, r)
    return Agreement(r, np.abs(values - labels).mean(0), (values - labels).mean(0), gain)


def peaks(values: Array, labels: Array, share: float = 0.05) -> Array:
    """(30,): how deep the values go where the labels go deepest, 1 as deep: a blink shut, a smile full.

    Over the ``share`` of the moments at which a label is furthest from its own median, each against its own
    median. NaN where the label does not move.
    """
    away = labels - np.median(labels, axis=0)
    went = values - np.median(values, axis=0)
    count = max(3, round(share * len(labels)))
    deepest = np.argsort(-np.abs(away), axis=0)[:count]
    wanted = np.take_along_axis(away, deepest, axis=0)
    found = np.take_along_axis(went, deepest, axis=0) * np.sign(wanted)
    depth = np.abs(wanted).mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(labels.std(0) < MOVES, np.nan, found.mean(0) / depth)


def best_lag(times_s: Array, values: Array, at_s: Array, labels: Array) -> float:
    """Seconds by which a series is late: the shift at which its mean r with the labels is highest.

    times_s: (M,) of values (M, 30); at_s: (N,) of labels (N, 30). NaN where there is no such shift among
    ``LAGS_S``: r still rises at their end, is low everywhere, or no label moves.
    """
    scores = []
    for lag in LAGS_S:
        moved = np.stack([np.interp(at_s + lag, times_s, column) for column in values.T], axis=1)
        scores.append(agreement(moved, labels).mean("r"))
    best = int(np.argmax(scores))
    inside = 0 < best < len(scores) - 1
    return float(LAGS_S[best]) if inside and scores[best] >= LEAST_R else float("nan")
