"""The filter in both forms, beside the paper's formulas; as the robot's smoothing: test_smoothing.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

from x2c_edge.one_euro import OneEuro

MIN, BETA, D = np.array([1.0, 0.4]), np.array([40.0, 3.0]), np.array([6.0, 1.5])
UNIT = np.array([150.0, 1.0])


def gain(cutoff: float, dt: float) -> float:
    return 1 / (1 + 1 / (2 * math.pi * cutoff * dt))


@pytest.mark.parametrize("leads", [False, True])
def test_equals_the_formulas(leads: bool):
    rng = np.random.default_rng(3)
    measured = np.cumsum(rng.normal(0, 1.0, (60, 2)), axis=0) * UNIT / 20
    dts = rng.uniform(0.005, 0.05, 60)
    one_euro = OneEuro(MIN, BETA, D, leads=leads)
    one_euro.reset(measured[0])
    value, speed, last = measured[0].copy(), np.zeros(2), measured[0]
    for now, dt in zip(measured[1:], dts[1:], strict=True):
        for k in range(2):
            was = last[k] if leads else value[k]
            speed[k] += gain(D[k], dt) * ((now[k] - was) / dt - speed[k])
            value[k] += gain(MIN[k] + BETA[k] * abs(speed[k]) / UNIT[k], dt) * (now[k] - value[k])
        last = now
        np.testing.assert_allclose(one_euro.step(now, dt, UNIT), value, rtol=1e-12)
        np.testing.assert_allclose(one_euro.speed, speed, rtol=1e-12)


def test_leading_means_the_speed_of_what_is_measured():
    steady = OneEuro(MIN, BETA, D, leads=True)
    steady.reset(np.zeros(2))
    for k in range(1, 200):
        steady.step(np.array([2.0, 2.0]) * k / 30, 1 / 30)
    np.testing.assert_allclose(steady.speed, 2.0, rtol=1e-3)


@pytest.mark.parametrize("leads", [False, True])
def test_a_reset_forgets(leads: bool):
    used, new = OneEuro(MIN, BETA, D, leads=leads), OneEuro(MIN, BETA, D, leads=leads)
    used.reset(np.ones(2))
    used.step(np.array([3.0, -2.0]), 0.03)
    for one in (used, new):
        one.reset(np.array([0.5, 0.1]))
    for value in (0.1, 0.3, 0.2):
        expected = new.step(np.full(2, value), 0.02, UNIT).copy()
        np.testing.assert_array_equal(used.step(np.full(2, value), 0.02, UNIT), expected)


def test_the_unit_is_one_unless_said_otherwise():
    plain, given = OneEuro(MIN, BETA, D, leads=False), OneEuro(MIN, BETA, D, leads=False)
    for value in (0.1, 0.3, 0.2):
        expected = plain.step(np.full(2, value), 0.02).copy()
        np.testing.assert_array_equal(given.step(np.full(2, value), 0.02, np.ones(2)), expected)
