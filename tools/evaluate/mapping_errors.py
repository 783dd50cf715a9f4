"""How far predicted controls are from the true ones: the paper's figures, and what they do not say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import CONTROLS, HIGH, INDEX, LOW, N_CONTROLS

Array = NDArray[np.float64]
_Z95 = 1.959963984540054
STILL = 1e-4  # standard deviation below which a control does not move
_GAZE = [INDEX["Gaze Target Phi"], INDEX["Gaze Target Theta"]]
_LIDS = [INDEX["Eyelid Upper Left"], INDEX["Eyelid Upper Right"]]


@dataclass(frozen=True)
class Mean:
    """A mean over independent samples. sd has n - 1 in it; sem = sd / sqrt(n); ci95 = mean ± 1.96 sem."""

    n: int
    mean: float
    sd: float
    sem: float

    @property
    def ci95(self) -> tuple[float, float]:
        return self.mean - _Z95 * self.sem, self.mean + _Z95 * self.sem


def mean_of(values: NDArray[np.floating[Any]]) -> Mean:
    """Of one number a sample; one sample alone has no spread (nan)."""
    n = len(values)
    sd = float(np.std(values, ddof=1)) if n > 1 else math.nan
    return Mean(n, float(np.mean(values)), sd, sd / math.sqrt(n))


@dataclass(frozen=True)
class Errors:
    """Errors of one method on one test set.

    sample: of each picture's mean absolute error over the 30 controls, paper units. group_sem: standard
    error of the same mean when all frames of an animation count as one draw (they look alike); nan where the
    set has no animations. published: the metric of the published code, with each control's range stretched
    to [-1, 1] and no error of gaze while both upper lids are below 0. per_spread: mean absolute error with
    each control in units of its own standard deviation on this test set (``paper_units``), over the controls
    that have one. control: (30,) mean absolute errors, paper units.
    """

    sample: Mean
    group_sem: float
    published: float
    per_spread: float
    control: Array

    @property
    def group_ci95(self) -> tuple[float, float]:
        return self.sample.mean - _Z95 * self.group_sem, self.sample.mean + _Z95 * self.group_sem

    @property
    def worst(self) -> str:
        """Name of the control with the largest error."""
        return CONTROLS[int(self.control.argmax())].name

    def to_json(self) -> dict[str, Any]:
        low, high = self.sample.ci95
        return {
            "pictures": self.sample.n,
            "mae": round(self.sample.mean, 5),
            "sd": _rounded(self.sample.sd, 5),
            "sem": _rounded(self.sample.sem, 6),
            "ci95": [_rounded(low, 5), _rounded(high, 5)],
            "sem_by_animation": _rounded(self.group_sem, 6),
            "published_metric": round(self.published, 5),
            "per_spread": _rounded(self.per_spread, 5),
            "mae_by_control": {c.name: round(float(self.control[c.index]), 5) for c in CONTROLS},
        }


def _rounded(value: float, digits: int) -> float | None:
    """None for nan, which JSON does not have."""
    return None if math.isnan(value) else round(value, digits)


def errors_of(
    predicted: NDArray[np.floating[Any]],
    wanted: NDArray[np.floating[Any]],
    animation: NDArray[np.int32] | None = None,
) -> Errors:
    """predicted, wanted: (N, 30), paper units. animation: (N,), -1 where unknown."""
    if predicted.shape != wanted.shape or wanted.shape[1:] != (N_CONTROLS,):
        raise ValueError(f"expected two arrays (N, 30), got {predicted.shape} and {wanted.shape}")
    error = np.abs(np.asarray(predicted, np.float64) - wanted)
    sample = error.mean(1)
    known = animation is not None and len(np.unique(animation)) > 1 and animation.min() >= 0
    scaled = 2 * error / (HIGH - LOW)
    hidden = (wanted[:, _LIDS] < 0).all(1)
    scaled[np.ix_(hidden, _GAZE)] = 0
    deviation = np.asarray(wanted, np.float64).std(0)
    moves = deviation > STILL
    return Errors(
        mean_of(sample),
        clustered_sem(sample, animation) if known and animation is not None else math.nan,
        float(scaled.mean()),
        float((error[:, moves].mean(0) / deviation[moves]).mean()) if moves.any() else math.nan,
        error.mean(0),
    )


def clustered_sem(values: Array, group: NDArray[np.integer[Any]]) -> float:
    """Standard error of the mean when values of one group are no independent draws.

    sqrt(G / (G - 1) * sum over groups of (sum of deviations in the group)²) / N, the usual cluster-robust
    form; with groups of one it is sd / sqrt(n).
    """
    _, place = np.unique(group, return_inverse=True)
    sums = np.bincount(place, weights=values - values.mean())
    count = len(sums)
    return float(math.sqrt(count / (count - 1) * float((sums**2).sum())) / len(values))
