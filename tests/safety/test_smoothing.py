import math
import re
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from x2c_edge.controls import GROUPS, NEUTRAL, indices
from x2c_edge.errors import BadArgumentError
from x2c_edge.safety.smoothing import OneEuroSettings, Smoothing, SmoothingSettings

SPEC = Path(__file__).parents[2] / "docs" / "spec" / "safety.md"
SAME = {group: OneEuroSettings(1.5, 0.7, 2.0) for group in GROUPS}


def smoothed(values, dt_s, settings=None):
    """values: (T, 30)."""
    one_euro = Smoothing(settings or SmoothingSettings())
    return np.array([one_euro.step(pose, dt_s).copy() for pose in values])


def test_first_pose_passes_unchanged_and_reset_forgets():
    one_euro = Smoothing(SmoothingSettings())
    assert np.array_equal(one_euro.step(NEUTRAL, 0.0), NEUTRAL)
    one_euro.step(NEUTRAL + 0.3, 0.03)
    one_euro.reset()
    assert np.array_equal(one_euro.step(NEUTRAL - 0.2, 0.03), NEUTRAL - 0.2)


def test_after_a_reset_it_is_like_new_its_speed_too():
    used, new = Smoothing(SmoothingSettings()), Smoothing(SmoothingSettings())
    for value in (0.0, 1.0, 2.0):
        used.step(NEUTRAL + value, 0.03)
    used.reset()
    for value in (0.0, 0.1, 0.2):
        assert np.array_equal(used.step(NEUTRAL + value, 0.03), new.step(NEUTRAL + value, 0.03))


def test_equals_the_papers_algorithm():
    rng = np.random.default_rng(1)
    values = np.cumsum(rng.normal(0, 0.1, (50, 30)), axis=0)
    dts = rng.uniform(0.005, 0.05, 50)
    one_euro = Smoothing(SmoothingSettings(**SAME))

    def gain(cutoff, dt):
        return 1 / (1 + (1 / (2 * math.pi * cutoff)) / dt)

    out, speed = None, 0.0
    for pose, dt in zip(values, dts, strict=True):
        if out is None:
            out = pose[7]
        else:
            speed += gain(2.0, dt) * ((pose[7] - out) / dt - speed)
            out += gain(1.5 + 0.7 * abs(speed), dt) * (pose[7] - out)
        assert one_euro.step(pose, dt)[7] == pytest.approx(out, rel=1e-12)


def test_each_group_has_its_own_settings():
    settings = SmoothingSettings(jaw=OneEuroSettings(1000.0, 0.0))
    out = smoothed(np.array([np.zeros(30), np.ones(30)]), 1 / 30, settings)[-1]
    assert (out[indices("jaw")] > 0.99).all()
    assert (out[indices("lips")] < 0.95).all()


def test_a_constant_stays_and_a_step_is_approached_without_overshoot():
    constant = smoothed(np.tile(NEUTRAL, (20, 1)), 1 / 30)
    assert np.abs(constant - NEUTRAL).max() < 1e-15
    step = smoothed(np.concatenate([np.zeros((1, 30)), np.ones((60, 30))]), 1 / 30)
    assert (np.diff(step, axis=0) >= 0).all()
    assert step.max() <= 1
    assert step[-1].min() > 0.99


@pytest.mark.parametrize("dt_s", [0.0, -1.0, -1e-9])
def test_without_time_nothing_moves(dt_s):
    one_euro = Smoothing(SmoothingSettings())
    before = one_euro.step(NEUTRAL, 0.0).copy()
    assert np.array_equal(one_euro.step(NEUTRAL + 1, dt_s), before)


@pytest.mark.parametrize("dt_s", [1e-9, 10.0, 1e9])
def test_any_time_gives_finite_values_between_old_and_new(dt_s):
    one_euro = Smoothing(SmoothingSettings())
    one_euro.step(NEUTRAL, 0.0)
    out = one_euro.step(NEUTRAL + 1, dt_s)
    assert np.isfinite(out).all()
    assert ((out >= NEUTRAL) & (out <= NEUTRAL + 1 + 1e-12)).all()


@pytest.mark.parametrize("fps", [15, 30, 60])
@pytest.mark.parametrize("noise", [0.02, 0.03])
def test_rest_does_not_tremble(fps, noise):
    rng = np.random.default_rng(2)
    seconds = smoothed(NEUTRAL + rng.normal(0, noise, (8 * fps, 30)), 1 / fps).reshape(8, fps, 30)
    spread = seconds[2:].std(axis=1).mean(axis=0)
    assert spread.max() <= 0.02


def test_a_fast_blink_keeps_its_depth():
    for phase in np.linspace(0, 1, 10, endpoint=False):
        t = np.arange(0, 1, 1 / 30) + phase / 30
        closing = np.where(np.abs(t - 0.5) < 0.05, 0.5 + 0.5 * np.cos(2 * np.pi * (t - 0.5) / 0.1), 0)
        values = np.tile(NEUTRAL, (len(t), 1))
        values[:, indices("eyelids")] -= closing[:, None]
        depth = 1 - smoothed(values, 1 / 30)[:, indices("eyelids")].min()
        assert depth >= 0.85 * closing.max()


@pytest.mark.parametrize("degrees", [10, 20, 40])
def test_a_saccade_arrives_with_the_next_frame(degrees):
    """40 ms from one target to the other, seen at 30 Hz."""
    t = np.arange(0, 1, 1 / 30)
    values = np.tile(NEUTRAL, (len(t), 1))
    values[:, indices("gaze")] += math.radians(degrees) * np.clip((t - 0.29) / 0.04, 0, 1)[:, None]
    arrived = smoothed(values, 1 / 30)[np.searchsorted(t, 0.33) + 1, indices("gaze")]
    assert (arrived >= 0.85 * math.radians(degrees)).all()


def test_each_groups_numbers_are_those_of_the_specification():
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", SPEC.read_text(), re.M)
    written = {group: tuple(map(float, numbers)) for group, *numbers in rows}
    assert {group: astuple(getattr(SmoothingSettings(), group)) for group in GROUPS} == written


def test_the_speed_is_smoothed_at_1_hz_unless_said_otherwise():
    assert OneEuroSettings(1.0, 0.0) == OneEuroSettings(1.0, 0.0, 1.0)


@pytest.mark.parametrize(("field", "lowest"), [("min_cutoff", 1e-3), ("beta", 0.0), ("d_cutoff", 1e-3)])
def test_the_ends_of_what_is_allowed_are_allowed_and_nothing_beyond(field, lowest):
    usual = {"min_cutoff": 1.0, "beta": 1.0, "d_cutoff": 1.0}
    for end in (lowest, 1e6):
        assert getattr(OneEuroSettings(**usual | {field: end}), field) == end
    for beyond in (math.nextafter(lowest, -1), math.nextafter(1e6, math.inf)):
        with pytest.raises(BadArgumentError, match=field):
            OneEuroSettings(**usual | {field: beyond})


@pytest.mark.parametrize("field", ["min_cutoff", "beta", "d_cutoff"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_senseless_settings_are_refused(field, value):
    with pytest.raises(BadArgumentError, match=field):
        OneEuroSettings(**{"min_cutoff": 1.0, "beta": 1.0, "d_cutoff": 1.0, field: value})
