"""A second of a steady, frontal, sharp, relaxed face, averaged: the driver's neutral on request."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np

from x2c_edge import retarget
from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.rotation import angles, mean_rotation
from x2c_edge.within import Within


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """When a face counts as the driver at rest."""

    seconds: Annotated[float, Within(0.2, 10)] = 1.0
    timeout: Annotated[float, Within(1, 600)] = 4.0  # seconds of a visible face; then the calmest is taken
    min_frames: Annotated[int, Within(1, 1000)] = 5
    max_angle_deg: Annotated[float, Within(1, 90)] = 25.0
    max_wander_deg: Annotated[float, Within(0.1, 90)] = 2.5
    # standard deviation of any face control over the time
    max_face_motion: Annotated[float, Within(0.01, 1)] = 0.12
    # faces in sharp clips have 0.07 to 0.15
    min_sharpness: Annotated[float, Within(0, 1, above=True)] = 0.05


LONGEST_GAP_NS: Final = 1_000_000_000  # between two measurements; after a longer one it may be somebody else
# What a face at rest keeps still: people blink and look about.
STILL: Final = [i for i in retarget.FACE_CONTROLS if i not in retarget.LID_CONTROLS + retarget.GAZE_CONTROLS]


class Calibrator:
    """Collects measurements until a good second is found. ``hint`` says what is wrong meanwhile.

    Blinks do not disturb: lids are left out of the motion check and the median ignores them.
    """

    def __init__(self, settings: CalibrationSettings) -> None:
        self._settings = settings
        self._window: deque[tuple[int, Measurement]] = deque()
        self._first_ns = 0
        self._last_ns: int | None = None
        self._calmest: tuple[float, Reference] | None = None
        self.hint = "look at the camera with a relaxed face"
        self.rough = False  # True when the time-out had to take a restless second

    def face_lost(self) -> None:
        """The next measurement may be another moment or another person."""
        self._window.clear()
        self.hint = "no face in view: look at the camera"

    def add(self, t_ns: int, m: Measurement) -> Reference | None:
        """Take one measurement; the Reference when the calibration is complete."""
        s = self._settings
        if not (np.isfinite(m.own).all() and np.isfinite(m.rotation).all()):
            return None
        if self._last_ns is None or not 0 < t_ns - self._last_ns <= LONGEST_GAP_NS:
            # Another moment, perhaps another person, or a clock that went back: all starts anew.
            self._window.clear()
            self._first_ns, self._calmest = t_ns, None
        self._last_ns = t_ns
        self._window.append((t_ns, m))
        span_ns = int(s.seconds * 1e9)
        while t_ns - self._window[0][0] > span_ns:
            self._window.popleft()
        covered = t_ns - self._window[0][0] >= 0.9 * span_ns and len(self._window) >= s.min_frames
        reference, restlessness, self.hint = self._judge()
        if covered:
            if not self.hint:
                return reference
            if self._calmest is None or restlessness < self._calmest[0]:
                self._calmest = (restlessness, reference)
        elif not self.hint:
            self.hint = "hold still with a relaxed face"
        if t_ns - self._first_ns > s.timeout * 1e9 and self._calmest is not None:
            self.rough = True
            return self._calmest[1]
        return None

    def _judge(self) -> tuple[Reference, float, str]:
        """Reference of the window, how restless it is (1 = at the limit), and the first complaint."""
        s = self._settings
        measurements = [m for _, m in self._window]
        values = np.stack([m.own for m in measurements])
        rotations = np.stack([m.rotation for m in measurements])
        rotation = mean_rotation(rotations)
        median = np.median(values, axis=0)
        motions = [m.motion for m in measurements if m.motion is not None]
        reference = Reference(median, rotation, FaceMotion.average(motions) if motions else None)
        yaw, pitch, _ = (math.degrees(a) for a in angles(rotation))
        wander = max(np.degrees([angles(rotation.T @ r) for r in rotations]).std(axis=0))
        motion = float(values[:, STILL].std(axis=0).max())
        sharp = float(np.median([m.sharpness for m in measurements]))
        smile = max(
            median[INDEX[n]] - NEUTRAL[INDEX[n]] for n in ("Lip Corner Raise Left", "Lip Corner Raise Right")
        )
        complaints = [
            (sharp / s.min_sharpness if sharp > 0 else 0.0, "the picture is blurred: focus the camera"),
            (s.max_angle_deg / max(abs(yaw), 1e-9), f"turn towards the camera ({yaw:+.0f} deg sideways)"),
            (s.max_angle_deg / max(abs(pitch), 1e-9), f"level your head ({pitch:+.0f} deg)"),
            (s.max_wander_deg / max(wander, 1e-9), "keep your head still"),
            (s.max_face_motion / max(motion, 1e-9), "relax your face"),
            (median[INDEX["Jaw Pitch"]] / 0.85, "close your mouth"),
            (0.25 / max(smile, 1e-9), "stop smiling for a second"),
            (float(median[list(retarget.LID_CONTROLS)].min()) / 0.3, "open your eyes"),
        ]
        worst = min(margin for margin, _ in complaints)
        hint = next((text for margin, text in complaints if margin < 1.0), "")
        return reference, 1.0 / max(worst, 1e-9), hint
