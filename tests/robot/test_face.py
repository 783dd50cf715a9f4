"""The virtual Ameca's face: every control shows, shows where it should, and shows in its own way."""

from __future__ import annotations

import numpy as np
import pytest

from x2c_edge.controls import (
    CONTROLS,
    HIGH,
    INDEX,
    LOW,
    N_CONTROLS,
    NAMES,
    NEUTRAL,
    SAFE_HIGH,
    SAFE_LOW,
    indices,
    mirrored,
)
from x2c_edge.robot.face import LANDMARKS, AmecaFace, Light, Scene

SIZE = 128
STEP = 0.3  # of a control's range
# A change is visible when some pixel changes by 25 of 255 grey levels and VISIBLE_AREA of the picture by
# 6. The least visible control's figures are about twice as large.
VISIBLE_LEVELS = 25
VISIBLE_AREA = 0.0015

BROWS = ("brow inner", "brow outer")
EYES = ("eye inner", "eye outer")
MOUTH = ("mouth corner left", "mouth corner right", "lip top", "lip bottom")


@pytest.fixture(scope="module")
def face():
    return AmecaFace(SIZE)


@pytest.fixture(scope="module")
def neutral(face):
    return face.render(NEUTRAL).astype(int)


def changed(values, name, amount):
    moved = np.array(values, dtype=float)
    moved[INDEX[name]] += amount
    return moved


def steps(values, control):
    """The steps of STEP that stay in range from here; half the range's room where neither does."""
    size = STEP * (control.high - control.low)
    value = values[control.index]
    fits = [s for s in (-size, size) if control.low <= value + s <= control.high]
    return fits or [
        control.high - value if control.high - value > value - control.low else control.low - value
    ]


def random_poses(seed, count):
    """Inside the limits that leave the program, gaze where the eyeballs can still follow, and no eye
    shut, because that hides its gaze."""
    low, high = np.array(SAFE_LOW), np.array(SAFE_HIGH)
    gaze = indices("gaze")
    low[gaze], high[gaze] = (-0.5, -0.35), (0.5, 0.35)
    low[indices("eyelids")] = 0.3
    return np.random.default_rng(seed).uniform(low, high, (count, N_CONTROLS))


def difference(face, image, values):
    return np.abs(face.render(values).astype(int) - image).max(axis=2)


def assert_visible(change, label):
    assert change.max() >= VISIBLE_LEVELS, f"{label}: at most {change.max()} levels"
    area = (change >= 6).mean()
    assert area >= VISIBLE_AREA, f"{label}: {area:.5f} of the picture"


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.name)
def test_every_control_shows_from_neutral(face, neutral, control):
    for step in steps(NEUTRAL, control):
        assert_visible(
            difference(face, neutral, changed(NEUTRAL, control.name, step)), f"{control.name} {step:+.2f}"
        )


def test_every_control_shows_from_random_poses(face):
    for pose in random_poses(1, 12):
        image = face.render(pose).astype(int)
        for control in CONTROLS:
            change = max(
                (difference(face, image, changed(pose, control.name, s)) for s in steps(pose, control)),
                key=np.sum,
            )
            assert change.max() >= 15, control.name
            assert (change >= 6).mean() >= VISIBLE_AREA / 2, control.name


def region(face, name):
    """The box (x0, y0, x1, y1) in which a control may change the neutral picture."""
    at = dict(zip(LANDMARKS, face.landmarks(NEUTRAL) / SIZE, strict=True))
    side = name.split()[-1].lower()
    both = ("left", "right")
    sides = (side,) if side in both else both

    def box(names, left=0.04, up=0.04, right=0.04, down=0.04):
        points = np.array([at[n] for n in names])
        x0, y0 = points.min(axis=0) - np.array([left, up])
        x1, y1 = points.max(axis=0) + np.array([right, down])
        return np.array([x0, y0, x1, y1]) * SIZE

    if name.startswith("Brow"):
        names = [f"{b} {s}" for b in BROWS for s in sides]
        return box([*names, *(f"eye outer {s}" for s in sides)], left=0.08, up=0.17, right=0.08, down=0.0)
    if name.startswith(("Eyelid", "Gaze")):
        return box([f"{e} {s}" for e in EYES for s in sides], up=0.08, down=0.11, left=0.06, right=0.06)
    if name.startswith("Nose"):
        return box(
            ["lip top", *(f"brow inner {s}" for s in both), *(f"cheek {s}" for s in both)], up=0.06, down=0.0
        )
    if name.startswith("Jaw"):
        return box(
            ["nose wing left", "nose wing right", "temple left", "temple right", "chin"], up=0, down=0.2
        )
    if name.startswith("Lip Corner"):
        names = [f"{n} {s}" for n in ("mouth corner", "cheek", "eye outer") for s in sides]
        return box([*names, "nose tip", "lip bottom"], left=0.08, right=0.08, down=0.10, up=-0.02)
    return box(MOUTH, up=0.08, down=0.08)


@pytest.mark.parametrize("name", [c.name for c in CONTROLS if c.group != "head"])
def test_the_change_is_where_the_control_is(face, neutral, name):
    control = CONTROLS[INDEX[name]]
    x0, y0, x1, y1 = np.rint(region(face, name)).astype(int)
    for step in steps(NEUTRAL, control):
        change = difference(face, neutral, changed(NEUTRAL, name, step)).astype(float)
        inside = change[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1].sum() / change.sum()
        assert inside >= 0.90, f"{name} {step:+.2f}: {inside:.3f} of the change"


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_one_side_leaves_the_other_alone(face, neutral, side):
    other = slice(0, SIZE // 2 - 2) if side == "Left" else slice(SIZE // 2 + 2, SIZE)
    for name in NAMES:
        if name.endswith(side) and not name.startswith("Lip"):
            change = difference(
                face, neutral, changed(NEUTRAL, name, steps(NEUTRAL, CONTROLS[INDEX[name]])[0])
            )
            assert change[:, other].sum() <= 0.08 * change.sum(), name


@pytest.mark.parametrize("pose", [NEUTRAL, *random_poses(2, 3)], ids=["neutral", "a", "b", "c"])
def test_the_thirty_responses_are_independent(face, pose):
    """Each response, of unit length, keeps a part that no combination of the 29 others makes."""
    image = face.render(pose).astype(float)
    responses = []
    for control in CONTROLS:
        step = 0.25 * (control.high - control.low) * (0.35 if control.group == "gaze" else 1)
        step *= 1 if pose[control.index] + step <= control.high else -1
        response = (face.render(changed(pose, control.name, step)) - image).ravel()
        responses.append(response / np.linalg.norm(response))
    gram = np.array(responses) @ np.array(responses).T
    own = 1 / np.sqrt(np.diag(np.linalg.inv(gram)))
    assert np.linalg.matrix_rank(gram) == N_CONTROLS
    assert np.linalg.cond(gram) < 60
    assert own.min() > 0.3, f"{NAMES[int(own.argmin())]}: {own.min():.2f}"


def landmark_moves(face, name, amount):
    """{landmark: (right, up)} in pixels of a picture of 128."""
    before, after = face.landmarks(NEUTRAL), face.landmarks(changed(NEUTRAL, name, amount))
    return dict(zip(LANDMARKS, (after - before) * (1, -1), strict=True))


@pytest.mark.parametrize(
    ("name", "amount", "landmark", "axis"),
    [
        ("Brow Inner Left", 0.5, "brow inner left", 1),
        ("Brow Outer Right", 0.5, "brow outer right", 1),
        ("Lip Corner Raise Left", 0.5, "mouth corner left", 1),
        ("Lip Corner Stretch Left", 0.3, "mouth corner left", 0),
        ("Lip Corner Stretch Right", -0.3, "mouth corner right", 0),
        ("Lip Top Raise Middle", 0.5, "lip top", 1),
        ("Lip Bottom Depress Middle", -0.4, "lip bottom", 1),
        ("Nose Wrinkle", 1.0, "nose wing right", 1),
        ("Jaw Pitch", 1.0, "chin", 1),
        ("Jaw Yaw", 0.5, "chin", 0),
        ("Head Yaw", 0.4, "nose tip", 0),
        ("Head Pitch", 0.3, "nose tip", 1),
        ("Head Roll", 0.3, "temple left", 1),
        ("Neck Pitch", 0.3, "chin", 1),
        ("Neck Roll", 0.3, "temple left", 1),
    ],
)
def test_signs(face, name, amount, landmark, axis):
    """The robot's left is on the picture's right; each landmark moves right or up."""
    assert landmark_moves(face, name, amount)[landmark][axis] > 1.0


def dark_centre(image, box):
    """Centre (x, y) of the darkest tenth of a box: the pupil."""
    x0, y0, x1, y1 = box
    part = image[y0:y1, x0:x1].sum(axis=2).astype(float)
    y, x = np.nonzero(part <= np.quantile(part, 0.1))
    return x.mean(), y.mean()


def test_gaze_goes_left_and_up_with_positive_angles(face):
    at = dict(zip(LANDMARKS, face.landmarks(NEUTRAL), strict=True))
    x0, x1 = sorted((at["eye inner left"][0], at["eye outer left"][0]))
    y = at["eye inner left"][1]
    box = tuple(int(v) for v in (x0 + 1, y - 4, x1 - 1, y + 5))
    middle = dark_centre(face.render(NEUTRAL), box)
    assert dark_centre(face.render(changed(NEUTRAL, "Gaze Target Phi", 0.4)), box)[0] > middle[0] + 1
    assert dark_centre(face.render(changed(NEUTRAL, "Gaze Target Phi", -0.4)), box)[0] < middle[0] - 1


def test_shut_lids_hide_the_eye(face):
    """With both lids at 0 the gaze cannot be seen; with one it can."""
    shut = NEUTRAL.copy()
    shut[[INDEX[n] for n in NAMES if n.startswith("Eyelid")]] = 0
    change = difference(face, face.render(shut).astype(int), changed(shut, "Gaze Target Phi", 0.4))
    assert (change >= 25).sum() == 0
    shut[INDEX["Eyelid Upper Left"]] = 1
    change = difference(face, face.render(shut).astype(int), changed(shut, "Gaze Target Phi", 0.4))
    assert (change >= 25).sum() > 10


def test_the_mirrored_pose_is_the_mirrored_picture(face):
    for pose in random_poses(3, 6):
        straight, other = face.render(pose).astype(int), face.render(mirrored(pose)).astype(int)
        change = np.abs(straight - other[:, ::-1])
        assert change.mean() < 0.4
        assert (change > 30).mean() < 0.002


@pytest.mark.parametrize("size", [1, 31, 64, 256])
def test_sizes_show_the_same_face(face, size):
    image = AmecaFace(size, samples=4 if size < SIZE else 2).render(NEUTRAL)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    if size == 256:
        small = image.reshape(SIZE, 2, SIZE, 2, 3).mean(axis=(1, 3))
        assert np.abs(small - face.render(NEUTRAL)).mean() < 1.0


def test_same_input_same_picture_whatever_came_before():
    first, second = AmecaFace(96), AmecaFace(96, threads=2)
    poses = random_poses(4, 3)
    forwards = [first.render(p) for p in poses]
    backwards = [second.render(p) for p in poses[::-1]][::-1]
    np.testing.assert_array_equal(forwards, backwards)
    out = np.full((96, 96, 3), 9, np.uint8)
    assert first.render(poses[0], out) is out
    np.testing.assert_array_equal(out, forwards[0])


def test_scenes_depend_on_their_seed_only():
    face = AmecaFace(64)
    pictures = []
    for seed in (0, 1, 2, 0):
        face.scene = Scene.random(seed)
        pictures.append(face.render(NEUTRAL).astype(int))
    np.testing.assert_array_equal(pictures[0], pictures[3])
    assert Scene.random(5) == Scene.random(5)
    assert min(np.abs(pictures[i] - pictures[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))) > 5


def test_a_light_from_the_left_lights_the_left():
    face = AmecaFace(64, Scene(lights=(Light((1.0, 0.0, 0.2), (1.0, 1.0, 1.0)),)))
    image = face.render(NEUTRAL).astype(int)[20:44, 16:48]  # within the face
    assert image[:, 16:].mean() > 1.5 * image[:, :16].mean()


def test_extreme_poses_stay_pictures(face):
    rng = np.random.default_rng(6)
    for _ in range(10):
        image = face.render(np.where(rng.random(N_CONTROLS) < 0.5, LOW, HIGH))
        assert (image > 120).any(axis=2).mean() > 0.08  # there is a lit face, not holes


def test_what_does_not_fit_is_named(face):
    with pytest.raises(ValueError, match=r"^values: "):
        face.render(np.zeros(29))
    with pytest.raises(ValueError, match=r"^out: "):
        face.render(NEUTRAL, np.zeros((SIZE, SIZE), np.uint8))
    with pytest.raises(ValueError, match=r"^size: "):
        AmecaFace(0)
