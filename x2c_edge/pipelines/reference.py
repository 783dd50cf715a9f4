"""The driver's neutral: collected, checked, saved, and used to turn a Measurement into an Expression.

The paper's Eq. 6 makes motion relative to a reference frame. "The first frame ever seen" is a bad
one, so about a second of a steady, frontal, sharp, relaxed face is averaged instead.
"""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge import retarget
from x2c_edge.controls import GROUPS, HIGH, INDEX, LOW, N_CONTROLS, NAMES, NEUTRAL, Group, indices, mirrored
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import Expression
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.rotation import angles, is_rotation, mean_rotation
from x2c_edge.whole_file import write_whole

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reference:
    """A face at rest. values: (30,) absolute controls; rotation: (3, 3) head to camera.

    motion: what the two-stage pipeline refers to; None if the single-stage pipeline took it.
    """

    values: Array
    rotation: Array
    motion: FaceMotion | None = None

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        data: dict[str, object] = {
            "format": "x2c-edge reference 1",
            "controls": dict(zip(NAMES, self.values.tolist(), strict=True)),
            "rotation": self.rotation.tolist(),
        }
        if self.motion is not None:
            data["motion"] = self.motion.to_json()
        write_whole(path, json.dumps(data, indent=1).encode())

    @staticmethod
    def load(path: Path) -> Reference:
        try:
            data = json.loads(path.read_bytes().decode("utf-8-sig"))
            values = np.array([float(data["controls"][name]) for name in NAMES])
            rotation = np.array(data["rotation"], dtype=np.float64)
            motion = FaceMotion.from_json(data["motion"]) if "motion" in data else None
        except OSError as error:
            raise NotFoundError(f"reference {path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise BadArgumentError(
                f"reference {path}: not a reference file ({error}); calibrate again"
            ) from None
        damaged = _damage(values, rotation)
        if damaged:
            raise BadArgumentError(f"reference {path}: {damaged}; calibrate again")
        return Reference(values, rotation, motion)


_BEYOND: Final = 1.0  # parts of a control's range that a measured face may lie outside of it


def _damage(values: Array, rotation: Array) -> str:
    """What is wrong with a saved reference, in a few words; empty when a face can be like that."""
    if not is_rotation(rotation):
        return "its rotation is none"
    reach = _BEYOND * (HIGH - LOW)
    odd = np.flatnonzero(~((values >= LOW - reach) & (values <= HIGH + reach)))
    return f"{NAMES[odd[0]]} = {values[odd[0]]:g} is out of range" if odd.size else ""


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """gain: multiplies the motion of a group (1 as measured). mirror: swap the robot's sides."""

    gain: dict[Group, float] = field(default_factory=dict)
    mirror: bool = False


class Retargeter:
    """Measurement to Expression, relative to a reference."""

    def __init__(self, reference: Reference, settings: MotionSettings) -> None:
        self.reference = reference
        self._mirror = settings.mirror
        self._gain = np.ones(N_CONTROLS)
        for group in GROUPS:
            self._gain[indices(group)] = settings.gain.get(group, 1.0)

    def expression(self, m: Measurement, frame_seq: int, t_capture_ns: int, pipeline: str) -> Expression:
        """Eq. 6 for the head (R_0^T R_i, the column form) and the table's rule for the face.

        A relative measurement has Eq. 6 behind it and only takes the gain.
        """
        if m.relative:
            values = NEUTRAL + self._gain * (m.values - NEUTRAL)
        else:
            values = retarget.relative(m.values, self.reference.values, self._gain)
            yaw, pitch, roll = angles(self.reference.rotation.T @ m.rotation)
            retarget.head_controls(yaw, pitch, roll, values)
            head = list(retarget.HEAD_CONTROLS)
            values[head] *= self._gain[head]
        if self._mirror:
            values = mirrored(values)
        return Expression(frame_seq, t_capture_ns, pipeline, values, m.presence, m.landmarks)


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """When a face counts as the driver at rest."""

    seconds: float = 1.0
    timeout_s: float = 4.0  # of a visible face; then the calmest second so far is taken
    min_frames: int = 5
    max_angle_deg: float = 25.0
    max_wander_deg: float = 2.5
    max_face_motion: float = 0.12  # standard deviation of any face control over the second
    min_sharpness: float = 0.05  # faces in sharp clips have 0.07 to 0.15


LONGEST_GAP_NS = 1_000_000_000  # between two measurements of one calibration


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
        self._still = [i for i in retarget.FACE_CONTROLS if not NAMES[i].startswith(("Eyelid", "Gaze"))]

    def face_lost(self) -> None:
        """The next measurement may be another moment or another person."""
        self._window.clear()
        self.hint = "no face in view: look at the camera"

    def add(self, t_ns: int, m: Measurement) -> Reference | None:
        """Take one measurement; the Reference when the calibration is complete."""
        s = self._settings
        if not (np.isfinite(m.values).all() and np.isfinite(m.rotation).all()):
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
        if t_ns - self._first_ns > s.timeout_s * 1e9 and self._calmest is not None:
            self.rough = True
            return self._calmest[1]
        return None

    def _judge(self) -> tuple[Reference, float, str]:
        """Reference of the window, how restless it is (1 = at the limit), and the first complaint."""
        s = self._settings
        measurements = [m for _, m in self._window]
        values = np.stack([m.values for m in measurements])
        rotations = np.stack([m.rotation for m in measurements])
        rotation = mean_rotation(rotations)
        median = np.median(values, axis=0)
        motions = [m.motion for m in measurements if m.motion is not None]
        reference = Reference(median, rotation, FaceMotion.average(motions) if motions else None)
        yaw, pitch, _ = (math.degrees(a) for a in angles(rotation))
        wander = max(np.degrees([angles(rotation.T @ r) for r in rotations]).std(axis=0))
        motion = float(values[:, self._still].std(axis=0).max())
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
