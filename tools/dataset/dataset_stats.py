"""What the controls of a set of pairs are like: the paper's Table 3, Figure 2 and Table A.1 for it.

python -m tools.dataset.dataset_stats /tmp/pairs
python -m tools.dataset.dataset_stats /tmp/pairs --plot docs/images/dataset.png --write docs/dataset.md
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np
import typer
from numpy.typing import NDArray

from tools._errors import user_errors
from tools.bench import common
from tools.dataset import action_units
from tools.dataset.exclusions import KINDS, broken_rules
from tools.dataset.pair_dataset import Division, PairDataset
from x2c_edge.controls import CONTROLS, Control
from x2c_edge.errors import UserError
from x2c_edge.record.drawing import fill, put_text
from x2c_edge.record.plots import BARS, GRID, INK, MARK, PAPER, SOFT, save_plot

COLUMNS = 6
PANEL_WIDTH, PANEL_HEIGHT = 250, 150
MARGIN = 22
BINS = 60


# The paper's Table 3, by the controls' abbreviations: mean and standard deviation.
TABLE_3: Final[dict[str, tuple[float, float]]] = {
    "JP": (0.635, 0.366), "JY": (0.519, 0.190), "LBC": (0.544, 0.123), "LBDL": (0.565, 0.085),
    "LBDM": (0.465, 0.087), "LBDR": (0.560, 0.064), "LCRL": (0.355, 0.129), "LCRR": (0.542, 0.087),
    "LCSL": (0.646, 0.119), "LCSR": (0.403, 0.095), "LTC": (0.543, 0.153), "LTRL": (0.649, 0.134),
    "LTRM": (0.540, 0.182), "LTRR": (0.620, 0.140), "NW": (0.191, 0.287), "BIL": (0.605, 0.236),
    "BIR": (0.655, 0.233), "BOL": (0.613, 0.211), "BOR": (0.598, 0.216), "ELL": (1.110, 0.521),
    "ELR": (1.060, 0.518), "EUL": (0.989, 0.311), "EUR": (0.978, 0.331), "GTP": (0.074, 0.311),
    "GTT": (0.045, 0.113), "HP": (0.004, 0.036), "HR": (0.005, 0.021), "HY": (-0.002, 0.048),
    "NP": (0.008, 0.024), "NR": (0.002, 0.009),
}  # fmt: skip


def whole(folder: Path) -> NDArray[np.float32]:
    """The controls of all pairs, (N, 30)."""
    return np.concatenate([PairDataset(folder, split, "random").controls for split in ("train", "test")])


def table(controls: NDArray[np.float32]) -> str:
    """The paper's Table 3 beside its own figures: one row a control, paper units, as Markdown."""
    mean, spread = "\N{GREEK SMALL LETTER MU}", "\N{GREEK SMALL LETTER SIGMA}"
    rows = []
    for control in CONTROLS:
        values = controls[:, control.index].astype(np.float64)
        theirs = TABLE_3[control.abbreviation]
        figures = (
            values.mean(), theirs[0], values.std(), theirs[1], values.max(), values.min(), control.neutral,
        )  # fmt: skip
        rows.append([control.name, *(f"{figure:.3f}" for figure in figures)])
    header = ["control", mean, f"paper's {mean}", spread, f"paper's {spread}", "max", "min", "neutral"]
    return common.markdown_table(header, rows)


def left_out(controls: NDArray[np.float32]) -> str:
    """How many pairs are what the paper leaves out on purpose."""
    broken = broken_rules(controls).sum(0)
    parts = ", ".join(f"{name} {count}" for name, count in zip(KINDS, broken, strict=True))
    return f"Pairs of what the paper leaves out (`tools/dataset/exclusions.py`): {parts}."


def plot(controls: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The paper's Figure 2: the distribution of each control over its whole range, BGR.

    The tallest bar of each panel has its full height, the others as the square root of their share; the
    red line is the neutral.
    """
    rows = -(-len(CONTROLS) // COLUMNS)
    image = np.full((rows * PANEL_HEIGHT + MARGIN, COLUMNS * PANEL_WIDTH + MARGIN, 3), PAPER, np.uint8)
    for control in CONTROLS:
        row, column = divmod(control.index, COLUMNS)
        left, top = MARGIN + column * PANEL_WIDTH, MARGIN + row * PANEL_HEIGHT
        _panel(image, left, top, control, controls[:, control.index])
    return image


def _panel(
    image: NDArray[np.uint8], left: int, top: int, control: Control, values: NDArray[np.float32]
) -> None:
    width, bottom = PANEL_WIDTH - MARGIN, top + PANEL_HEIGHT - 38
    low, high = min(control.low, float(values.min())), max(control.high, float(values.max()))
    put_text(image, control.name, left, top, 11, INK)
    counts, _ = np.histogram(values, BINS, (low, high))
    heights = (bottom - top - 16) * np.sqrt(counts / max(int(counts.max()), 1))
    for i in np.flatnonzero(counts):
        x = left + width * i / BINS
        fill(image, x, min(bottom - heights[i], bottom - 1), x + width / BINS, bottom, BARS)
    fill(image, left, bottom, left + width, bottom + 1, GRID)
    neutral = left + round(width * (control.neutral - low) / (high - low))
    fill(image, neutral, top + 10, neutral + 2, bottom + 4, MARK)
    put_text(image, f"{low:.2g}", left, bottom + 13, 9, SOFT)
    put_text(image, f"{high:.2g}", left + width, bottom + 13, 9, SOFT, align="right")


def summary(folder: Path, controls: NDArray[np.float32]) -> str:
    """How many pairs, and how both divisions divide them."""
    lines = [f"{len(controls)} pairs."]
    divisions: tuple[Division, ...] = ("animation", "random")
    for division in divisions:
        try:
            sides = [PairDataset(folder, split, division) for split in ("train", "test")]
        except UserError:
            continue  # the published set has no animations
        counts = [f"{len(side)} pairs of {len(np.unique(side.animation))} animations" for side in sides]
        if division == "random":
            counts = [f"{len(side)} pairs" for side in sides]
        lines.append(f"Divided by {division}: {counts[0]} for training, {counts[1]} for testing.")
    return " ".join(lines)


def main(
    folder: Path = typer.Argument(help="a set of tools.dataset.make_dataset, or the published X2C set"),
    plot_file: Path | None = typer.Option(None, "--plot", help="draw the distributions into this PNG"),
    write: Path | None = typer.Option(None, help="put tables and plot into this Markdown page"),
) -> None:
    """Print the tables."""
    with user_errors("error: "):
        controls = whole(folder)
        units = common.markdown_table(action_units.HEADER, action_units.rows(controls))
        text = "\n\n".join([summary(folder, controls), left_out(controls), table(controls), units])
        typer.echo(text)
        if plot_file is not None:
            save_plot(plot_file, plot(controls), make_folder=True)
        if write is not None:
            if plot_file is not None:
                link = os.path.relpath(plot_file, write.parent)
                text += f"\n![Distribution of the 30 controls]({link})\n"
            title = f"`python -m tools.dataset.dataset_stats {folder}`"
            common.replace_section(write, "dataset", f"{title}: {text}")


if __name__ == "__main__":
    typer.run(main)
