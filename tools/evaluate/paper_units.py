"""Which unit the paper's Table 4 is in: what its own Tables 2 and 3 allow, without any of our data.

    python -m tools.evaluate.paper_units

A mean absolute error in paper units has bounds that hold for every distribution with Table 3's spreads: two
independent samples of a control differ by at most the root of 2 times its standard deviation in the mean
(Jensen), and a uniform draw lies at most half the range from any value in it. The printed RT and RC lie
beyond both. Counted in each control's own standard deviation, "per spread", they fit: two samples of a normal
distribution differ by 2 / root of pi = 1.128 there, of a Laplace distribution by 1.061, and a uniform draw
between -1 and 1 is 0.925 and 0.878 from one of them. SBC's 2.3075 no unit explains by coarse classes alone:
the mean as a constant answer is at most 1 from the truth there, and at most 0.18 in paper units.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import typer
from numpy.typing import NDArray

from tools.bench.common import markdown_table
from tools.dataset.dataset_stats import TABLE_3
from x2c_edge.controls import CONTROLS

# The paper's mean absolute errors: Table 4, and Table 5 by the name of the extractor.
TABLE_4 = {"ours": 0.0114, "RC": 0.8951, "RT": 1.0629, "SBC": 2.3075, "LMKC": 0.1602}
TABLE_5 = {"VGG16": 0.0107, "ViT-B/16": 0.0111, "ResNet18": 0.0114, "EfficientNet-B0": 0.0151}
Array = NDArray[np.float64]


def most_rt() -> float:
    """What RT can be at most in paper units, whatever the distributions: root of 2 times the mean spread."""
    return math.sqrt(2) * float(np.mean([TABLE_3[c.abbreviation][1] for c in CONTROLS]))


def most_rc() -> float:
    """What RC can be at most in paper units: half the range, where every value lies at one end."""
    return float(np.mean([(c.paper_high - c.paper_low) / 2 for c in CONTROLS]))


def uniform_from(values: Array) -> float:
    """Mean distance of a uniform draw between -1 and 1 from values, both per spread."""
    inside = np.abs(values) <= 1
    return float(np.where(inside, (1 + values**2) / 2, np.abs(values)).mean())


def per_spread(name: str) -> tuple[float, float]:
    """RT and RC (drawn between -1 and 1) of a "normal" or a "Laplace" distribution of spread 1."""
    shares = (np.arange(20_000) + 0.5) / 20_000  # quantiles stand for the distribution
    if name == "Laplace":
        values = -np.sign(shares - 0.5) * np.log(1 - 2 * np.abs(shares - 0.5)) / math.sqrt(2)
        return 1.5 / math.sqrt(2), uniform_from(values)
    values = np.array([NormalDist().inv_cdf(float(share)) for share in shares])
    return 2 / math.sqrt(math.pi), uniform_from(values)


def main() -> None:
    """Print the bounds beside what the paper prints."""
    normal, laplace = per_spread("normal"), per_spread("Laplace")
    rows = [
        ["RT", f"{TABLE_4['RT']:.4f}", f"{most_rt():.4f}", f"{normal[0]:.3f}", f"{laplace[0]:.3f}"],
        ["RC", f"{TABLE_4['RC']:.4f}", f"{most_rc():.4f}", f"{normal[1]:.3f}", f"{laplace[1]:.3f}"],
    ]
    head = ("", "printed", "most in paper units", "per spread, normal", "per spread, Laplace")
    typer.echo(markdown_table(head, rows))


if __name__ == "__main__":
    typer.run(main)
