"""Error of each control for some methods, drawn with OpenCV and NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.evaluate.mapping_errors import Errors
from x2c_edge.controls import CONTROLS
from x2c_edge.record.drawing import GREEN, ORANGE, SKY, VERMILLION, YELLOW, Colour, Image, fill, put_text
from x2c_edge.record.plots import BLUE, GRID, INK, PAPER, PURPLE, SOFT, save_plot

WIDTH: Final = 1200
_LEFT, _RIGHT, _TOP, _ROW = 270, 1160, 130, 30
_K: Final = 2  # drawn so much larger than it is kept
# Colour-blind-safe hues. The first method is drawn as a bar.
_COLOURS: Final[tuple[Colour, ...]] = (
    BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, (60, 60, 60), YELLOW,
)  # fmt: skip


def write_errors_plot(path: Path, results: Mapping[str, Errors], title: str) -> None:
    """Save ``draw_errors`` as a PNG; NotFoundError when the place cannot be written to."""
    save_plot(path, draw_errors(results, title), make_folder=True)


def draw_errors(results: Mapping[str, Errors], title: str) -> Image:
    """One row a control: the first method's mean absolute error as a bar, the others' as dots.

    Dots beyond the axis are drawn at its end. Returns (H, 1200, 3) uint8 BGR.
    """
    height = _TOP + _ROW * len(CONTROLS) + 60
    sheet = np.full((height * _K, WIDTH * _K, 3), PAPER, np.uint8)
    bottom = _TOP + _ROW * len(CONTROLS)
    widest = _widest(results)

    def x(value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * min(value / widest, 1.0)

    def text(content: str, at: tuple[float, float], size: float, colour: Colour, align: str = "left") -> None:
        put_text(sheet, content, at[0] * _K, at[1] * _K, size * _K, colour, align=align, thickness=_K)  # type: ignore[arg-type]

    text(title, (30, 34), 15, INK)
    at = 30.0
    for (name, errors), colour in zip(results.items(), _COLOURS, strict=False):
        fill(sheet, at * _K, 66 * _K, (at + 11) * _K, 77 * _K, colour)
        label = f"{name} {errors.sample.mean:.3f}"
        text(label, (at + 17, 72), 10, INK)
        at += 17 + 9.2 * len(label) + 14
    step = _nice(widest / 6)
    for tick in np.arange(0, widest, step):
        fill(sheet, x(tick) * _K, _TOP * _K, x(tick) * _K + 1, bottom * _K, GRID)
        text(f"{tick:g}", (x(tick), bottom + 15), 10, SOFT, "centre")
    text("mean absolute error, paper units (gaze, head and neck: radians)", (_LEFT, bottom + 40), 10, SOFT)
    for control in CONTROLS:
        y = _TOP + _ROW * (control.index + 0.5)
        text(control.name, (_LEFT - 12, y), 10, INK, "right")
        for place, errors in enumerate(results.values()):
            value, colour = float(errors.control[control.index]), _COLOURS[place % len(_COLOURS)]
            if place == 0:
                fill(sheet, _LEFT * _K, (y - 8) * _K, max(x(value), _LEFT + 1) * _K, (y + 8) * _K, colour)
            else:
                centre = (round(x(value) * _K), round(y * _K))
                cv2.circle(sheet, centre, 5 * _K, PAPER, -1, cv2.LINE_AA)
                cv2.circle(sheet, centre, 4 * _K, colour, -1, cv2.LINE_AA)
    small = cv2.resize(sheet, (WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _widest(results: Mapping[str, Errors]) -> float:
    """The random baselines would squeeze the rest together: the axis ends after the others."""
    learnt = [e.control for name, e in results.items() if name not in ("RC", "RT")] or [
        e.control for e in results.values()
    ]
    largest: NDArray[np.float64] = np.sort(np.concatenate(learnt))
    return max(float(largest[-1]) * 1.04, 1e-3)


def _nice(step: float) -> float:
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(k * power for k in (1, 2, 5, 10) if k * power >= step))
