import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.face.crop_geometry import (
    Square,
    affine_from_box,
    affine_from_landmarks,
    affine_square,
    anchor_roll,
    eye_roll,
    invert,
    landmark_square,
    square_affine,
    transform,
)

squares = st.builds(
    Square, st.floats(-500, 3000), st.floats(-500, 3000), st.floats(5, 4000), st.floats(-math.pi, math.pi)
)
sizes = st.integers(2, 1024)
point_sets = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).uniform(0, 1000, (40, 2)))


@given(squares, sizes, st.booleans())
def test_square_and_affine_are_each_others_inverse(square: Square, size: int, half: bool) -> None:
    index = size / 2 if half else None
    back = affine_square(square_affine(square, size, index), size, index)
    assert back.x == pytest.approx(square.x, abs=1e-6)
    assert back.y == pytest.approx(square.y, abs=1e-6)
    assert back.side == pytest.approx(square.side)
    assert math.remainder(back.roll - square.roll, 2 * math.pi) == pytest.approx(0, abs=1e-9)


@given(squares, sizes, point_sets)
def test_there_and_back(square: Square, size: int, points: np.ndarray) -> None:
    affine = square_affine(square, size)
    assert affine.shape == (2, 3)
    assert affine.dtype == np.float64
    np.testing.assert_allclose(transform(transform(points, affine), invert(affine)), points, atol=1e-6)


@given(squares, sizes)
def test_the_middle_of_the_crop_is_the_squares_centre(square: Square, size: int) -> None:
    for index in (None, size / 2):
        middle = (size - 1) / 2 if index is None else index
        got = transform([middle, middle], square_affine(square, size, index))
        np.testing.assert_allclose(got, [square.x, square.y], atol=1e-6)


@given(st.floats(-1.5, 1.5), st.floats(0.2, 5), st.floats(-900, 900), point_sets)
def test_a_crop_moves_with_the_face(turn: float, zoom: float, shift: float, points: np.ndarray) -> None:
    """Turn, zoom and shift the picture: the landmarks land on the same crop pixels."""
    right, left = points[0], points[1]
    affine = affine_from_landmarks(points, eye_roll(right, left), 128, 1.4)
    move = square_affine(Square(shift, -shift, zoom * 10, turn), 10)
    moved = transform(points, move)
    affine_moved = affine_from_landmarks(moved, eye_roll(moved[0], moved[1]), 128, 1.4)
    before, after = transform(points, invert(affine)), transform(moved, invert(affine_moved))
    np.testing.assert_allclose(after, before, atol=1e-5)


@given(st.floats(-3, 3), point_sets)
def test_the_landmarks_fill_their_part_of_the_crop(roll: float, points: np.ndarray) -> None:
    own = transform(points, invert(affine_from_landmarks(points, roll, 128, 1.4)))
    low, high = own.min(axis=0), own.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, 63.5, atol=1e-6)
    assert (high - low).max() == pytest.approx(128 / 1.4)


def test_a_box_is_the_landmarks_box() -> None:
    corners = np.array([[10.0, 20.0], [49.0, 59.0]])  # the first and the last pixel of a 40 pixel box
    box = affine_from_box(10, 20, 40, 40, 128, 1.4)
    np.testing.assert_allclose(transform([63.5, 63.5], box), corners.mean(axis=0))
    assert affine_square(box, 128).side == pytest.approx(56)


def test_roll_is_clockwise_in_the_picture() -> None:
    # The person's right eye is on the left of the picture; a head tilted clockwise has its left eye lower.
    assert eye_roll((100, 100), (200, 150)) > 0
    assert anchor_roll(eyes=(150, 100), mouth=(120, 200)) > 0
    assert eye_roll((100, 100), (200, 100)) == 0
    assert anchor_roll((150, 100), (150, 100)) == 0
    turned = transform([[0.0, 0.0], [100.0, 0.0], [50.0, 80.0]], square_affine(Square(0, 0, 10, 0.3), 10))
    assert eye_roll(turned[0], turned[1]) == pytest.approx(0.3)
    assert anchor_roll((turned[0] + turned[1]) / 2, turned[2]) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("scale", "shift", "rotated", "size"),
    [(2.3, -0.125, True, 512), (2.2, -0.1, False, 512), (2.2, 0.04, False, 512), (1.5, -0.1, True, 224)],
)
def test_liveportraits_crops_are_expressible(scale: float, shift: float, rotated: bool, size: int) -> None:
    """docs/spec/liveportrait.md section 11, written out from its formulas."""
    rng = np.random.default_rng(size)
    points = rng.uniform(100, 400, (106, 2))
    eyes, mouth = np.array([240.0, 180.0]), np.array([215.0, 300.0])
    uy = (mouth - eyes) / np.linalg.norm(mouth - eyes)
    ux = np.array([uy[1], -uy[0]])
    mean = points.mean(axis=0)
    own = (points - mean) @ np.stack([ux, uy], axis=1)
    low, high = own.min(axis=0), own.max(axis=0)
    side = (high - low).max() * scale
    centre = mean + np.stack([ux, uy], axis=1) @ ((low + high) / 2) + side * shift * uy
    angle = math.copysign(math.acos(ux[0]), ux[1]) if rotated else 0.0
    linear = size / side * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    to_crop = np.column_stack([linear, size / 2 - linear @ centre])

    square = landmark_square(points, anchor_roll(eyes, mouth)).enlarged(scale, shift_y=shift)
    affine = square_affine(square if rotated else square.turned(), size, centre_index=size / 2)
    np.testing.assert_allclose(transform(points, invert(affine)), transform(points, to_crop), atol=1e-7)


@pytest.mark.parametrize("square", [Square(0, 0, 0), Square(0, 0, -3), Square(0, 0, float("nan"))])
def test_an_empty_square_is_refused(square: Square) -> None:
    with pytest.raises(ValueError, match="empty"):
        square_affine(square, 128)
