import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.face.crop_geometry import Square
from x2c_edge.face.steady import SteadySquare

FRAME_NS = 33_333_333


def noisy(rng: np.random.Generator, square: Square, part: float) -> Square:
    dx, dy, zoom, turn = rng.normal(0, part, 4)
    return Square(
        square.x + dx * square.side,
        square.y + dy * square.side,
        square.side * math.exp(zoom),
        square.roll + turn,
    )


def test_rest_is_rest() -> None:
    rng = np.random.default_rng(0)
    face = Square(300, 200, 150, 0.1)
    steady = SteadySquare(face, 0)
    seen = []
    for k in range(1, 120):
        seen.append(steady.at(k * FRAME_NS))
        steady.update(noisy(rng, face, 0.003), k * FRAME_NS)
    tail = seen[30:]
    assert np.ptp([s.side for s in tail]) < 0.005 * face.side
    assert np.std([s.x for s in tail]) < 0.0015 * face.side
    assert np.std([s.roll for s in tail]) < 0.002


def test_motion_is_followed_without_lag() -> None:
    speed = 1.5  # sides per second
    steady = SteadySquare(Square(0, 0, 100), 0)
    late = []
    for k in range(1, 60):
        x = speed * 100 * k * FRAME_NS / 1e9
        late.append((x - steady.at(k * FRAME_NS).x) / 100)
        steady.update(Square(x, 0, 100), k * FRAME_NS)
    assert max(map(abs, late[15:])) < 0.01  # a crop of the last landmarks would be 0.05 behind


def test_size_follows_slowly_but_surely() -> None:
    steady = SteadySquare(Square(0, 0, 100), 0)
    sides = []
    for k in range(1, 90):
        steady.update(Square(0, 0, 120), k * FRAME_NS)
        sides.append(steady.at(k * FRAME_NS).side)
    assert sides[0] < 110
    assert sides[-1] > 120 * (1 - 0.016)
    assert np.all(np.diff(sides) >= 0)


def test_roll_takes_the_short_way_round() -> None:
    steady = SteadySquare(Square(0, 0, 100, math.pi - 0.01), 0)
    for k in range(1, 30):
        steady.update(Square(0, 0, 100, -math.pi + 0.2), k * FRAME_NS)
        assert abs(math.remainder(steady.at(k * FRAME_NS).roll - math.pi, 2 * math.pi)) < 0.3


@given(
    st.lists(
        st.tuples(st.floats(-1e4, 1e4), st.floats(1, 1e4), st.floats(-4, 4), st.integers(-(10**10), 10**10)),
        max_size=30,
    )
)
def test_hostile_input_stays_finite(steps: list[tuple[float, float, float, int]]) -> None:
    """Jumps, a clock that stops, goes back or leaps."""
    steady, t_ns = SteadySquare(Square(0, 0, 100), 0), 0
    for x, side, roll, dt_ns in steps:
        t_ns += dt_ns
        steady.update(Square(x, -x, side, roll), t_ns)
        square = steady.at(t_ns + dt_ns)
        assert np.isfinite([square.x, square.y, square.side, square.roll]).all()
        assert 0.99 <= square.side <= 1.01e4
