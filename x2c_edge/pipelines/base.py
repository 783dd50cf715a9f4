"""What every pipeline measures of a face, before a reference turns it into motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from x2c_edge.frames import FaceCrop
from x2c_edge.pipelines.plan import Plan

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One face in one frame, absolute: the person's own neutral is not removed.

    values: (30,) paper units, head and neck at the robot's neutral.
    rotation: (3, 3) head to camera, camera axes x right, y up, z towards the camera.
    landmarks: (L, 2) frame pixels. presence: 0..1. sharpness: mean gradient / contrast of the crop.
    """

    values: Array
    rotation: Array
    landmarks: Array
    presence: float
    sharpness: float


class Pipeline(Protocol):
    """FaceCrop in, Measurement out."""

    @property
    def name(self) -> str:
        """ "single-stage" or "two-stage"."""

    @property
    def plan(self) -> Plan:
        """The steps that ``measure`` runs."""

    @property
    def crop_scale(self) -> float:
        """Side of the crop over the longer side of the landmarks' upright box."""

    @property
    def crop_size(self) -> int:
        """Side of the crop in pixels."""

    def measure(self, crop: FaceCrop) -> Measurement:
        """Run the plan once."""
