import numpy as np
import pytest

from x2c_edge.controls import INDEX, NEUTRAL, SAFE_HIGH, SAFE_LOW, SLEW
from x2c_edge.errors import BadArgumentError
from x2c_edge.safety.envelope import Envelope

JAW = INDEX["Jaw Pitch"]


def test_default_is_the_deployed_robots():
    envelope = Envelope()
    assert np.array_equal(envelope.low, SAFE_LOW)
    assert np.array_equal(envelope.high, SAFE_HIGH)
    assert np.array_equal(envelope.slew, SLEW)
    assert np.array_equal(envelope.rest, NEUTRAL)


def test_arrays_are_read_only_copies():
    low = SAFE_LOW.copy()
    envelope = Envelope(low=low)
    low[JAW] = 0.9
    assert envelope.low[JAW] == SAFE_LOW[JAW]
    with pytest.raises(ValueError, match="read-only"):
        envelope.low[JAW] = 0.0


def test_clamp_moves_into_the_ranges_and_leaves_its_input():
    values = np.full((2, 30), 1e308)
    values[1] *= -1
    clamped = Envelope().clamp(values)
    assert np.array_equal(clamped[0], SAFE_HIGH)
    assert np.array_equal(clamped[1], SAFE_LOW)
    assert values[0, 0] == 1e308


def test_narrowed_changes_one_control_only():
    envelope = Envelope().narrowed("Jaw Pitch", low=0.7, slew=2.0)
    assert (envelope.low[JAW], envelope.high[JAW], envelope.slew[JAW]) == (0.7, 1.0, 2.0)
    others = np.arange(30) != JAW
    assert np.array_equal(envelope.low[others], SAFE_LOW[others])
    assert np.array_equal(envelope.slew[others], SLEW[others])


def test_narrowing_again_is_measured_against_the_narrowed():
    envelope = Envelope().narrowed("Jaw Pitch", low=0.7)
    with pytest.raises(BadArgumentError, match=r"0\.7\.\.1"):
        envelope.narrowed("Jaw Pitch", low=0.6)
    with pytest.raises(BadArgumentError, match="at most 2"):
        Envelope().narrowed("Jaw Pitch", slew=2.0).narrowed("Jaw Pitch", slew=3.0)


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"low": 0.4}, r"0\.5\.\.1"),
        ({"high": 1.1}, r"0\.5\.\.1"),
        ({"low": 0.9, "high": 0.8}, r"0\.5\.\.1"),
        ({"low": float("nan")}, r"0\.5\.\.1"),
        ({"high": float("inf")}, r"0\.5\.\.1"),
        ({"slew": 6.1}, "at most 6"),
        ({"slew": 0.0}, "above 0"),
        ({"slew": float("nan")}, "at most 6"),
    ],
)
def test_widening_is_refused_with_the_control_and_what_is_allowed(change, allowed):
    with pytest.raises(BadArgumentError, match=allowed) as error:
        Envelope().narrowed("Jaw Pitch", **change)
    assert str(error.value).startswith("Jaw Pitch:")
    assert "\n" not in str(error.value)


def test_unknown_control_suggests_the_nearest():
    with pytest.raises(BadArgumentError, match="did you mean 'Jaw Pitch'"):
        Envelope().narrowed("Jaw Pich", low=0.7)


def test_an_envelope_built_by_hand_cannot_be_wider_either():
    high = SAFE_HIGH.copy()
    high[JAW] = 2.0
    with pytest.raises(BadArgumentError, match="Jaw Pitch"):
        Envelope(high=high)
    with pytest.raises(BadArgumentError, match="Brow Inner Left: slew 16"):
        Envelope(slew=2 * SLEW)
    with pytest.raises(ValueError, match="shape"):
        Envelope(low=np.zeros(3))


def test_rest_follows_a_range_that_excludes_neutral():
    assert Envelope().narrowed("Jaw Pitch", high=0.9).rest[JAW] == 0.9


def test_envelopes_are_told_apart_by_identity():
    """Arrays have no single truth to compare by."""
    assert len({Envelope(), Envelope()}) == 2
    assert Envelope() != Envelope()
