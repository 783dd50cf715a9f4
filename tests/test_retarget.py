from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from x2c_edge import retarget
from x2c_edge.controls import INDEX, N_CONTROLS, NAMES, NEUTRAL, indices, mirrored

ARKIT = [
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft",
    "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight",
    "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
]  # fmt: skip

LEFT_ONLY = {
    "browDownLeft": {"Brow Inner Left": -1, "Brow Outer Left": -1},
    "browOuterUpLeft": {"Brow Outer Left": 1},
    "eyeBlinkLeft": {"Eyelid Upper Left": -1, "Eyelid Lower Left": -1},
    "eyeWideLeft": {"Eyelid Upper Left": 1},
    "eyeSquintLeft": {"Eyelid Lower Left": -1},
    "eyeLookOutLeft": {"Gaze Target Phi": 1},  # the left eye outwards is to the left
    "eyeLookInLeft": {"Gaze Target Phi": -1},
    "eyeLookUpLeft": {"Gaze Target Theta": 1},
    "eyeLookDownLeft": {"Gaze Target Theta": -1},
    "jawLeft": {"Jaw Yaw": 1},
    "mouthLeft": {"Jaw Yaw": 1},
    "mouthSmileLeft": {"Lip Corner Raise Left": 1, "Lip Corner Stretch Left": 1, "Nose Wrinkle": -1},
    "mouthFrownLeft": {"Lip Corner Raise Left": -1},
    "mouthDimpleLeft": {"Lip Corner Stretch Left": 1},
    "mouthStretchLeft": {"Lip Corner Stretch Left": 1},
    "mouthUpperUpLeft": {"Lip Top Raise Left": 1, "Lip Top Raise Middle": 1},
    "mouthLowerDownLeft": {"Lip Bottom Depress Left": 1, "Lip Bottom Depress Middle": 1},
    "mouthPressLeft": {"Lip Bottom Depress Left": -1},
}
BOTH = {
    "browInnerUp": {"Brow Inner Left": 1, "Brow Inner Right": 1},
    "jawOpen": {"Jaw Pitch": -1},
    "mouthFunnel": {
        "Lip Bottom Curl": 1, "Lip Top Curl": 1, "Lip Corner Stretch Left": -1,
        "Lip Corner Stretch Right": -1,
    },
    "mouthPucker": {
        "Lip Bottom Curl": 1, "Lip Top Curl": 1, "Lip Corner Stretch Left": -1,
        "Lip Corner Stretch Right": -1,
    },
    "mouthRollLower": {"Lip Bottom Curl": -1},
    "mouthRollUpper": {"Lip Top Curl": -1},
    "mouthShrugLower": {
        "Lip Bottom Curl": 1, "Lip Bottom Depress Left": -1, "Lip Bottom Depress Middle": -1,
        "Lip Bottom Depress Right": -1,
    },
    "mouthShrugUpper": {"Lip Top Raise Left": 1, "Lip Top Raise Middle": 1, "Lip Top Raise Right": 1},
}  # fmt: skip
NO_SIGNAL = (
    "_neutral", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "jawForward", "mouthClose",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
SIDEWAYS = ("Gaze Target Phi", "Jaw Yaw")
FACES = arrays(np.float64, (N_CONTROLS,), elements=st.floats(-3, 3))
ONES = np.ones(N_CONTROLS)


def other_side(name: str) -> str:
    for a, b in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(a):
            return name.removesuffix(a) + b
    return name


def controls_of(**blendshapes: float) -> np.ndarray:
    """The controls of one face; open eyes, nose at rest."""
    row = np.zeros((1, len(ARKIT)))
    for name, value in blendshapes.items():
        row[0, ARKIT.index(name)] = value
    return retarget.face_controls(row, ARKIT, np.array([retarget.NOSE_REST]))[0]


def effect(blendshape: str) -> dict[str, int]:
    """The direction in which a blendshape moves each control that it moves."""
    change = controls_of(**{blendshape: 0.4}) - controls_of()
    return {NAMES[i]: int(np.sign(v)) for i, v in enumerate(change) if abs(v) > 1e-12}


LABELLED = json.loads((Path(__file__).parent / "data" / "labelled_faces.json").read_text())


def test_the_list_of_blendshapes_is_the_labels():
    assert LABELLED["blendshape_names"] == ARKIT


def of_labels(face: dict) -> np.ndarray:
    """The 30 controls of a labelled face."""
    shapes, nose = np.array([face["blendshapes"]]), np.array([face["nose_distance"]])
    controls = retarget.face_controls(shapes, ARKIT, nose)[0]
    yaw, pitch, roll = np.radians(face["yaw_pitch_roll_deg"])
    retarget.head_controls(yaw, pitch, roll, controls)
    return controls


@pytest.mark.parametrize("face", LABELLED["faces"], ids=lambda face: face["what"])
def test_labelled_faces_become_the_controls_that_nets_were_trained_with(face: dict):
    np.testing.assert_allclose(of_labels(face), face["controls"], atol=1e-6)


def test_labelled_faces_look_like_what_they_are():
    faces = {face["what"]: dict(zip(NAMES, of_labels(face), strict=True)) for face in LABELLED["faces"]}
    rest = faces["rest"]

    def more(what: str, control: str) -> float:
        return faces[what][control] - rest[control]

    for side in ("Left", "Right"):
        assert faces["eyes shut"][f"Eyelid Upper {side}"] < 0.1
        assert rest[f"Eyelid Upper {side}"] > 0.8
        assert more("smile", f"Lip Corner Raise {side}") > 0.3
        assert more("frown", f"Brow Inner {side}") < -0.2
        assert more("pucker", f"Lip Corner Stretch {side}") < -0.2
    assert more("mouth open", "Jaw Pitch") < -0.3
    assert more("look to the left", "Gaze Target Phi") > 0.15
    assert more("head tilted", "Head Roll") > 0.2


def test_a_face_without_expression_is_neutral():
    np.testing.assert_array_equal(controls_of(), NEUTRAL)


@pytest.mark.parametrize("name", LEFT_ONLY)
def test_the_person_s_left_drives_the_robot_s_left(name: str):
    assert effect(name) == LEFT_ONLY[name]


@pytest.mark.parametrize("name", LEFT_ONLY)
def test_the_person_s_right_drives_the_robot_s_right(name: str):
    expected = {other_side(c): -s if c in SIDEWAYS else s for c, s in LEFT_ONLY[name].items()}
    assert effect(other_side(name)) == expected


@pytest.mark.parametrize("name", BOTH)
def test_what_has_no_side_moves_both(name: str):
    assert effect(name) == BOTH[name]


@pytest.mark.parametrize("name", NO_SIGNAL)
def test_columns_without_signal_move_nothing(name: str):
    assert effect(name) == {}


def test_every_blendshape_is_covered_here():
    covered = {*LEFT_ONLY, *map(other_side, LEFT_ONLY), *BOTH, *NO_SIGNAL}
    assert covered == set(ARKIT)


def test_the_mirror_image_of_a_face_is_the_mirror_image_of_its_controls():
    rng = np.random.default_rng(0)
    face = dict(zip(ARKIT, rng.uniform(0, 0.5, len(ARKIT)), strict=True))
    twin = {other_side(name): value for name, value in face.items()}
    lids = list(retarget.LID_CONTROLS)
    expected, found = mirrored(controls_of(**face)), controls_of(**twin)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.ptp(found[lids]) > 0  # it was not a symmetrical face


def test_strong_expressions_use_the_room_of_the_control():
    assert controls_of(jawOpen=0.67)[INDEX["Jaw Pitch"]] == pytest.approx(0.5, abs=0.01)
    shut = controls_of(eyeBlinkLeft=0.6, eyeBlinkRight=0.9)
    np.testing.assert_array_equal(shut[list(retarget.LID_CONTROLS)], 0.0)
    wide = controls_of(eyeWideLeft=0.5)
    assert 1.5 < wide[INDEX["Eyelid Upper Left"]] <= 2


def test_the_nose_wrinkles_as_its_wings_rise():
    row = np.zeros((2, len(ARKIT)))
    wrinkle = retarget.face_controls(row, ARKIT, np.array([0.40, 0.30]))[:, INDEX["Nose Wrinkle"]]
    assert wrinkle[1] - wrinkle[0] == pytest.approx(0.6)


def test_nose_distance_ignores_place_size_and_head_rotation():
    mesh = np.zeros((1, 478, 3))  # x right, y down, z away from the camera
    mesh[0, [33, 133, 362, 263], 0] = -40, -15, 15, 40
    mesh[0, [33, 133, 362, 263], 1] = -30
    mesh[0, [129, 358]] = (-10, 2, 0), (10, 2, 0)
    upright = retarget.nose_distance(mesh, np.eye(3)[None])
    assert upright[0] == pytest.approx(32 / 80)
    np.testing.assert_allclose(retarget.nose_distance(3 * mesh + 50, np.eye(3)[None]), upright)
    a = 0.5
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])  # y up
    flip = np.array([1.0, -1.0, -1.0])
    nodding = (mesh * flip) @ turn.T * flip
    np.testing.assert_allclose(retarget.nose_distance(nodding, 2.0 * turn[None]), upright)


@given(FACES, arrays(np.float64, (N_CONTROLS,), elements=st.floats(0, 3)))
def test_the_resting_face_is_exactly_the_robot_s_neutral(face: np.ndarray, gain: np.ndarray):
    np.testing.assert_array_equal(retarget.relative(face, face, gain), NEUTRAL)


@given(FACES, FACES)
def test_without_gain_nothing_moves(face: np.ndarray, reference: np.ndarray):
    np.testing.assert_array_equal(retarget.relative(face, reference, 0 * ONES), NEUTRAL)


@given(FACES, FACES)
def test_relative_motion_leaves_its_arguments_alone(face: np.ndarray, reference: np.ndarray):
    before = face.copy(), reference.copy()
    result = retarget.relative(face, reference, ONES)
    np.testing.assert_array_equal(face, before[0])
    np.testing.assert_array_equal(reference, before[1])
    others = [i for i in range(N_CONTROLS) if i not in retarget.LID_CONTROLS]
    np.testing.assert_allclose(result[others], (NEUTRAL + face - reference)[others], atol=1e-12)


@given(st.floats(0.3, 2.0), st.floats(1.0, 3.0))
def test_a_shut_eye_shuts_the_robot_s_for_narrow_and_wide_eyes(opening: float, gain: float):
    rest, shut = NEUTRAL.copy(), NEUTRAL.copy()
    lids = list(retarget.LID_CONTROLS)
    rest[lids], shut[lids] = opening, 0.0
    np.testing.assert_array_equal(retarget.relative(shut, rest, gain * ONES)[lids], 0.0)
    shut[lids] = -0.1  # the network may overshoot
    np.testing.assert_array_equal(retarget.relative(shut, rest, gain * ONES)[lids], 0.0)


@given(st.floats(0.3, 2.0), st.floats(0, 2), st.floats(0, 2))
def test_lids_open_as_the_person_s_do(opening: float, a: float, b: float):
    rest = NEUTRAL.copy()
    lids = list(retarget.LID_CONTROLS)
    rest[lids] = opening

    def lid(value: float) -> float:
        face = rest.copy()
        face[lids] = value
        return float(retarget.relative(face, rest, ONES)[lids[0]])

    low, high = sorted((a, b))
    assert lid(low) <= lid(high) + 1e-12
    assert abs(lid(opening * (1 - 1e-9)) - lid(opening * (1 + 1e-9))) < 1e-6  # no step at rest


def test_a_nod_and_a_tilt_are_shared_by_head_and_neck():
    out = NEUTRAL.copy()
    retarget.head_controls(0.3, 0.2, -0.1, out)
    expected = {
        "Head Yaw": 0.3, "Head Pitch": 0.15, "Neck Pitch": 0.05, "Head Roll": -0.085, "Neck Roll": -0.015,
    }  # fmt: skip
    for name, value in expected.items():
        assert out[INDEX[name]] == pytest.approx(value)
    assert out[INDEX["Head Pitch"]] + out[INDEX["Neck Pitch"]] == pytest.approx(0.2)
    face = list(retarget.FACE_CONTROLS)
    np.testing.assert_array_equal(out[face], NEUTRAL[face])


def test_many_heads_at_once():
    out = np.tile(NEUTRAL, (3, 1))
    retarget.head_controls(np.array([0, 0.1, 0.2]), np.zeros(3), np.zeros(3), out)
    np.testing.assert_array_equal(out[:, INDEX["Head Yaw"]], [0, 0.1, 0.2])


def test_the_sets_of_controls():
    assert sorted(retarget.FACE_CONTROLS + retarget.HEAD_CONTROLS) == list(range(30))
    assert set(retarget.HEAD_CONTROLS) == set(indices("head"))
    assert set(retarget.LID_CONTROLS) == set(indices("eyelids"))
    assert set(retarget.LID_CONTROLS) < set(retarget.FACE_CONTROLS)


def test_the_table_has_an_entry_for_every_face_control():
    moved = {NAMES[c] for c in np.flatnonzero(np.abs(retarget.weight_matrix(ARKIT)).sum(0))}
    by_other_rules = {NAMES[c] for c in retarget.LID_CONTROLS} | {"Nose Wrinkle"}
    assert moved | by_other_rules == {NAMES[c] for c in retarget.FACE_CONTROLS}
    assert not moved & by_other_rules
