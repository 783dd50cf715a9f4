"""Whose face the driver's is compared with: the four ways of ``--neutral``.

``auto`` is an empirical-Bayes estimate. Everybody starts as the average person (``People.rest``) and is
followed from the first frame. Moments that look like rest (close to what people's rests are like, still,
towards the camera as far as is known, sharp) are evidence of the driver's own rest, weighted by how much
they do. With ``s`` seconds of evidence, mean deviation ``d``, the estimate is ``d * s / (s + k)`` per
control, where ``k = T * within^2 / between^2``: what people hardly differ in is hardly learnt, and never a
smile. The head has the same with a camera straight in front of the person as the prior.

What is in force moves towards the estimate by at most ``LearningSettings.speed`` per second, so nobody sees
it move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from x2c_edge import retarget
from x2c_edge.controls import N_CONTROLS, NEUTRAL
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.calibration import LONGEST_GAP_NS, STILL, CalibrationSettings, Calibrator
from x2c_edge.pipelines.people import People
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.retargeter import Neutral
from x2c_edge.pipelines.rotation import angles, rotation_matrix

Array = NDArray[np.float64]
Way = Literal["auto", "average", "first-frame", "hold-still"]
WAYS: Final[tuple[Way, ...]] = get_args(Way)

_JUDGED: Final = [i for i in retarget.FACE_CONTROLS if i not in retarget.GAZE_CONTROLS]


class Keeper(Protocol):
    """Decides about the neutral, one measurement after another."""

    hint: str  # what the driver should do; empty when nothing

    @property
    def neutral(self) -> Neutral | None:
        """In force now; None while nothing is known."""

    @property
    def says(self) -> str:
        """Which neutral is in use and how sure it is, for the panel."""

    def see(self, t_ns: int, m: Measurement) -> None:
        """The next measurement of a face."""

    def face_lost(self) -> None:
        """The last frame had none."""

    def retake(self) -> None:
        """The driver asks for it: their face of the next second is their neutral."""


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """The numbers of ``auto``.

    correlation_s: T above, seconds within which one person's resting face is one sample. window_s: the most
    evidence that counts, so that a new person soon outweighs the last one. bound: in deviations between
    people; beyond it nothing is learnt. speed: per second and unit of a control (degrees for the head's
    ``head_speed_deg``). given: how much narrower the prior is around a neutral that the driver gave.
    """

    correlation_s: float = 2.0
    window_s: float = 10.0
    bound: float = 2.0
    speed: float = 0.02
    given: float = 0.15
    head_between_deg: float = 10.0
    head_within_deg: float = 10.0
    head_correlation_s: float = 15.0
    head_bound_deg: float = 25.0
    head_speed_deg: float = 1.0
    still: float = 0.05  # of a control within a third of a second
    still_deg_s: float = 8.0
    frontal_deg: float = 15.0
    sharp: float = 0.05


class Average:
    """Everybody is the average person; nothing is learnt. Also for pictures of many people."""

    hint = ""

    def __init__(self, people: People) -> None:
        self._people = people
        self._anchor = average_anchor(people)
        rest = Reference(people.rest, np.eye(3), people.motion)
        self._neutral = _around(people, rest, self._anchor)

    @property
    def neutral(self) -> Neutral:
        return self._neutral

    @property
    def says(self) -> str:
        return "average person"

    def see(self, t_ns: int, m: Measurement) -> None:
        if self._anchor is None and m.motion is not None:  # published packs know no average motion
            self._anchor = _face_of(m)
            self._neutral = replace(self._neutral, anchor=self._anchor)

    def face_lost(self) -> None:
        return

    def retake(self) -> None:
        return


class HeldStill:
    """A second of holding still, relaxed; until then there is no neutral. The paper's Eq. 6 around it."""

    def __init__(self, settings: CalibrationSettings, given: Reference | None = None) -> None:
        self._settings = settings
        self._calibrator = Calibrator(settings)
        self._neutral = _equation_6(given) if given is not None else None
        self.hint = self._calibrator.hint
        self._rough = False

    @property
    def neutral(self) -> Neutral | None:
        return self._neutral

    @property
    def says(self) -> str:
        return "not taken yet" if self._neutral is None else "rough" if self._rough else "as taken"

    def see(self, t_ns: int, m: Measurement) -> None:
        if self._neutral is None:
            found = self._calibrator.add(t_ns, m)
            if found is not None:
                self._rough = self._calibrator.rough
                self._neutral = _equation_6(found)
        self.hint = self._calibrator.hint if self._neutral is None else ""

    def face_lost(self) -> None:
        if self._neutral is None:
            self._calibrator.face_lost()
            self.hint = self._calibrator.hint

    def retake(self) -> None:
        self._neutral = None
        self._calibrator = Calibrator(self._settings)
        self.hint = self._calibrator.hint


class FirstFrame:
    """The paper's Eq. 6 to the letter: relative to the first frame with a face."""

    hint = ""

    def __init__(self, given: Reference | None = None) -> None:
        self._neutral = _equation_6(given) if given is not None else None

    @property
    def neutral(self) -> Neutral | None:
        return self._neutral

    @property
    def says(self) -> str:
        return "first frame"

    def see(self, t_ns: int, m: Measurement) -> None:
        if self._neutral is None and np.isfinite(m.own).all() and np.isfinite(m.rotation).all():
            self._neutral = _equation_6(_face_of(m))

    def face_lost(self) -> None:
        return

    def retake(self) -> None:
        self._neutral = None


class Learning:
    """``auto``. See the module's text."""

    def __init__(
        self,
        people: People,
        given: Reference | None = None,
        settings: LearningSettings | None = None,
        calibration: CalibrationSettings | None = None,
    ) -> None:
        self._people = people
        self._s = settings or LearningSettings()
        self._calibration = calibration or CalibrationSettings()
        self._calibrator: Calibrator | None = None
        self._fixed_anchor = average_anchor(people)
        self._nearest: Reference | None = None
        self._nearest_ns = 0
        self._nearest_distance = math.inf
        self._last_ns: int | None = None
        self._slow = np.zeros(N_CONTROLS)
        self._slow_turn = np.zeros(3)
        self.hint = ""
        self._begin(given)
        self._shift = self._base_shift.copy()
        self._turn = self._base_turn.copy()
        self._neutral = self._made()

    def _begin(self, given: Reference | None) -> None:
        """The prior: the average person, or narrowly around a face that the driver gave."""
        s, people = self._s, self._people
        narrow = 1.0 if given is None else s.given
        self._given = given
        self._between = narrow * people.between
        self._base_shift = np.zeros(N_CONTROLS)
        self._base_turn = np.zeros(3)
        if given is not None:
            self._base_shift[_JUDGED] = (given.values - people.rest)[_JUDGED]
            self._base_turn[:] = angles(given.rotation)
            if given.motion is not None:
                self._nearest, self._nearest_distance = given, 0.0
        with np.errstate(divide="ignore"):
            self._doubt = s.correlation_s * people.within**2 / self._between**2
        self._head_doubt = s.head_correlation_s * (s.head_within_deg / (narrow * s.head_between_deg)) ** 2
        self._seconds, self._sum = 0.0, np.zeros(N_CONTROLS)
        self._head_seconds, self._head_sum = 0.0, np.zeros(3)

    @property
    def neutral(self) -> Neutral:
        return self._neutral

    @property
    def certainty(self) -> float:
        """0 (the prior) to 1: the weight of what was seen of this driver, over the controls that differ."""
        learnt = np.isfinite(self._doubt)
        return float((self._seconds / (self._seconds + self._doubt[learnt])).mean()) if learnt.any() else 0.0

    @property
    def says(self) -> str:
        start = "average person" if self._given is None else "as given"
        return f"{start}, {self.certainty:.0%} learnt"

    def see(self, t_ns: int, m: Measurement) -> None:
        if not (np.isfinite(m.own).all() and np.isfinite(m.rotation).all()):
            return
        self._retake_with(t_ns, m)
        turn = np.array(angles(m.rotation))
        if self._last_ns is None or not 0 < t_ns - self._last_ns <= LONGEST_GAP_NS:
            # Another moment, perhaps another person: what was learnt stays, but weighs little from now on.
            self._slow[:], self._slow_turn[:] = m.own, turn
            self._forget_beyond(1.0, 1.0)
            self._last_ns = t_ns
        else:
            dt = min((t_ns - self._last_ns) * 1e-9, 0.1)
            self._last_ns = t_ns
            self._learn(dt, m, turn)
            self._move(dt)
        self._choose_anchor(t_ns, m)
        self._neutral = self._made()

    def face_lost(self) -> None:
        if self._calibrator is not None:
            self._calibrator.face_lost()

    def retake(self) -> None:
        self._calibrator = Calibrator(self._calibration)

    def _learn(self, dt: float, m: Measurement, turn: Array) -> None:
        s = self._s
        follow = 1.0 - math.exp(-dt / 0.3)
        speed = float(np.linalg.norm(turn - self._slow_turn)) / 0.3
        moved = np.abs(m.own - self._slow)[STILL].max()
        self._slow += follow * (m.own - self._slow)
        self._slow_turn += follow * (turn - self._slow_turn)
        steady = math.exp(-((speed / math.radians(s.still_deg_s)) ** 2)) * min(m.sharpness / s.sharp, 1.0)
        aside = math.degrees(float(np.abs(turn - self._turn)[:2].max()))
        quiet = math.exp(-((moved / s.still) ** 2) - (aside / s.frontal_deg) ** 2)
        resting = self._like_rest(m.own)
        w = dt * steady * quiet * resting
        self._seconds += w
        self._sum += w * (m.own - self._people.rest - self._base_shift)
        w = dt * steady
        self._head_seconds += w
        self._head_sum += w * (turn - self._base_turn)
        self._forget_beyond(s.window_s, 3 * s.head_correlation_s)

    def _like_rest(self, own: Array) -> float:
        """1 for a face as people's rests are, falling fast where a control is further from it than that."""
        people = self._people
        wide = np.sqrt(people.between**2 + people.within**2)[_JUDGED]
        away = (own - people.rest - self._base_shift)[_JUDGED]
        beyond = np.maximum(np.abs(away) / wide - 2.0, 0.0)
        return math.exp(-0.5 * float(beyond @ beyond))

    def _forget_beyond(self, face_s: float, head_s: float) -> None:
        """Keep at most this many seconds of evidence."""
        if self._seconds > face_s:
            self._sum *= face_s / self._seconds
            self._seconds = face_s
        if self._head_seconds > head_s:
            self._head_sum *= head_s / self._head_seconds
            self._head_seconds = head_s

    def _move(self, dt: float) -> None:
        s = self._s
        bound = s.bound * self._between
        learnt = np.clip(self._sum / (self._seconds + self._doubt), -bound, bound)
        step = s.speed * dt
        self._shift += np.clip(self._base_shift + learnt - self._shift, -step, step)
        most, step = math.radians(s.head_bound_deg), math.radians(s.head_speed_deg) * dt
        ahead = np.clip(self._head_sum / (self._head_seconds + self._head_doubt), -most, most)
        self._turn += np.clip(self._base_turn + ahead - self._turn, -step, step)

    def _retake_with(self, t_ns: int, m: Measurement) -> None:
        if self._calibrator is None:
            return
        found = self._calibrator.add(t_ns, m)
        self.hint = self._calibrator.hint if found is None else ""
        if found is not None:
            self._calibrator = None
            self._begin(found)
            self._shift[:], self._turn[:] = self._base_shift, self._base_turn  # asked for: at once

    def _choose_anchor(self, t_ns: int, m: Measurement) -> None:
        """The frame nearest to rest so far, from the first on. Packs with an average motion do not need it,
        but a reference that is saved holds it."""
        if m.motion is None:
            return
        away = (m.own - self._people.rest - self._shift)[_JUDGED]
        distance = float(np.sqrt((away**2).mean())) + float(
            np.abs(np.array(angles(m.rotation)) - self._turn).max()
        )
        settled = t_ns - self._nearest_ns > 2 * LONGEST_GAP_NS
        if self._nearest is None or (settled and distance < 0.6 * self._nearest_distance):
            self._nearest, self._nearest_ns, self._nearest_distance = _face_of(m), t_ns, distance

    def _made(self) -> Neutral:
        motion = None if self._nearest is None else self._nearest.motion
        rest = Reference(self._people.rest + self._shift, rotation_matrix(*self._turn), motion)
        return _around(self._people, rest, self._fixed_anchor or self._nearest)


def keeper_for(
    way: Way,
    people: People,
    given: Reference | None,
    calibration: CalibrationSettings,
) -> Keeper:
    """The one that ``--neutral`` names. given: a saved reference."""
    if way == "average":
        return Average(people)
    if way == "first-frame":
        return FirstFrame(given)
    if way == "hold-still":
        return HeldStill(calibration, given)
    return Learning(people, given, calibration=calibration)


def average_anchor(people: People) -> Reference | None:
    """The average person at rest as a motion extractor sees them; None for a pack without such a thing."""
    if people.motion is None:
        return None
    return Reference(people.rest, np.eye(3), people.motion)


def _around(people: People, rest: Reference, anchor: Reference | None) -> Neutral:
    centre = NEUTRAL if people.motion is None else people.drawn
    return Neutral(rest, people.pose, anchor, centre)


def _equation_6(face: Reference) -> Neutral:
    return Neutral(face, NEUTRAL, face)


def _face_of(m: Measurement) -> Reference:
    return Reference(m.own.copy(), m.rotation, m.motion)
