from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tools.evaluate.mapping_errors import clustered_sem, errors_of, mean_of
from tools.evaluate.mapping_plot import WIDTH, draw_errors, write_errors_plot
from x2c_edge.controls import HIGH, INDEX, LOW, NEUTRAL
from x2c_edge.errors import NotFoundError


def test_the_spread_is_over_pictures():
    rng = np.random.default_rng(0)
    wanted, predicted = rng.random((7, 30)), rng.random((7, 30))
    errors = errors_of(predicted, wanted)
    each = [sum(abs(predicted[i, c] - wanted[i, c]) for c in range(30)) / 30 for i in range(7)]
    mean = sum(each) / 7
    sd = math.sqrt(sum((e - mean) ** 2 for e in each) / 6)
    sem = sd / math.sqrt(7)
    assert errors.sample.n == 7
    assert (errors.sample.mean, errors.sample.sd, errors.sample.sem) == pytest.approx((mean, sd, sem))
    assert errors.sample.ci95 == pytest.approx((mean - 1.96 * sem, mean + 1.96 * sem), abs=1e-5)
    assert errors.control == pytest.approx(np.abs(predicted - wanted).mean(0))
    assert math.isnan(errors.group_sem)


def test_one_picture_has_no_spread():
    one = mean_of(np.array([0.5]))
    assert one.mean == 0.5
    assert math.isnan(one.sem)
    stated = errors_of(np.zeros((1, 30)), np.full((1, 30), 0.5)).to_json()
    json.dumps(stated, allow_nan=False)
    assert stated["ci95"] == [None, None]
    assert stated["sd"] is stated["sem"] is stated["per_spread"] is None


def test_frames_of_an_animation_are_one_draw():
    rng = np.random.default_rng(0)
    values = rng.random(20)
    alone = clustered_sem(values, np.arange(20))
    assert alone == pytest.approx(mean_of(values).sem)
    # Each value four times over knows no more than the value once.
    four = clustered_sem(np.repeat(values, 4), np.repeat(np.arange(20), 4))
    assert four == pytest.approx(alone)
    assert mean_of(np.repeat(values, 4)).sem < 0.6 * alone


def test_animations_that_are_unknown_or_one_give_no_second_interval():
    wanted = np.zeros((4, 30))
    for animation in (np.full(4, -1, np.int32), np.zeros(4, np.int32)):
        assert math.isnan(errors_of(wanted + 0.1, wanted, animation).group_sem)
    known = errors_of(wanted + 0.1, wanted, np.array([0, 0, 1, 1], np.int32))
    assert known.group_ci95 == pytest.approx((0.1, 0.1))
    assert known.to_json()["sem_by_animation"] == 0


def test_the_published_metric_stretches_ranges_and_forgives_hidden_gaze():
    wanted = np.tile(NEUTRAL, (2, 1))
    wanted[1, [INDEX["Eyelid Upper Left"], INDEX["Eyelid Upper Right"]]] = -0.5
    predicted = wanted.copy()
    predicted[:, INDEX["Gaze Target Phi"]] += 0.25 * (HIGH - LOW)[INDEX["Gaze Target Phi"]]
    predicted[:, INDEX["Jaw Pitch"]] -= 0.5
    errors = errors_of(predicted, wanted)
    assert errors.published == pytest.approx(((0.5 + 1.0) + 1.0) / 60)
    half_lidded = wanted.copy()
    half_lidded[1, INDEX["Eyelid Upper Left"]] = 0.5
    predicted = half_lidded.copy()
    predicted[:, INDEX["Gaze Target Phi"]] += 0.25 * (HIGH - LOW)[INDEX["Gaze Target Phi"]]
    assert errors_of(predicted, half_lidded).published == pytest.approx((0.5 + 0.5) / 60)


def test_arrays_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(N, 30\)"):
        errors_of(np.zeros((2, 30)), np.zeros((3, 30)))


def test_the_plot_has_a_bar_and_a_dot_for_every_control(tmp_path):
    wanted = np.zeros((3, 30))
    results = {name: errors_of(wanted + e, wanted) for name, e in (("ours", 0.1), ("LMKC", 0.2), ("RC", 9.0))}
    image = draw_errors(results, "title")
    assert image.shape[1] == WIDTH
    bar = (image == (178, 114, 0)).all(2)
    assert (bar.sum(1) > 300).sum() >= 30 * 14  # 30 bars of 16 rows, half as long as the axis
    file = tmp_path / "deep" / "plot.png"
    write_errors_plot(file, results, "title")
    assert file.read_bytes()[1:4] == b"PNG"
    (tmp_path / "file").write_text("")
    with pytest.raises(NotFoundError, match="cannot make its folder"):
        write_errors_plot(tmp_path / "file" / "plot.png", results, "title")
