"""Where each control may be and how fast it may move (docs/spec/safety.md R1 and R2)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x2c_edge.controls import (
    CONTROLS,
    INDEX,
    N_CONTROLS,
    NAMES,
    NEUTRAL,
    SAFE_HIGH,
    SAFE_LOW,
    SLEW,
)
from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.safety.correction import Correction, frozen
from x2c_edge.safety.eyelids import limit_lids, pinned_lids
from x2c_edge.safety.lip_limits import limit_lips, pinned_lips


@dataclass(frozen=True, slots=True)
class Limit:
    """Narrows one control, in paper units (radians for angles; slew per second). None: as it is."""

    low: float | None = None
    high: float | None = None
    slew: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """Ranges and speeds, each (30,) float64, read-only, paper units (slew per second), as the robot is told.

    correction: how the robot differs from the description; ``rest`` follows it.

    The default is the deployed robot's; another one may only be narrower and slower, and must leave a pose
    that the rules on combinations allow. ``BadArgumentError`` names the controls at fault.
    """

    low: NDArray[np.float64] = field(default_factory=lambda: SAFE_LOW)
    high: NDArray[np.float64] = field(default_factory=lambda: SAFE_HIGH)
    slew: NDArray[np.float64] = field(default_factory=lambda: SLEW)
    correction: Correction = field(default_factory=Correction)

    def __post_init__(self) -> None:
        for name in ("low", "high", "slew"):
            array = frozen(getattr(self, name))
            if array.shape != (N_CONTROLS,):
                raise ValueError(f"{name}: shape ({N_CONTROLS},) expected, not {array.shape}")
            object.__setattr__(self, name, array)
        for control in CONTROLS:
            k = control.index
            low, high, slew = float(self.low[k]), float(self.high[k]), float(self.slew[k])
            _check_range(control.name, low, high, control.safe_low, control.safe_high)
            _check_slew(control.name, slew, control.slew)
        for pinned in (pinned_lids(self.low, self.high), pinned_lips(self.low, self.high)):
            if pinned:
                raise BadArgumentError(self._no_pose(pinned))

    def _no_pose(self, controls: tuple[int, ...]) -> str:
        narrowed = (k for k in sorted(controls) if self.low[k] > SAFE_LOW[k] or self.high[k] < SAFE_HIGH[k])
        ranges = ", ".join(f"{NAMES[k]} {self.low[k]:g}..{self.high[k]:g}" for k in narrowed)
        return f"{ranges}: every pose in these ranges is a forbidden combination; widen one"

    @property
    def rest(self) -> NDArray[np.float64]:
        """The pose that the face eases to, (30,), read-only.

        This robot's neutral; where ranges were narrowed past it, moved into them and into the rules on
        combinations, so that easing has an end that it can reach.
        """
        pose = self.clamp(self.correction.applied(NEUTRAL))
        limit_lids(pose, self.low, self.high)
        limit_lips(pose, self.low, self.high)
        return frozen(self.clamp(pose))

    def clamp(self, values: ArrayLike) -> NDArray[np.float64]:
        """``values`` (..., 30) moved into the ranges, a new array. NaN stays NaN."""
        return np.asarray(np.clip(values, self.low, self.high), dtype=np.float64)

    def narrowed(
        self, name: str, low: float | None = None, high: float | None = None, slew: float | None = None
    ) -> Envelope:
        """This envelope with one control's range or speed narrowed, in paper units.

        ``BadArgumentError`` for an unknown control and for a value that would widen; it names the
        control and what is allowed.
        """
        if name not in INDEX:
            raise BadArgumentError(
                f"unknown control {name!r}{nearest(name, NAMES)}; see controls.py for all 30"
            )
        k = INDEX[name]
        new_low = float(self.low[k]) if low is None else low
        new_high = float(self.high[k]) if high is None else high
        new_slew = float(self.slew[k]) if slew is None else slew
        _check_range(name, new_low, new_high, float(self.low[k]), float(self.high[k]))
        _check_slew(name, new_slew, float(self.slew[k]))
        return replace(
            self,
            low=_with(self.low, k, new_low),
            high=_with(self.high, k, new_high),
            slew=_with(self.slew, k, new_slew),
        )


def _with(array: NDArray[np.float64], index: int, value: float) -> NDArray[np.float64]:
    changed = np.array(array, dtype=np.float64)
    changed[index] = value
    return changed


# Both checks are written so that NaN fails them.
def _check_range(name: str, low: float, high: float, widest_low: float, widest_high: float) -> None:
    if not widest_low <= low <= high <= widest_high:
        raise BadArgumentError(
            f"{name}: range {low:g}..{high:g} is not allowed; it can only be narrowed, within "
            f"{widest_low:g}..{widest_high:g}"
        )


def _check_slew(name: str, slew: float, fastest: float) -> None:
    if not (slew > 0 and math.isfinite(slew) and slew <= fastest):
        raise BadArgumentError(
            f"{name}: slew {slew:g} per second is not allowed; it can only be lowered: above 0, "
            f"at most {fastest:g}"
        )
