"""What every pipeline measures of a face, before a reference turns it into motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from x2c_edge.frames import FaceCrop
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.plan import Plan
from x2c_edge.pipelines.reference import Reference

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One face in one frame.

    values: (30,) paper units. Absolute, with the person's own neutral in it and head and neck at the
    robot's neutral; or, if ``relative``, the robot's controls relative to the pipeline's reference.
    rotation: (3, 3) head to camera, camera axes x right, y up, z towards the camera.
    landmarks: (L, 2) frame pixels. presence: 0..1. sharpness: mean gradient / contrast of the crop.
    """

    values: Array
    rotation: Array
    landmarks: Array
    presence: float
    sharpness: float
    relative: bool = False
    motion: FaceMotion | None = None  # what a two-stage reference is made of
    robot_face: NDArray[np.uint8] | None = None  # (H, W, 3) RGB, only when asked for
    tracked: Array | None = None  # (30,) what the tracker read, where ``values`` are relative

    @property
    def own(self) -> Array:
        """(30,) the person's own face, absolute, whichever pipeline looked at it."""
        return self.values if self.tracked is None else self.tracked


class Pipeline(Protocol):
    """FaceCrop in, Measurement out."""

    @property
    def name(self) -> str:
        """ "single-stage", "direct" or "two-stage"."""

    @property
    def plan(self) -> Plan:
        """The steps that ``measure`` runs."""

    @property
    def crop_scale(self) -> float:
        """Side of the crop over the longer side of the landmarks' upright box."""

    @property
    def crop_size(self) -> int:
        """Side of the crop in pixels."""

    def refer_to(self, reference: Reference | None) -> None:
        """The driver's neutral from now on; None while there is none."""

    def glance(self, crop: FaceCrop) -> Measurement:
        """Where the face is, and whether it is one, for as little as that costs; nothing else of it holds."""

    def measure(self, crop: FaceCrop) -> Measurement:
        """Run the plan once, as far as it makes sense without a face or a reference."""
