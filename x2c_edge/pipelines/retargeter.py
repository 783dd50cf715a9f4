"""A Measurement becomes an Expression: around the driver's neutral, with the strength that the nets lack.

Nets that learn from noisy labels answer too weakly. What makes up for it (``People.gain``) works on the
driver's *motion*: on how the pose differs from its own mean over the last ``_HABIT_S`` seconds. What is
always there, a person's own face or a net's error about it, is not made stronger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge import retarget
from x2c_edge.controls import GROUPS, N_CONTROLS, NEUTRAL, Group, indices, mirrored
from x2c_edge.frames import Expression
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.calibration import LONGEST_GAP_NS
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.rotation import angles
from x2c_edge.within import Within

Array = NDArray[np.float64]

_FADE_NS: Final = 1_000_000_000
_FADE_GAP_NS: Final = 500_000_000  # an older pose is nothing that a new one could jump from
_HABIT_S: Final = 20.0
_HEAD: Final = list(retarget.HEAD_CONTROLS)
_LIDS: Final = list(retarget.LID_CONTROLS)


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """gain: multiplies the motion of a group (1 as measured). mirror: swap the robot's sides.

    multiplier: two-stage only, scale the motion by the faces' sizes (docs/spec/liveportrait.md section 6,
    step 6).
    """

    gain: dict[Group, Annotated[float, Within(0, 3)]] = field(default_factory=dict)
    mirror: bool = False
    multiplier: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Neutral:
    """What a face is compared with.

    rest: the driver at rest. pose: (30,) where the robot is when the driver is at rest. anchor: the face
    that a relative pipeline's motion starts from (the reference frame of paper Eq. 6); None if the pipeline
    has not been given one. centre: (30,) what the relative pipeline measures of the anchor.
    """

    rest: Reference
    pose: Array = field(default_factory=lambda: NEUTRAL)
    anchor: Reference | None = None
    centre: Array = field(default_factory=lambda: NEUTRAL)


class Retargeter:
    """Measurements of one run to expressions. When what they are compared with changes as a whole (another
    pipeline, another anchor), the difference fades within a second instead of jumping."""

    def __init__(self, settings: MotionSettings, strength: Mapping[str, Array] | None = None) -> None:
        """strength: (30,) by pipeline name, measured gains of a pack's nets (``People.gain``)."""
        self._user = np.ones(N_CONTROLS)
        self.tune(settings)
        self._strength = dict(strength or {})
        self._habit = np.zeros(N_CONTROLS)
        self._habit_ns: int | None = None
        self._habit_frames = 0
        self._key: tuple[str, int] | None = None
        self._pose: Array | None = None
        self._pose_ns = 0
        self._fade = np.zeros(N_CONTROLS)
        self._fade_ns = 0

    def expression(
        self, m: Measurement, neutral: Neutral, frame_seq: int, t_capture_ns: int, pipeline: str
    ) -> Expression:
        """The controls that belong on the robot now."""
        values = (_relative if m.relative else _absolute)(m, neutral, self._user)
        values = self._strong(values, self._strength.get(pipeline), t_capture_ns)
        values = self._faded(values, (pipeline, id(neutral.anchor) if m.relative else 0), t_capture_ns)
        if self._mirror:
            values = mirrored(values)
        return Expression(frame_seq, t_capture_ns, pipeline, values, m.presence, m.landmarks)

    def tune(self, settings: MotionSettings) -> None:
        """Other gains and mirror from now on."""
        self._mirror = settings.mirror
        for group in GROUPS:
            self._user[indices(group)] = settings.gain.get(group, 1.0)

    def forget(self) -> None:
        """What comes next has nothing to do with what was before."""
        self._habit_ns, self._pose = None, None

    def _strong(self, values: Array, strength: Array | None, now_ns: int) -> Array:
        if not np.isfinite(values).all():
            return values
        if self._habit_ns is None or not 0 <= now_ns - self._habit_ns <= LONGEST_GAP_NS:
            self._habit_frames, self._habit_ns = 0, now_ns
        self._habit_frames += 1
        # The mean of all frames at first, then one that forgets.
        share = max(1.0 / self._habit_frames, (now_ns - self._habit_ns) * 1e-9 / _HABIT_S)
        self._habit += min(share, 1.0) * (values - self._habit)
        self._habit_ns = now_ns
        if strength is None:
            return values
        strong = values + (strength - 1.0) * (values - self._habit)
        # A gain shuts an eye, it does not press the lids together.
        strong[_LIDS] = np.maximum(strong[_LIDS], np.minimum(values[_LIDS], 0.0))
        return np.asarray(strong)

    def _faded(self, values: Array, key: tuple[str, int], now_ns: int) -> Array:
        fresh = self._pose is not None and 0 <= now_ns - self._pose_ns <= _FADE_GAP_NS
        if self._pose is None or not fresh:
            self._fade[:] = 0.0
        elif key != self._key:
            self._fade[:] = np.nan_to_num(self._pose - values)
            self._fade_ns = now_ns
        left = 1.0 - (now_ns - self._fade_ns) / _FADE_NS
        pose = values + self._fade * left if 0.0 < left <= 1.0 else values
        self._key, self._pose, self._pose_ns = key, pose, now_ns
        return pose


def _absolute(m: Measurement, neutral: Neutral, gain: Array) -> Array:
    """Eq. 6 for the head (R_0^T R_i, the column form) and the table's rule for the face."""
    values = retarget.relative(m.values, neutral.rest.values, gain, neutral.pose)
    retarget.head_controls(*angles(neutral.rest.rotation.T @ m.rotation), values)
    values[_HEAD] *= gain[_HEAD]
    return values


def _relative(m: Measurement, neutral: Neutral, gain: Array) -> Array:
    """The pipeline measured the motion from the anchor; what the anchor's face was away from rest is added.

    With the anchor itself as the rest, and the robot's neutral as its pose, this is paper Eq. 6 and a gain.
    """
    anchor = neutral.anchor or neutral.rest
    shift = anchor.values - neutral.rest.values
    retarget.head_controls(*angles(neutral.rest.rotation.T @ anchor.rotation), shift)
    whole = retarget.shifted(m.values, shift)
    values = neutral.pose + gain * (whole - neutral.centre)
    values[_HEAD] = gain[_HEAD] * whole[_HEAD]
    values[_LIDS] = np.maximum(values[_LIDS], np.minimum(whole[_LIDS], 0.0))
    return np.asarray(values)
