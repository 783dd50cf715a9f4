"""KeyFrame-framed animations: the curves between key frames, the rules, the hand-made library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.controls import CONTROLS, HIGH, INDEX, LOW, N_CONTROLS, NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.errors import BadArgumentError
from x2c_edge.robot.animation import Animation, KeyFrame
from x2c_edge.robot.animation_text import LIBRARY, library

JAW = INDEX["Jaw Yaw"]


def jaw(*keys: KeyFrame) -> Animation:
    return Animation("test", (), {JAW: keys})


def at(animation: Animation, *times: float) -> list[float]:
    return animation.sample(times)[:, JAW].tolist()


def test_a_line_between_key_frames():
    animation = jaw(KeyFrame(1.0, 0.2, "linear"), KeyFrame(3.0, 0.6))
    assert at(animation, 1.0, 1.5, 2.0, 3.0) == pytest.approx([0.2, 0.3, 0.4, 0.6])


def test_hold_keeps_the_value_until_the_next_key_frame():
    animation = jaw(KeyFrame(0.0, 0.2, "hold"), KeyFrame(1.0, 0.8, "hold"), KeyFrame(2.0, 0.4))
    assert at(animation, 0.0, 0.999, 1.0, 1.9, 2.0) == [0.2, 0.2, 0.8, 0.8, 0.4]


def test_outside_its_key_frames_a_control_stays():
    animation = jaw(KeyFrame(1.0, 0.2, "linear"), KeyFrame(2.0, 0.6, "linear"))
    assert at(animation, 0.0, 0.99, 2.01, 50.0) == pytest.approx([0.2, 0.2, 0.6, 0.6])


def test_the_default_eases_in_and_out():
    """Handles at thirds of the interval: the curve's parameter is the time, the value 3u² - 2u³."""
    u = np.linspace(0, 1, 21)
    values = jaw(KeyFrame(2.0, 0.0), KeyFrame(4.0, 1.0)).sample(2 + 2 * u)[:, JAW]
    np.testing.assert_allclose(values, 3 * u**2 - 2 * u**3, atol=1e-12)


def test_handles_bend_the_curve():
    """Points of the curve by its own formula, for parameters that we choose."""
    out_dt, out_dv, in_dt, in_dv = 0.9, 0.5, 0.2, -0.3
    animation = jaw(KeyFrame(1.0, 0.2, "bezier", (out_dt, out_dv, in_dt, in_dv)), KeyFrame(2.0, 0.7))
    u = np.linspace(0, 1, 50)
    weights = np.stack([(1 - u) ** 3, 3 * (1 - u) ** 2 * u, 3 * (1 - u) * u**2, u**3])
    times = np.array([1.0, 1.0 + out_dt, 2.0 - in_dt, 2.0]) @ weights
    values = np.array([0.2, 0.2 + out_dv, 0.7 + in_dv, 0.7]) @ weights
    np.testing.assert_allclose(animation.sample(times)[:, JAW], values, atol=1e-7)


def test_controls_without_a_track_stay_neutral():
    values = jaw(KeyFrame(0.0, 0.9)).sample([0.0, 1.0])
    others = np.arange(N_CONTROLS) != JAW
    np.testing.assert_array_equal(values[:, others], np.tile(NEUTRAL[others], (2, 1)))
    np.testing.assert_array_equal(Animation("none").sample([0.0]), [NEUTRAL])


def test_duration_is_the_last_key_frame():
    assert (
        Animation("x", (), {JAW: (KeyFrame(0.5, 0.5),), 0: (KeyFrame(0, 0.5), KeyFrame(2.5, 0.6))}).duration
        == 2.5
    )
    assert Animation("none").duration == 0


@st.composite
def tracks(draw: st.DrawFn, control: int) -> tuple[KeyFrame, ...]:
    value = st.floats(float(LOW[control]), float(HIGH[control]))
    times = sorted(draw(st.lists(st.integers(0, 400), min_size=1, max_size=6, unique=True)))
    values = [draw(value) for _ in times]
    keys = []
    for i, time in enumerate(times):
        handles = None
        if i + 1 < len(times) and draw(st.booleans()):
            interval = (times[i + 1] - time) / 100
            share = st.floats(0, 1)
            handles = (
                draw(share) * interval,
                draw(value) - values[i],
                draw(share) * interval,
                draw(value) - values[i + 1],
            )
        kind = "bezier" if handles else draw(st.sampled_from(["bezier", "linear", "hold"]))
        keys.append(KeyFrame(time / 100, values[i], kind, handles))
    return tuple(keys)


@given(st.integers(0, N_CONTROLS - 1).flatmap(lambda i: st.tuples(st.just(i), tracks(i))))
def test_a_valid_track_never_leaves_the_range_and_meets_its_key_frames(case):
    control, keys = case
    animation = Animation("x", (), {control: keys})
    values = animation.sample(np.linspace(-0.1, 4.2, 200))[:, control]
    assert values.min() >= LOW[control] - 1e-6
    assert values.max() <= HIGH[control] + 1e-6
    met = animation.sample([key.time for key in keys])[:, control]
    np.testing.assert_allclose(met, [key.value for key in keys], atol=1e-9)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ((), "no key frames"),
        ((KeyFrame(0, 0.5), KeyFrame(0, 0.6)), "put key frames in order"),
        ((KeyFrame(-1, 0.5),), "give seconds"),
        ((KeyFrame(float("nan"), 0.5),), "give seconds"),
        ((KeyFrame(0, 1.2),), "value 1.2; give 0..1"),
        ((KeyFrame(0, float("nan")),), "value nan"),
        ((KeyFrame(0, 0.5, "bezier", (0, 0.6, 0, 0)),), "a handle ends at 1.1"),
        ((KeyFrame(0, 0.5, "bezier", (0, 0, 0, -0.6)), KeyFrame(1, 0.5)), "a handle ends at -0.1"),
        ((KeyFrame(0, 0.5, "bezier", (2, 0, 0, 0)), KeyFrame(1, 0.5)), "keep both in 0..1"),
        ((KeyFrame(0, 0.5, "bezier", (0, 0, float("inf"), 0)), KeyFrame(1, 0.5)), "not finite"),
    ],
)
def test_broken_rules_are_named(keys, says):
    with pytest.raises(BadArgumentError, match="Jaw Yaw") as raised:
        jaw(*keys)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def animations() -> list[Animation]:
    return library()


def test_the_library_covers_what_a_face_does(animations):
    tags = {tag for animation in animations for tag in animation.tags}
    emotions = {"joy", "sadness", "anger", "fear", "surprise", "disgust", "contempt"}
    assert emotions | {"asymmetric", "wink", "speech", "gaze", "head", "blink"} <= tags
    for emotion in emotions:
        assert sum(emotion in animation.tags for animation in animations) >= 2, emotion
    assert len({animation.name for animation in animations}) == len(animations) >= 30
    assert len(animations) == len(list(LIBRARY.glob("*.txt")))


def test_the_library_moves_every_control_both_ways(animations):
    values = np.concatenate([a.sample(np.arange(0, a.duration, 0.05)) for a in animations])
    assert (values >= SAFE_LOW - 1e-9).all()
    assert (values <= SAFE_HIGH + 1e-9).all()
    for control in CONTROLS:
        room = control.safe_high - control.safe_low
        column = values[:, control.index]
        if control.neutral > control.safe_low + 0.05 * room:
            assert column.min() < control.neutral - 0.04 * room, control.name
        if control.neutral < control.safe_high - 0.05 * room:
            assert column.max() > control.neutral + 0.10 * room, control.name
