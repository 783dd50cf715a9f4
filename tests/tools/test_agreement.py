from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tools.evaluate.agreement import agreement, best_lag, peaks
from tools.evaluate.single_stage_report import EXPRESSIBLE


def moving(n: int = 200) -> np.ndarray:
    return np.random.default_rng(0).normal(0.5, 0.2, (n, 30))


def waves(times: np.ndarray) -> np.ndarray:
    return np.stack([np.sin((1 + 0.1 * k) * times) for k in range(30)], 1)


def test_what_is_the_label_agrees():
    labels = moving()
    found = agreement(labels, labels)
    assert found.mean("r") == pytest.approx(1)
    assert found.mean("gain") == pytest.approx(1)
    assert found.mean("error") == found.mean("offset") == 0


def test_weak_and_beside():
    labels = moving()
    found = agreement(0.1 + 0.7 * labels, labels)
    assert found.mean("r") == pytest.approx(1)
    assert found.mean("gain") == pytest.approx(0.7)
    np.testing.assert_allclose(found.offset, (0.1 - 0.3 * labels).mean(0))


def test_a_robot_that_never_moves_agrees_with_nothing():
    labels = moving()
    found = agreement(np.full_like(labels, 0.5), labels)
    assert found.mean("r") == found.mean("gain") == 0


def test_a_control_that_rests_says_nothing():
    labels = moving()
    labels[:, EXPRESSIBLE[0]] = 0.5
    found = agreement(moving(), labels)
    assert np.isnan(found.r[EXPRESSIBLE[0]])
    assert np.isfinite(found.mean("r"))


@pytest.mark.parametrize("late", [0.0, 0.05, 0.1])
def test_lag_is_found(late: float):
    times = np.arange(0, 10, 1 / 60)
    at = times[60:-60:7]
    assert best_lag(times, waves(times - late), at, waves(at)) == pytest.approx(late, abs=1 / 60)


@pytest.mark.parametrize("found", [
    lambda times: waves(times - 0.5),  # later than is looked for
    lambda times: np.full((len(times), 30), 0.5),
    lambda times: np.random.default_rng(0).normal(size=(len(times), 30)),
], ids=["later", "still", "noise"])  # fmt: skip
def test_a_lag_that_is_not_there_is_not_found(found: Callable[[np.ndarray], np.ndarray]):
    times = np.arange(0, 10, 1 / 60)
    at = times[60:-60:7]
    assert np.isnan(best_lag(times, found(times), at, waves(at)))
    assert np.isnan(best_lag(times, waves(times), at, np.full((len(at), 30), 0.5)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_control_without_a_number_does_not_drop_out_of_the_mean(wrong: float):
    labels, broken = moving(), moving()
    broken[3, EXPRESSIBLE[0]] = wrong
    with pytest.raises(ValueError, match=rf"values\[3\], Brow Inner Left: {wrong}, not a finite number"):
        agreement(broken, labels)
    with pytest.raises(ValueError, match=r"labels\[3\]"):
        agreement(labels, broken)


def test_the_depth_of_peaks():
    labels = np.zeros((200, 30))
    labels[50:60] = -1.0  # ten blinks
    np.testing.assert_allclose(peaks(0.9 * labels + 0.3, labels), 0.9)
    late = np.roll(labels, 5, axis=0)
    np.testing.assert_allclose(peaks(late, labels), 0.5)
