"""The virtual Ameca in LivePortrait's terms: what its 30 controls are as keypoints, pose and ``exp``.

Keypoints are real points of the head (lids, irises, brows, lips, ...), so that a keypoint's shift is the
shift of what the picture shows there. ``exp`` is linear in the controls, ``code(controls) @ EXPRESSION``,
so that a motion extractor whose last layer holds the same matrix says controls and keypoints at once, and
relative motion (paper Eq. 6) subtracts a person's own neutral exactly.

Space: x right, y down, z into the picture (docs/spec/liveportrait.md section 5), 2 units a picture's side,
the head's pivot at the origin of canonical points and ``t`` its place in the picture, which is ``PORTRAIT``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tools.dataset.face_dataset import angles_from_rotation, rotation_from_angles
from x2c_edge import retarget
from x2c_edge.controls import HIGH, INDEX, LOW, N_CONTROLS, NAMES, NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.nets import keypoints
from x2c_edge.nets.face_motion import SHUT_BELOW
from x2c_edge.robot.deform import HEAD_PIVOT, Deformer
from x2c_edge.robot.face import LOOK_AT, PORTRAIT, VIEW_HEIGHT
from x2c_edge.robot.head_shape import EYE_CENTRE

Array = NDArray[np.float64]

FACE: Final = list(retarget.FACE_CONTROLS)
LIDS: Final = list(retarget.LID_CONTROLS)
_FLIP: Final = np.array([1.0, -1.0, -1.0])  # head space (y up, z to the camera) to picture space

# Points on the skin of the neutral face (x, row; see head_mesh), and points of the eyes as directions from
# the eye's centre: elevation in degrees of the lid's edge, or 0 for the iris.
_SKIN: Final = {
    "brow inner": (0.13, 0.17), "brow outer": (0.45, 0.18), "mouth corner": (0.26, -0.62),
    "lip top": (0.125, -0.575), "lip bottom": (0.13, -0.67), "nose wing": (0.12, -0.37),
}  # fmt: skip
_MIDDLE: Final = {"lip top": (0.0, -0.56), "lip bottom": (0.0, -0.70), "chin": (0.0, -0.95)}
_EYES: Final = {"lid upper": 18.0, "lid lower": -21.0, "eye": 0.0}

# Ranges that a person's motion uses; beyond them the robot's picture stays where it is. A lid's end is
# "shut": the squeeze below it is nothing that the labels know. Gaze: what an eye can do, not the wire.
USED_LOW: Final = np.maximum(SAFE_LOW, np.where(np.isin(np.arange(N_CONTROLS), LIDS), 0.0, -np.inf))
USED_HIGH: Final = SAFE_HIGH.copy()
for _name, _limit in (("Gaze Target Phi", 0.6), ("Gaze Target Theta", 0.45)):
    USED_LOW[INDEX[_name]], USED_HIGH[INDEX[_name]] = -_limit, _limit
# Small in the picture, and worth more in ``exp`` than their true shift: a lip that curls moves along z.
_LOUDER: Final = {"Lip Bottom Curl": 2.0, "Lip Top Curl": 2.0, "Nose Wrinkle": 2.0, "Jaw Yaw": 1.5}

# The head turns up to these angles (yaw, pitch, roll; radians) when head and neck do their shares.
HEAD_LOW: Final = np.array([SAFE_LOW[INDEX["Head Yaw"]], -0.45, -0.19])
HEAD_HIGH: Final = np.array([SAFE_HIGH[INDEX["Head Yaw"]], 0.38, 0.19])

# A person's eye at rest is less open than the robot's or more, and relative motion keeps that distance: a
# shut narrow eye would leave the robot's ajar. So below SHUT_BELOW the code falls faster, by SHUT_EXTRA.
SHUT_EXTRA: Final = 0.5


@dataclass(frozen=True, slots=True)
class RobotMotion:
    """kp (K, 3): canonical keypoints. expression (30, K, 3): what a unit of ``code`` adds. t (3,)."""

    names: tuple[str, ...]
    kp: Array
    expression: Array
    t: Array

    def exp(self, controls: ArrayLike) -> Array:
        """(..., 30) controls to (..., K, 3)."""
        return np.tensordot(code(controls), self.expression, axes=1)

    def driven(self, controls: ArrayLike, yaw_pitch_roll: ArrayLike) -> Array:
        """Transformed keypoints (..., K, 3): face controls (..., 30), head angles (..., 3) in radians."""
        motion = keypoints.Motion(
            self.kp, self.exp(controls), row_rotation(yaw_pitch_roll), self.t, np.ones(1)
        )
        return np.asarray(keypoints.transformed(motion))


def code(controls: ArrayLike) -> Array:
    """(..., 30): deviations from neutral, head and neck 0, lids falling faster near shut."""
    values = np.asarray(controls, dtype=np.float64)
    result = values - NEUTRAL
    result[..., list(retarget.HEAD_CONTROLS)] = 0.0
    result[..., LIDS] -= SHUT_EXTRA * np.clip((SHUT_BELOW - values[..., LIDS]) / SHUT_BELOW, 0.0, 1.0)
    return result


def code_of(exp: ArrayLike) -> Array:
    """Code (..., 30) of the face controls that mean (..., K, 3), by least squares; head and neck 0."""
    expression = robot_motion().expression[FACE].reshape(len(FACE), -1)
    wanted = np.asarray(exp, dtype=np.float64)
    result = np.zeros((*wanted.shape[:-2], N_CONTROLS))
    result[..., FACE] = wanted.reshape(*wanted.shape[:-2], -1) @ np.linalg.pinv(expression)
    return result


def controls_of(exp: ArrayLike) -> Array:
    """Inverse of ``RobotMotion.exp``: (..., K, 3) to the face controls that mean it (..., 30), by least
    squares; head and neck neutral."""
    values = NEUTRAL + code_of(exp)
    lids = values[..., LIDS]
    fallen = (lids + SHUT_EXTRA) / (1 + SHUT_EXTRA / SHUT_BELOW)
    values[..., LIDS] = np.where(fallen < 0, lids + SHUT_EXTRA, np.where(lids < SHUT_BELOW, fallen, lids))
    return values


def row_rotation(yaw_pitch_roll: ArrayLike) -> Array:
    """(..., 3) radians (``retarget.head_controls``) to matrices (..., 3, 3) for row vectors."""
    angles = np.asarray(yaw_pitch_roll, dtype=np.float64)
    head = rotation_from_angles(angles.reshape(-1, 3)).reshape(*angles.shape[:-1], 3, 3)
    return np.swapaxes(_FLIP[:, None] * head * _FLIP, -1, -2)


def head_angles(rotation: ArrayLike) -> Array:
    """Inverse of ``row_rotation``: (..., 3, 3) to yaw, pitch, roll (..., 3) in radians."""
    head = np.swapaxes(_FLIP[:, None] * np.asarray(rotation, dtype=np.float64) * _FLIP, -1, -2)
    return angles_from_rotation(head.reshape(-1, 3, 3)).reshape(*head.shape[:-2], 3)


def model_angles(yaw_pitch_roll: ArrayLike) -> Array:
    """(..., 3) radians to pitch, yaw, roll in degrees as M's heads give them (section 5)."""
    r = row_rotation(yaw_pitch_roll)
    return np.degrees(
        np.stack(
            [
                np.arctan2(r[..., 1, 2], r[..., 2, 2]),
                np.arcsin(np.clip(-r[..., 0, 2], -1, 1)),
                np.arctan2(r[..., 0, 1], r[..., 0, 0]),
            ],
            -1,
        )
    )


def posed(controls: ArrayLike, yaw_pitch_roll: ArrayLike) -> Array:
    """The robot's controls (..., 30), inside its ranges, for face controls and head angles."""
    values = np.clip(np.asarray(controls, dtype=np.float64), USED_LOW, USED_HIGH)
    yaw, pitch, roll = np.moveaxis(np.asarray(yaw_pitch_roll, dtype=np.float64), -1, 0)
    retarget.head_controls(yaw, pitch, roll, values)
    return np.clip(values, SAFE_LOW, SAFE_HIGH)


@lru_cache(maxsize=1)
def robot_motion() -> RobotMotion:
    """Measured once on the virtual head."""
    deformer = Deformer()
    deformer.pose(NEUTRAL)
    rest = deformer.vertices.astype(np.float64)
    skin = deformer.mesh.skin
    picked: dict[str, int] = {}

    def in_part(name: str, part: str, direction: Array) -> None:
        place = deformer.mesh.parts[part]
        points = rest[place]
        picked[name] = place.start + int(np.argmin(np.linalg.norm(points - direction, axis=1)))

    for side, sign in (("left", 1.0), ("right", -1.0)):
        for name, (x, v) in _SKIN.items():
            lip = 1 if name == "lip top" else -1 if name == "lip bottom" else 0
            picked[f"{name} {side}"] = skin.nearest(sign * x, v, lip)
        centre = EYE_CENTRE * [sign, 1, 1]
        for name, degrees in _EYES.items():
            e = np.radians(degrees)
            part = f"{name} {side}"
            in_part(part, part, centre + 0.19 * np.array([0.0, np.sin(e), np.cos(e)]))
    for name, (x, v) in _MIDDLE.items():
        picked[f"{name} middle"] = skin.nearest(x, v, {"lip top": 1, "lip bottom": -1}.get(name, 0))
    rows = np.array(list(picked.values()))

    def points(values: Array) -> Array:
        deformer.pose(values)
        return deformer.vertices[rows].astype(np.float64)

    scale = 2 * PORTRAIT.zoom / VIEW_HEIGHT
    neutral = points(NEUTRAL)
    expression = np.zeros((N_CONTROLS, len(rows), 3))
    for control in FACE:
        low, high = NEUTRAL.copy(), NEUTRAL.copy()
        low[control], high[control] = USED_LOW[control], USED_HIGH[control]
        moved = (points(high) - points(low)) / (high[control] - low[control])
        expression[control] = _LOUDER.get(NAMES[control], 1.0) * scale * moved * _FLIP
    kp = scale * (neutral - HEAD_PIVOT) * _FLIP
    t = scale * (HEAD_PIVOT - np.array(LOOK_AT)) * _FLIP * [1, 1, 0]
    t[:2] += 2 * np.array(PORTRAIT.shift)
    return RobotMotion(tuple(picked), kp, expression, t)


def sample(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Poses to train on: face controls (count, 30) and head angles (count, 3), some beyond the ranges.

    Independent controls would almost never show a symmetric face, and people's always are nearly so. So each
    sample mixes: a strength, how alike the two sides are, and which groups move at all.
    """
    spread = (USED_HIGH - USED_LOW) * 0.5
    strength = rng.choice([0.35, 0.7, 1.1], (count, 1), p=[0.3, 0.4, 0.3])
    own = rng.standard_normal((count, N_CONTROLS))
    common = rng.standard_normal((count, N_CONTROLS))[:, _SIDE]  # what both sides of a pair do
    together = np.sqrt(rng.beta(3, 1, (count, 1)))
    values = together * common + np.sqrt(1 - together**2) * own
    for group in _GROUPS:
        still = rng.random(count) < 0.25
        values[np.ix_(still, group)] *= 0.1
    controls = NEUTRAL + 0.75 * strength * spread * values
    # Lids are mostly open or shut, the jaw is mostly shut.
    lids = rng.random(count)
    shut = lids < 0.22
    controls[np.ix_(shut, LIDS)] = rng.uniform(-0.5, 0.35, (int(shut.sum()), 1)) + 0.05 * rng.standard_normal(
        (int(shut.sum()), len(LIDS))
    )
    one_eye = lids > 0.9
    side = np.where(rng.random((count, 1)) < 0.5, LIDS[0::2], LIDS[1::2])
    for i in np.flatnonzero(one_eye):
        controls[i, side[i]] = rng.uniform(-0.3, 0.4)
    jaw = INDEX["Jaw Pitch"]
    controls[:, jaw] = np.where(
        rng.random(count) < 0.45, rng.uniform(0.95, 1.1, count), rng.uniform(0.4, 1.0, count)
    )
    angles = rng.standard_normal((count, 3)) * np.array([0.24, 0.2, 0.12])
    angles *= np.where(rng.random((count, 1)) < 0.25, 0.15, 1.0)
    return np.clip(controls, LOW - 1, HIGH + 1), angles


_SIDE: Final = np.array([INDEX[name.replace("Right", "Left")] for name in NAMES])
_GROUPS: Final = [
    [i for i in FACE if NAMES[i].startswith(prefixes)]
    for prefixes in (("Brow",), ("Eyelid",), ("Gaze",), ("Jaw", "Lip"), ("Nose",))
]
