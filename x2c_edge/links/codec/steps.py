"""The layout of the 30 controls on the wire, and their steps of 1/65534 of a range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x2c_edge.controls import HIGH, LOW, N_CONTROLS, NAMES, to_robot
from x2c_edge.links.codec.crc import crc32c

ABSENT: Final = 65535
STEPS: Final = 65534

# The wire's ranges in the robot's units (degrees) are whole numbers; rint undoes the trip through radians.
_WIRE_LOW: Final = np.rint(to_robot(LOW))
_WIRE_HIGH: Final = np.rint(to_robot(HIGH))
_WIRE_SPAN: Final = _WIRE_HIGH - _WIRE_LOW

LAYOUT_TEXT: Final = "".join(
    f"{i}:{name}:{int(low)}:{int(high)}\n"
    for i, (name, low, high) in enumerate(zip(NAMES, _WIRE_LOW, _WIRE_HIGH, strict=True))
)
LAYOUT_CRC: Final = crc32c(LAYOUT_TEXT.encode("ascii"))
LAYOUT_ID: Final = LAYOUT_CRC & 0xFFFF


def quantise(robot_values: ArrayLike) -> tuple[int, ...]:
    """(30,) values in the robot's units -> 30 steps 0..65534, clamped to the wire range.

    NaN means *absent* and becomes 65535; an infinite value raises ValueError.
    """
    values = np.asarray(robot_values, dtype=np.float64)
    if values.shape != (N_CONTROLS,) or np.isinf(values).any():
        raise ValueError(f"robot_values: ({N_CONTROLS},) without infinities expected")
    steps = np.floor((np.clip(values, _WIRE_LOW, _WIRE_HIGH) - _WIRE_LOW) / _WIRE_SPAN * STEPS + 0.5)
    steps[np.isnan(values)] = ABSENT
    return tuple(steps.astype(np.uint16).tolist())


def dequantise(steps: Sequence[int]) -> NDArray[np.float64]:
    """30 steps -> (30,) float64 in the robot's units, NaN where absent."""
    q = np.asarray(steps, dtype=np.float64)
    values = _WIRE_LOW + _WIRE_SPAN * q / STEPS
    values[q == ABSENT] = np.nan
    return values
