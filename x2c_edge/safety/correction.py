"""How one robot differs from the description of the 30 controls: turned signs and shifted rests.

It is applied where expressions enter the supervisor, so that everything behind it, which is every link, and
every rule of the supervisor, deals with the values that the robot gets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x2c_edge.controls import CONTROLS, INDEX, N_CONTROLS, NAMES, NEUTRAL
from x2c_edge.errors import BadArgumentError, nearest


def frozen(values: ArrayLike) -> NDArray[np.float64]:
    """A float64 copy that nobody can write to."""
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class ControlCorrection:
    """How one control of this robot differs: direction, and rest in paper units."""

    sign: Literal[-1, 1] = 1
    offset: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """``robot = neutral + sign * (described - neutral) + offset``, each control by itself.

    sign: (30,), 1 or -1. offset: (30,), paper units. Both read-only. ``BadArgumentError`` names the control
    whose sign is another number, or whose offset would put its neutral outside the safe range.
    """

    sign: NDArray[np.float64] = field(default_factory=lambda: np.ones(N_CONTROLS))
    offset: NDArray[np.float64] = field(default_factory=lambda: np.zeros(N_CONTROLS))

    def __post_init__(self) -> None:
        for name in ("sign", "offset"):
            array = frozen(getattr(self, name))
            if array.shape != (N_CONTROLS,):
                raise ValueError(f"{name}: shape ({N_CONTROLS},) expected, not {array.shape}")
            object.__setattr__(self, name, array)
        for control in CONTROLS:
            sign, offset = float(self.sign[control.index]), float(self.offset[control.index])
            if sign not in (-1.0, 1.0):
                raise BadArgumentError(f"{control.name}: sign {sign:g} is not allowed; use 1 or -1")
            # Written so that NaN fails.
            if not control.safe_low <= control.neutral + offset <= control.safe_high or math.isinf(offset):
                raise BadArgumentError(
                    f"{control.name}: offset {offset:g} is not allowed; its neutral {control.neutral:g} must "
                    f"stay within {control.safe_low:g}..{control.safe_high:g}"
                )

    @classmethod
    def of(cls, signs: Mapping[str, float], offsets: Mapping[str, float]) -> Correction:
        """From values by control name; who is not named stays as described."""
        sign, offset = np.ones(N_CONTROLS), np.zeros(N_CONTROLS)
        for column, given in ((sign, signs), (offset, offsets)):
            for name, value in given.items():
                if name not in INDEX:
                    raise BadArgumentError(
                        f"unknown control {name!r}{nearest(name, NAMES)}; see controls.py for all 30"
                    )
                column[INDEX[name]] = value
        return cls(sign, offset)

    def applied(self, values: ArrayLike) -> NDArray[np.float64]:
        """A described pose (..., 30) as this robot must be told it, a new array. NaN stays NaN."""
        described = np.asarray(values, dtype=np.float64)
        return np.asarray(NEUTRAL + self.sign * (described - NEUTRAL) + self.offset, dtype=np.float64)

    def undone(self, values: ArrayLike) -> NDArray[np.float64]:
        """The described pose (..., 30) of what this robot is told."""
        told = np.asarray(values, dtype=np.float64)
        return np.asarray(NEUTRAL + self.sign * (told - NEUTRAL - self.offset), dtype=np.float64)

    @property
    def changes(self) -> bool:
        """Whether this robot differs from the description at all."""
        return bool((self.sign != 1).any() or (self.offset != 0).any())
