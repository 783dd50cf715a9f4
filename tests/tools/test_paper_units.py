from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tools.evaluate.mapping_errors import errors_of
from tools.evaluate.paper_units import TABLE_4, TABLE_5, most_rc, most_rt, per_spread, uniform_from


def test_the_printed_rc_and_rt_cannot_be_paper_units():
    assert TABLE_4["RT"] > 4 * most_rt()
    assert TABLE_4["RC"] > 1.25 * most_rc()


def test_they_fit_errors_per_spread():
    """Two samples, and a uniform draw within one spread: what is printed lies where bell curves lie."""
    (normal_rt, normal_rc), (laplace_rt, laplace_rc) = per_spread("normal"), per_spread("Laplace")
    assert TABLE_4["RT"] == pytest.approx((normal_rt + laplace_rt) / 2, abs=0.05)
    assert TABLE_4["RC"] == pytest.approx((normal_rc + laplace_rc) / 2, abs=0.05)


@pytest.mark.parametrize("name", ["normal", "Laplace"])
def test_the_distributions_figures_are_those_of_draws(name: str):
    rng = np.random.default_rng(0)
    draw = rng.standard_normal if name == "normal" else lambda n: rng.laplace(0, 1 / np.sqrt(2), n)
    rt, rc = per_spread(name)
    assert np.abs(draw(200_000) - draw(200_000)).mean() == pytest.approx(rt, abs=0.01)
    assert np.abs(rng.uniform(-1, 1, 200_000) - draw(200_000)).mean() == pytest.approx(rc, abs=0.01)
    assert uniform_from(np.zeros(3)) == 0.5


def test_no_random_sample_is_further_than_the_bound():
    """The bound is Jensen's: even for a control that is only ever at its ends."""
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=4000), rng.integers(0, 2, 4000).astype(float), rng.exponential(size=4000)):
        assert np.abs(values - rng.permutation(values)).mean() <= np.sqrt(2) * values.std() * 1.02


def test_an_error_of_one_spread_is_one():
    rng = np.random.default_rng(0)
    wanted = rng.uniform(0, 1, (500, 30)) * np.linspace(0.1, 2, 30)
    wanted[:, 3] = 0.5  # never moves, and says nothing
    errors = errors_of(wanted + wanted.std(0), wanted)
    assert errors.per_spread == pytest.approx(1)


def test_the_paper_s_figures_are_the_specification_s(shared: Path):
    text = (shared / "specs" / "paper.md").read_text()
    for name, row in (("RC", "RC"), ("RT", "RT"), ("SBC", "SBC"), ("LMKC", "LMKC"), ("ours", "X2CNet")):
        found = re.search(rf"^\| {row}[^|]*\| ([\d.]+) \|", text, re.MULTILINE)
        assert found, row
        assert float(found[1]) == TABLE_4[name]
    for name, error in TABLE_5.items():
        assert f"{name.replace('EfficientNet', 'EN')} {error}" in text
