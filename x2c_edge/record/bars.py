"""The 30 controls as bars: how far each is from the robot's neutral, inside its range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import CONTROLS, GROUPS, N_CONTROLS, Control, indices
from x2c_edge.record.drawing import (
    DIM,
    FAINT,
    GREY,
    INK,
    ORANGE,
    PANEL,
    SKY,
    STATE_COLOURS,
    Colour,
    Image,
    fill,
    put_text,
    shortened,
)

MIN_WIDTH: Final = 370
MIN_HEIGHT: Final = 480
LEFT_COLOUR: Final = SKY
RIGHT_COLOUR: Final = ORANGE
CENTRE_COLOUR: Final = GREY
_SAFE: Final[Colour] = (84, 76, 70)
_SUPERSAMPLE: Final = 2
_GAP_AFTER_TRACK: Final = 8
_LEGEND: Final = ("left", "right", "middle", "neutral", "safe range")


@dataclass(frozen=True)
class BarsLayout:
    """Where things are in a panel; pixels, y of a row is its middle."""

    width: int
    height: int
    header: float
    row: float
    text: float
    track_left: int
    track_right: int
    heading_y: dict[str, float]
    row_y: tuple[float, ...]

    def x(self, control: Control, value: float) -> float:
        """Horizontal position of a value of a control, inside the track."""
        share = (value - control.low) / (control.high - control.low)
        return self.track_left + min(max(share, 0.0), 1.0) * (self.track_right - self.track_left)


@lru_cache(maxsize=8)
def bars_layout(width: int, height: int) -> BarsLayout:
    """The layout of a panel of this size. ValueError when it is too small to read."""
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        raise ValueError(f"width, height: {width}x{height} is below {MIN_WIDTH}x{MIN_HEIGHT}")
    header = height * 0.075
    # A heading takes 1.15 rows.
    row = (height - header - 0.01 * height) / (N_CONTROLS + 1.15 * len(GROUPS))
    heading_y: dict[str, float] = {}
    row_y = [0.0] * N_CONTROLS
    top = header
    for group in GROUPS:
        heading_y[group] = top + 0.65 * row
        top += 1.15 * row
        for index in indices(group):
            row_y[index] = top + row / 2
            top += row
    return BarsLayout(
        width=width,
        height=height,
        header=header,
        row=row,
        text=min(row * 0.52, width / 62),
        track_left=round(width * 0.385),
        track_right=round(width * 0.83),
        heading_y=heading_y,
        row_y=tuple(row_y),
    )


def side_colour(control: Control) -> Colour:
    """Blue for the left side of the face, orange for the right, grey for the middle."""
    if control.name.endswith("Left"):
        return LEFT_COLOUR
    return RIGHT_COLOUR if control.name.endswith("Right") else CENTRE_COLOUR


def draw_bars(values: NDArray[np.floating], width: int, height: int, *, state: str, note: str) -> Image:
    """One picture of the 30 controls, (height, width, 3) uint8 BGR, a new array.

    values: (30,), paper units; angles are written in degrees. A value beyond the range fills the bar to
    the end, a value that is not finite has no bar. state, note: the header's text; a note that is too
    long is cut. ValueError for another shape of values or a panel too small to read.
    """
    if values.shape != (N_CONTROLS,):
        raise ValueError(f"values: shape {values.shape}, expected ({N_CONTROLS},)")
    layout = bars_layout(width, height)
    image = np.array(_background(width, height), dtype=np.uint8)
    half_bar = max(layout.row * 0.24, 2.0)
    for control, y, value in zip(CONTROLS, layout.row_y, values.tolist(), strict=True):
        if math.isfinite(value):
            ends = sorted((layout.x(control, control.neutral), layout.x(control, value)))
            fill(image, ends[0], y - half_bar, ends[1], y + half_bar, side_colour(control))
            _neutral_mark(image, layout, control, y)
        put_text(
            image, _shown(control, value), layout.track_right + _GAP_AFTER_TRACK, y, layout.text * 0.92, INK
        )
    _header(image, layout, state, note)
    return image


def _shown(control: Control, value: float) -> str:
    if control.unit == "radian":
        return f"{math.degrees(value):+.1f} deg"
    return f"{value:.2f}"


def _neutral_mark(image: Image, layout: BarsLayout, control: Control, y: float) -> None:
    x = round(layout.x(control, control.neutral))
    half = layout.row * 0.4
    fill(image, x - 1, y - half, x + 1, y + half, INK)


def _header(image: Image, layout: BarsLayout, state: str, note: str) -> None:
    y, text = layout.header * 0.32, layout.text * 1.15
    mark = layout.text * 1.3
    fill(image, 12, y - mark / 2, 12 + mark, y + mark / 2, STATE_COLOURS.get(state, GREY))
    put_text(image, state, 20 + mark, y, text, INK)
    left = layout.track_left
    put_text(image, shortened(note, layout.width - left - 10, layout.text), left, y, layout.text, DIM)


@lru_cache(maxsize=8)
def _background(width: int, height: int) -> Image:
    """Everything that does not move. Words are drawn larger and scaled down, for smooth letters."""
    layout = bars_layout(width, height)
    small = _words(layout)
    _legend_marks(small, layout)
    for control, y in zip(CONTROLS, layout.row_y, strict=True):
        safe = layout.x(control, control.safe_low), layout.x(control, control.safe_high)
        fill(small, safe[0], y - layout.row * 0.36, safe[1], y + layout.row * 0.36, _SAFE)
        fill(small, layout.track_left, y, layout.track_right, y + 1, DIM)
        for end in (layout.track_left, layout.track_right - 1):
            fill(small, end, y - layout.row * 0.2, end + 1, y + layout.row * 0.2 + 1, DIM)
        _neutral_mark(small, layout, control, y)
    small.flags.writeable = False
    return small


def _words(layout: BarsLayout) -> Image:
    k = _SUPERSAMPLE
    large = np.full((layout.height * k, layout.width * k, 3), PANEL, dtype=np.uint8)
    text = layout.text * k
    for group, y in layout.heading_y.items():
        put_text(large, group.upper(), 12 * k, y * k, text * 0.85, DIM, thickness=k)
        line = (y + layout.row * 0.45) * k
        fill(large, 12 * k, line, (layout.width - 12) * k, line + k, FAINT)
    for control, y in zip(CONTROLS, layout.row_y, strict=True):
        put_text(large, control.name, 20 * k, y * k, text * 0.95, INK, thickness=k)
    for label, x in zip(_LEGEND, _legend_x(layout), strict=True):
        put_text(large, label, (x + 17) * k, _legend_y(layout) * k, text * 0.85, DIM, thickness=k)
    size = (layout.width, layout.height)
    return np.asarray(cv2.resize(large, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _legend_marks(image: Image, layout: BarsLayout) -> None:
    y = _legend_y(layout)
    *sides, neutral, safe = _legend_x(layout)
    for x, colour in zip(sides, (LEFT_COLOUR, RIGHT_COLOUR, CENTRE_COLOUR), strict=True):
        fill(image, x, y - 4, x + 12, y + 4, colour)
    fill(image, neutral + 5, y - 6, neutral + 7, y + 6, INK)
    fill(image, safe, y - 6, safe + 12, y + 6, _SAFE)


def _legend_y(layout: BarsLayout) -> float:
    return layout.header * 0.78


def _legend_x(layout: BarsLayout) -> list[float]:
    step = (layout.width - 24) / len(_LEGEND)
    return [12 + step * i for i in range(len(_LEGEND))]
