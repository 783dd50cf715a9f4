"""How the virtual robot's motors follow their demands."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import GROUPS, HIGH, LOW, N_CONTROLS, NEUTRAL, Group, indices

# Skin and lids follow like a first-order lag; the head has inertia. Proposed values: no measured response of
# the real robot is published.
_LAG_S: Final[dict[Group, float]] = {
    "brows": 0.03, "eyelids": 0.015, "gaze": 0.02, "nose": 0.03, "jaw": 0.03, "lips": 0.03, "head": 0.0,
}  # fmt: skip
_HEAD_RAD_S: Final = 20.0  # natural frequency, critically damped
_STEP_S: Final = 0.005


class Actuators:
    """positions: (30,) paper units, measured."""

    def __init__(self) -> None:
        self.positions: NDArray[np.float64] = np.array(NEUTRAL)
        self._speeds = np.zeros(N_CONTROLS)
        self._lag_s = np.zeros(N_CONTROLS)
        for group in GROUPS:
            self._lag_s[indices(group)] = _LAG_S[group]
        self._inert = self._lag_s == 0
        self._lag_s[self._inert] = np.inf

    def step(self, demands: NDArray[np.float64], dt_s: float) -> None:
        """Move towards ``demands`` (30,) for ``dt_s`` seconds (a second at most counts)."""
        left_s = min(dt_s, 1.0)
        while left_s > 1e-9:
            h = min(left_s, _STEP_S)
            left_s -= h
            error = demands - self.positions
            pull = _HEAD_RAD_S * _HEAD_RAD_S * error - 2 * _HEAD_RAD_S * self._speeds
            self._speeds += np.where(self._inert, pull, 0.0) * h
            self.positions += error * -np.expm1(-h / self._lag_s) + self._speeds * h
        np.clip(self.positions, LOW, HIGH, out=self.positions)
