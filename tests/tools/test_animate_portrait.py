from __future__ import annotations

import numpy as np
import pytest

from tools.evaluate import animate_portrait as animation
from x2c_edge.backends.open import open_backend
from x2c_edge.errors import NotFoundError
from x2c_edge.nets import landmarks as lm
from x2c_edge.packs import open_pack
from x2c_edge.pipelines.single_stage import SingleStagePipeline

AT = lm.LANDMARK_IDS.index


@pytest.fixture
def points() -> np.ndarray:
    """The landmarks of a plain face around (106, 96), 90 pixels wide."""
    rng = np.random.default_rng(0)
    points = np.array([106.0, 100.0]) + rng.uniform(-15, 15, (len(lm.LANDMARK_IDS), 2))
    turn = np.linspace(0, 2 * np.pi, len(lm.OVAL), endpoint=False) - np.pi / 2  # from the forehead on
    points[: len(lm.OVAL)] = np.array([106, 96]) + np.stack([45 * np.cos(turn), 55 * np.sin(turn)], 1)
    for ids, x in ((lm.RIGHT_EYE, 88), (lm.LEFT_EYE, 124)):
        for i in ids:
            points[AT(i)] = x, 84
    for upper in (159, 386):
        points[AT(upper), 1] = 81
    for lower in (145, 374):
        points[AT(lower), 1] = 87
    return points


def reader(pack: str) -> SingleStagePipeline:
    return SingleStagePipeline(open_pack(pack), open_backend("torch", 1))


REST = dict.fromkeys(animation.pose_at(0.0), 0.0)


def test_the_first_second_is_at_rest():
    for t in np.linspace(0, 1.1, 12):
        assert animation.pose_at(t) == REST


def test_everything_is_acted_out_within_its_range():
    poses = [animation.pose_at(t) for t in np.linspace(0, 10, 301)]
    for name in REST:
        values = np.array([pose[name] for pose in poses])
        low = -1.0 if name in ("sway", "turn") else 0.0
        assert low - 1e-9 <= values.min()
        assert values.max() <= 1.5 + 1e-9
        assert values.max() > 0.9
        assert np.abs(np.diff(values)).max() < 0.45  # no jumps


@pytest.mark.parametrize(
    ("name", "ids", "direction"),
    [
        ("jaw", (152, 17), (0, 1)),
        ("brows", (105, 334), (0, -1)),
        ("smile", (61,), (-1, -1)),
        ("smile", (291,), (1, -1)),
        ("blink_left", (386,), (0, 1)),
        ("blink_right", (159,), (0, 1)),
        ("turn", (1,), (1, 0)),
    ],
)
def test_each_part_of_the_acting_moves_its_landmarks(points, name: str, ids, direction):
    move = animation.displacements(points, REST | {name: 1.0})
    for i in ids:
        np.testing.assert_array_equal(np.sign(np.round(move[AT(i)], 9)), direction)
    assert not animation.displacements(points, REST).any()


def test_a_blink_is_one_eye_and_shuts_it(points):
    move = animation.displacements(points, REST | {"blink_left": 1.0})
    assert (points + move)[AT(386), 1] == pytest.approx((points + move)[AT(374), 1])
    assert not move[AT(159)].any()


def test_the_film_starts_as_the_photograph_and_moves_where_the_face_is(portrait, points):
    film = list(animation.animate(portrait, points, fps=5.0, seconds=4.0))
    assert len(film) == 20
    assert all(frame.shape == portrait.shape and frame.dtype == np.uint8 for frame in film)
    for frame in film[:6]:
        np.testing.assert_array_equal(frame, portrait)
    changed = np.abs(film[11].astype(int) - portrait).max(2) > 12  # 2.2 s: the mouth is open
    assert changed[96:160, 70:140].mean() > 0.1


def test_a_picture_without_a_face(pack_folders):
    with pytest.raises(NotFoundError, match="no face was found in the portrait"):
        animation.measure(np.full((120, 160, 3), 90, np.uint8), reader("small"))


def test_the_real_network_measures_the_portrait(portrait, real_pack: str):
    m = animation.measure(portrait, reader(real_pack))
    assert m.presence > 0.9
    assert m.landmarks.shape == (len(lm.LANDMARK_IDS), 2)
