"""How measurements of a human face become the robot's 30 controls. The one table, with reasons.

Used to label the training data (``shared/data/faces``: 52 ARKit-style blendshapes, head pose, face
mesh) and to place a driver's motion around the robot's neutral at run time.

Left and right: *the person's left drives the robot's left*. In a picture that is not mirrored the
person's left is on the right-hand side. ``--mirror`` swaps sides afterwards (``controls.mirrored``).

A control is ``neutral + sum(weight * blendshape)``; the weights below are chosen so that a strong
human expression (the 99th percentile of the labels) uses the room that the control has on that
side of its neutral. Values are *not* clipped here: a driver's neutral is subtracted first
(``relative``), and the envelope clips last.

Not verified on a robot: the direction of the two lip curls and of the lip corner stretch (high =
outwards), and of jaw yaw (high = the robot's left). Each is one sign in this file.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x2c_edge.controls import INDEX, N_CONTROLS, NEUTRAL

Array = NDArray[np.float64]

# control: {blendshape: weight}. "*" stands for the control's own side (Left or Right).
TERMS: Final[dict[str, dict[str, float]]] = {
    # Inner brow: up with worry and surprise, down with the frown. The labels have one browInnerUp.
    "Brow Inner *": {"browInnerUp": 0.5, "browDown*": -0.5},
    # Outer brow: the frown pulls it down less than the inner end.
    "Brow Outer *": {"browOuterUp*": 0.5, "browDown*": -0.3},
    # Jaw pitch is 1 when closed; the deployed range ends at 0.5, reached at jawOpen 0.67 (p99).
    "Jaw Pitch": {"jawOpen": -0.75},
    "Jaw Yaw": {"jawLeft": 0.5, "jawRight": -0.5, "mouthLeft": 0.25, "mouthRight": -0.25},
    # Curls: rolling the lip in lowers, pushing it out (funnel, pucker, pout) raises.
    "Lip Bottom Curl": {
        "mouthRollLower": -0.45, "mouthFunnel": 0.5, "mouthPucker": 0.3, "mouthShrugLower": 0.25,
    },
    "Lip Top Curl": {"mouthRollUpper": -0.4, "mouthFunnel": 0.5, "mouthPucker": 0.3},
    # Lower lip down shows the lower teeth; a pout (shrug) or pressed lips lift it.
    "Lip Bottom Depress *": {"mouthLowerDown*": 0.5, "mouthShrugLower": -0.35, "mouthPress*": -0.2},
    "Lip Bottom Depress Middle": {
        "mouthLowerDownLeft": 0.3, "mouthLowerDownRight": 0.3, "mouthShrugLower": -0.35,
    },
    # Corners: smile against frown. Frown labels are small (p99 0.3), so they weigh more.
    "Lip Corner Raise *": {"mouthSmile*": 0.5, "mouthFrown*": -0.8},
    # Width: stretch, dimple and the smile pull outwards, rounding pulls inwards.
    "Lip Corner Stretch *": {
        "mouthStretch*": 0.4, "mouthDimple*": 0.3, "mouthSmile*": 0.2, "mouthPucker": -0.35,
        "mouthFunnel": -0.3,
    },
    "Lip Top Raise *": {"mouthUpperUp*": 0.55, "mouthShrugUpper": 0.3},
    "Lip Top Raise Middle": {
        "mouthUpperUpLeft": 0.3, "mouthUpperUpRight": 0.3, "mouthShrugUpper": 0.3,
    },
    # Eye in head, radians. A full blendshape is about 40 degrees sideways and 30 up or down. Both
    # eyes of Ameca always look the same way: the mean of the two.
    "Gaze Target Phi": {
        "eyeLookOutLeft": 0.35, "eyeLookInLeft": -0.35, "eyeLookInRight": 0.35, "eyeLookOutRight": -0.35,
    },
    "Gaze Target Theta": {
        "eyeLookUpLeft": 0.26, "eyeLookUpRight": 0.26, "eyeLookDownLeft": -0.26, "eyeLookDownRight": -0.26,
    },
}  # fmt: skip

# eyeBlink is about 0.05 with the eye open (lid gap / eye width 0.36) and 0.6 when it is shut (0.03).
BLINK_OPEN: Final = 0.05
BLINK_SHUT: Final = 0.60
WIDE_GAIN: Final = 1.5  # eyeWide reaches 0.5; the lid's range ends at 2
SQUINT_GAIN: Final = 0.4  # the lower lid rises with the squint; it never meets the upper by that alone

# The maker's own pose mixer shares a nod between head and neck three to one, a tilt 0.85 to 0.15.
HEAD_PITCH_SHARE: Final = 0.75
HEAD_ROLL_SHARE: Final = 0.85

# The labels' noseSneer has no signal; the nose wings rising towards the eyes does: their distance
# from the line of the inner eye corners, in eye widths, is 0.40 on average and shrinks with
# disgust (r = -0.71 within clips) but also a little with every smile.
NOSE_REST: Final = 0.401
NOSE_GAIN: Final = 6.0
NOSE_SMILE: Final = 0.15

FACE_CONTROLS: Final[tuple[int, ...]] = tuple(
    i for name, i in INDEX.items() if not name.startswith(("Head", "Neck"))
)
HEAD_CONTROLS: Final[tuple[int, ...]] = tuple(
    i for name, i in INDEX.items() if name.startswith(("Head", "Neck"))
)
GAZE_CONTROLS: Final[tuple[int, ...]] = tuple(i for name, i in INDEX.items() if name.startswith("Gaze"))
LID_CONTROLS: Final[tuple[int, ...]] = tuple(i for name, i in INDEX.items() if name.startswith("Eyelid"))


def _expanded() -> dict[int, dict[str, float]]:
    table: dict[int, dict[str, float]] = {}
    for control, terms in TERMS.items():
        for side in ("Left", "Right") if "*" in control else ("",):
            weights = {name.replace("*", side): weight for name, weight in terms.items()}
            table[INDEX[control.replace("*", side)]] = weights
    return table


def weight_matrix(blendshape_names: list[str]) -> Array:
    """The linear part of the table: (52, 30), so that ``blendshapes @ W`` is added to neutral."""
    matrix = np.zeros((len(blendshape_names), N_CONTROLS))
    for control, terms in _expanded().items():
        for name, weight in terms.items():
            matrix[blendshape_names.index(name), control] += weight
    return matrix


def face_controls(blendshapes: ArrayLike, names: list[str], nose_distance: ArrayLike) -> Array:
    """The face controls (N, 30), head and neck left at neutral.

    blendshapes: (N, 52) in 0..1, columns as ``names``. nose_distance: (N,), see ``nose_distance``.
    """
    b = np.asarray(blendshapes, dtype=np.float64)
    controls = NEUTRAL + b @ weight_matrix(names)
    for side in ("Left", "Right"):
        blink = b[:, names.index(f"eyeBlink{side}")]
        wide = b[:, names.index(f"eyeWide{side}")]
        squint = b[:, names.index(f"eyeSquint{side}")]
        shut = np.clip((blink - BLINK_OPEN) / (BLINK_SHUT - BLINK_OPEN), 0, 1)
        # Both lids of the robot must arrive at 0 for the eye to be shut.
        controls[:, INDEX[f"Eyelid Upper {side}"]] = (1 - shut) * (1 + WIDE_GAIN * wide)
        controls[:, INDEX[f"Eyelid Lower {side}"]] = (1 - shut) * (1 - SQUINT_GAIN * squint)
    smile = (b[:, names.index("mouthSmileLeft")] + b[:, names.index("mouthSmileRight")]) / 2
    wrinkle = NOSE_GAIN * (NOSE_REST - np.asarray(nose_distance, dtype=np.float64)) - NOSE_SMILE * smile
    controls[:, INDEX["Nose Wrinkle"]] = NEUTRAL[INDEX["Nose Wrinkle"]] + wrinkle
    return controls


def nose_distance(mesh: ArrayLike, rotation: ArrayLike) -> Array:
    """Inner-eye-corner line to nose wings along the face's own vertical, in outer-eye distances (N,).

    mesh: (N, 478, 3) MediaPipe face mesh, x right, y down, z on the same scale. rotation: (N, 3, 3)
    head rotation (y up). Taking the head's rotation out leaves almost no dependence on pitch.
    """
    points = np.asarray(mesh, dtype=np.float64) * np.array([1.0, -1.0, -1.0])
    rotation = np.asarray(rotation, dtype=np.float64)
    rotation = rotation / np.linalg.norm(rotation, axis=1, keepdims=True)
    upright = points @ rotation  # rows: R^T p
    width = np.linalg.norm(upright[:, 33] - upright[:, 263], axis=1)
    eyes = (upright[:, 133, 1] + upright[:, 362, 1]) / 2
    wings = (upright[:, 129, 1] + upright[:, 358, 1]) / 2
    return np.asarray((eyes - wings) / width)


def head_controls(yaw: ArrayLike, pitch: ArrayLike, roll: ArrayLike, out: Array) -> None:
    """Write the five head and neck controls into ``out`` (..., 30). Angles in radians, (...,).

    yaw positive to the person's left, pitch up, roll anticlockwise in an unmirrored picture, which is
    towards the person's right shoulder: the robot's own signs (``controls``), so no sign changes.
    """
    pitch, roll = np.asarray(pitch), np.asarray(roll)
    out[..., INDEX["Head Yaw"]] = yaw
    out[..., INDEX["Head Pitch"]] = HEAD_PITCH_SHARE * pitch
    out[..., INDEX["Neck Pitch"]] = (1 - HEAD_PITCH_SHARE) * pitch
    out[..., INDEX["Head Roll"]] = HEAD_ROLL_SHARE * roll
    out[..., INDEX["Neck Roll"]] = (1 - HEAD_ROLL_SHARE) * roll


def relative(values: Array, reference: Array, gain: Array, onto: Array = NEUTRAL) -> Array:
    """Motion relative to the driver's neutral, around a pose of the robot (the idea of paper Eq. 6).

    values, reference: (30,) a person's face now and at rest; gain: (30,) multiplies the motion; onto: (30,)
    where the robot is when the person is at rest. Lids are a ratio below the resting opening, so that a shut
    eye is 0 for narrow and wide eyes alike.
    """
    result = onto + gain * (values - reference)
    lids = list(LID_CONTROLS)
    opening = np.clip(values[lids] / np.maximum(reference[lids], 0.2), 0.0, 1.0)
    closing = 1.0 - np.minimum(gain[lids] * (1.0 - opening), 1.0)
    result[lids] = np.where(values[lids] < reference[lids], onto[lids] * closing, result[lids])
    return result


def shifted(values: Array, shift: Array) -> Array:
    """A pose moved by ``shift`` (30,), but lids by less the further they are shut: shut stays shut."""
    result = values + shift
    lids = list(LID_CONTROLS)
    result[lids] = values[lids] + np.clip(values[lids], 0.0, 1.0) * shift[lids]
    return result
