"""Faces that nobody filmed, for what comes after a pipeline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.neutral import Keeper
from x2c_edge.pipelines.rotation import rotation_matrix

FRAME_NS = 33_333_333


def face(
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
    sharpness: float = 0.08,
    rest: np.ndarray = NEUTRAL,
    **changes: float,
) -> Measurement:
    """A relaxed frontal face with some controls changed: ``face(Jaw_Pitch=-0.3)``."""
    values = rest.copy()
    for name, change in changes.items():
        values[INDEX[name.replace("_", " ")]] += change
    rotation = rotation_matrix(*np.radians([yaw_deg, pitch_deg, roll_deg]))
    return Measurement(values, rotation, np.zeros((140, 2)), 0.99, sharpness)


def both(name: str, change: float) -> dict[str, float]:
    """The same change on both sides of the face."""
    return {f"{name}_Left": change, f"{name}_Right": change}


class Driver:
    """Shows one measurement after another to a keeper of the neutral, 30 a second."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.t_ns = 5_000_000_000

    def show(self, seconds: float, look: Measurement | Callable[[int], Measurement]) -> None:
        for k in range(round(seconds * 30)):
            self.t_ns += FRAME_NS
            self.keeper.see(self.t_ns, look(k) if callable(look) else look)
