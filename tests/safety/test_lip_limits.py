import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.rules import BOTTOM, BOTTOM_CURL, JAW, TOP, TOP_CURL
from x2c_edge.controls import NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.safety.lip_limits import limit_lips

J, D, R, BC, TC = JAW, BOTTOM, TOP, BOTTOM_CURL, TOP_CURL


def limited(jaw, bottom, top, bottom_curl, top_curl):
    values = NEUTRAL.copy()
    values[[J, D, R, BC, TC]] = jaw, bottom, top, bottom_curl, top_curl
    limit_lips(values)
    return values[[J, D, R, BC, TC]]


# Worked out by hand from the table of links.md 2.2.
@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        # jaw closed: D >= 0.40; J - 0.75 D = 0.7 -> R >= 0.5; BC >= 0.1 + 0.75 * 0.4; TC >= 0.75 * 0.5
        ((1.0, 0.0, 0.0, 0.0, 0.0), (1.0, 0.40, 0.50, 0.40, 0.375)),
        # jaw half way (0.85): D >= 0.2; 0.85 - 0.15 = 0.7 -> R >= 0.5; BC >= 0.25; TC >= 0.375
        ((0.85, 0.0, 0.0, 0.0, 0.0), (0.85, 0.20, 0.50, 0.25, 0.375)),
        # jaw open (0.5): D free; 0.5 -> R >= 1/6; BC >= 0.1; TC >= 0.125; TC's top 0.7 + 1.5 / 6 = 0.95
        ((0.5, 0.0, 0.0, 0.0, 1.0), (0.5, 0.0, 1 / 6, 0.1, 0.95)),
        # D = 0.5 at J = 0.7: 0.7 - 0.375 = 0.325 -> R free, at 0: TC <= 0.7; BC >= 0.475
        ((0.7, 0.5, 0.0, 0.0, 1.0), (0.7, 0.5, 0.0, 0.475, 0.7)),
        # lips up: nothing below its bound, BC >= 0.85 at D = 1, TC >= 0.75 at R = 1
        ((1.0, 1.0, 1.0, 0.0, 0.0), (1.0, 1.0, 1.0, 0.85, 0.75)),
        # nothing to do
        ((1.0, 0.6, 0.6, 0.9, 0.9), (1.0, 0.6, 0.6, 0.9, 0.9)),
    ],
)
def test_hand_computed(given_, expected):
    assert limited(*given_) == pytest.approx(expected, abs=1e-12)


def test_the_published_top_lip_is_lifted_as_the_specification_says():
    values = NEUTRAL.copy()
    values[R] = 0.30
    limit_lips(values)
    assert values[R] == pytest.approx(0.4625)


def test_neutral_is_allowed():
    values = NEUTRAL.copy()
    limit_lips(values)
    assert np.array_equal(values, NEUTRAL)


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_limiting_is_idempotent_and_stays_in_the_unit_range(five):
    once = limited(*five)
    assert ((once >= 0) & (once <= 1)).all()
    assert limited(*once) == pytest.approx(once, abs=1e-15)


def test_a_lip_stays_where_its_curl_can_follow():
    """TC reaches 0.3 at most, so R stays at 0.4; BC reaches 0.4, so D stays at 0.4 and the jaw may close."""
    values, high = NEUTRAL.copy(), SAFE_HIGH.copy()
    high[[TC, BC]] = 0.3, 0.4
    values[[J, D, R, BC, TC]] = 1.0, 1.0, 1.0, 0.0, 0.0
    limit_lips(values, SAFE_LOW, high)
    assert values[[D, R, BC, TC]] == pytest.approx([0.4, 0.4, 0.4, 0.3])
    assert values[J] == pytest.approx(0.64 + 0.75 * 0.4)  # R = 0.4 is the bound at 0.64
