"""The latency accounts as a picture, drawn with OpenCV and NumPy alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from x2c_edge.record.drawing import Align, Colour, Image, fill, put_text, shortened, text_width
from x2c_edge.record.plots import BARS, BLUE, GRID, INK, MARK, PALE_BLUE, PAPER, SOFT, save_plot
from x2c_edge.runtime.latency import END_TO_END, Histogram, LatencyBook, LatencyRow

WIDTH: Final = 1400
HEIGHT: Final = 900

# The longer the bar, the paler.
_P50, _P95, _P99 = BLUE, BARS, PALE_BLUE

_LEFT: Final = 230
_BARS_RIGHT: Final = 1120
_COLUMNS: Final = (1184, 1262, 1340)
_BARS_TOP: Final = 165
_BARS_BOTTOM: Final = 480
_TALLEST_ROW: Final = 34.0
_CURVE_RIGHT: Final = 1350
_CURVE_TOP: Final = 640
_CURVE_BOTTOM: Final = 825
_SUPERSAMPLE: Final = 2
_MOST_BINS: Final = 140
_NARROWEST_BIN: Final = 0.02  # natural logarithm; one bucket of a histogram is up to 0.016 wide


def write_latency_plot(path: str | Path, book: LatencyBook, *, budget_ms: float, title: str) -> None:
    """Save ``draw_latency`` as a PNG. Raises ``NotFoundError`` when the place cannot be written to."""
    save_plot(path, draw_latency(book, budget_ms=budget_ms, title=title))


def draw_latency(book: LatencyBook, *, budget_ms: float, title: str) -> Image:
    """Stages and end-to-end times as bars above, the distribution of capture to wire below.

    Where nothing went over a wire in real time (``--fast``), capture to controls takes its place.
    Returns (900, 1400, 3) uint8 BGR. What was never timed is left out.
    """
    sheet = _Sheet()
    sheet.text(title, 40, 42, 19, INK, bold=True)
    sheet.text(_summary(book), 40, 78, 12, SOFT)
    rows = [row for row in book.rows() if row.count and (row.name in book.stages or row.name in END_TO_END)]
    _draw_bars(sheet, rows, budget_ms)
    if book.capture_to_wire.count:
        _draw_distribution(sheet, book.capture_to_wire, "Capture to wire", "commands", budget_ms)
    else:
        _draw_distribution(sheet, book.capture_to_controls, "Capture to controls", "frames", budget_ms)
    return sheet.finished()


class _Sheet:
    """Paper that is addressed in final pixels and drawn larger, for smooth letters and edges."""

    def __init__(self) -> None:
        size = HEIGHT * _SUPERSAMPLE, WIDTH * _SUPERSAMPLE, 3
        self._large: Image = np.full(size, PAPER, dtype=np.uint8)

    def text(
        self,
        content: str,
        x: float,
        y: float,
        size: float,
        colour: Colour,
        align: Align = "left",
        bold: bool = False,
    ) -> None:
        k = _SUPERSAMPLE
        content = shortened(content, (WIDTH - 20 - x) * k if align == "left" else WIDTH * k, size * k)
        thickness = k + 2 if bold else k if size > 8 else 1
        put_text(self._large, content, x * k, y * k, size * k, colour, align=align, thickness=thickness)

    def fill(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        k = _SUPERSAMPLE
        fill(self._large, left * k, top * k, right * k, bottom * k, colour)

    def vertical(self, x: float, top: float, bottom: float, colour: Colour, width: float = 1) -> None:
        self.fill(x - width / 2, top, x + width / 2, bottom, colour)

    def finished(self) -> Image:
        small = cv2.resize(self._large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.uint8)


def _summary(book: LatencyBook) -> str:
    parts = [
        f"{book.capture_to_controls.count} frames",
        f"{book.misses} misses",
        f"{book.skips} skips",
    ]
    dominant = book.dominant()
    if dominant is not None:
        parts.append(f"'{dominant[0]}' dominates: {dominant[1]:.0%} of the stages' p50")
    return "   |   ".join(parts)


def _draw_bars(sheet: _Sheet, rows: list[LatencyRow], budget_ms: float) -> None:
    sheet.text("Time per stage, and end to end", 40, _BARS_TOP - 42, 14, INK)
    longest = max([budget_ms, *(row.p99 for row in rows)]) * 1.06

    def x(ms: float) -> float:
        return _LEFT + (_BARS_RIGHT - _LEFT) * ms / longest

    _bars_legend(sheet)
    for tick in _linear_ticks(longest):
        sheet.vertical(x(tick), _BARS_TOP, _BARS_BOTTOM, GRID)
        sheet.text(f"{tick:g}", x(tick), _BARS_BOTTOM + 16, 11, SOFT, "centre")
    sheet.text("milliseconds", (_LEFT + _BARS_RIGHT) / 2, _BARS_BOTTOM + 40, 11, SOFT, "centre")

    # The gap between the stages and the end-to-end times is half a row.
    pitch = min((_BARS_BOTTOM - _BARS_TOP) / (len(rows) + 0.5), _TALLEST_ROW)
    text = min(pitch * 0.45, 12.0)
    y = _BARS_TOP + pitch / 2
    in_stages = True
    for row in rows:
        if in_stages and row.name in END_TO_END:
            in_stages = False
            sheet.fill(40, y - pitch / 4, WIDTH - 40, y - pitch / 4 + 1, GRID)
            y += pitch / 2
        sheet.text(row.name.replace("_", " "), _LEFT - 12, y, text, INK, "right")
        half = pitch * 0.33
        for value, colour in ((row.p99, _P99), (row.p95, _P95), (row.p50, _P50)):
            sheet.fill(_LEFT, y - half, max(x(value), _LEFT + 1), y + half, colour)
        for value, column in zip((row.p50, row.p95, row.p99), _COLUMNS, strict=True):
            sheet.text(_short(value), column, y, text, INK, "right")
        y += pitch
    sheet.vertical(_LEFT, _BARS_TOP, _BARS_BOTTOM, SOFT)
    sheet.vertical(x(budget_ms), _BARS_TOP - 6, _BARS_BOTTOM, MARK, 2)
    side: Align = "right" if x(budget_ms) > _LEFT + 120 else "left"
    sheet.text(f"budget {budget_ms:g} ms", x(budget_ms), _BARS_TOP - 16, 11, MARK, side)


def _bars_legend(sheet: _Sheet) -> None:
    for name, column, colour in zip(("p50", "p95", "p99"), _COLUMNS, (_P50, _P95, _P99), strict=True):
        sheet.text(name, column, _BARS_TOP - 16, 11, SOFT, "right")
        sheet.fill(column - 48, _BARS_TOP - 21, column - 36, _BARS_TOP - 10, colour)
    sheet.text("ms", _COLUMNS[-1] + 8, _BARS_TOP - 16, 11, SOFT)


def _draw_distribution(
    sheet: _Sheet, histogram: Histogram, name: str, counted: str, budget_ms: float
) -> None:
    sheet.text(f"{name}: all {counted} of the run", 40, _CURVE_TOP - 84, 14, INK)
    edges_ns, below = histogram.cumulative()
    if below[-1] == 0:
        middle = (_LEFT + _CURVE_RIGHT) / 2, (_CURVE_TOP + _CURVE_BOTTOM) / 2
        sheet.text("nothing was timed", *middle, 14, SOFT, "centre")
        return
    shortest = edges_ns[np.searchsorted(below, 0, side="right") - 1] / 1e6
    low = max(shortest, 0.001) / 1.1
    high = max(histogram.max_ns / 1e6, budget_ms) * 1.15
    left, right = math.log(low), math.log(high)

    def x(ms: float) -> float:
        return _LEFT + (_CURVE_RIGHT - _LEFT) * (math.log(ms) - left) / (right - left)

    bins = min(_MOST_BINS, max(int((right - left) / _NARROWEST_BIN), 1))
    bin_edges = np.exp(np.linspace(left, right, bins + 1))
    counts = np.diff(np.interp(bin_edges * 1e6, edges_ns, below))
    _log_axis(sheet, counts, counted)
    for tick in _log_ticks(low, high):
        sheet.vertical(x(tick), _CURVE_TOP, _CURVE_BOTTOM, GRID)
        sheet.text(f"{tick:g}", x(tick), _CURVE_BOTTOM + 16, 11, SOFT, "centre")
    top = float(counts.max())
    for first, last, count in zip(bin_edges, bin_edges[1:], counts, strict=False):
        if count > 0:
            sheet.fill(x(first) + 0.5, _count_y(count, top), x(last), _CURVE_BOTTOM, _P95)
    sheet.fill(_LEFT, _CURVE_BOTTOM, _CURVE_RIGHT, _CURVE_BOTTOM + 1, SOFT)
    sheet.text(
        "milliseconds (logarithmic)", (_LEFT + _CURVE_RIGHT) / 2, _CURVE_BOTTOM + 42, 11, SOFT, "centre"
    )

    marks = zip(("p50", "p95", "p99"), histogram.percentiles(50, 95, 99), strict=True)
    labels = [(f"{name} {_short(ns / 1e6)} ms", ns / 1e6, INK) for name, ns in marks]
    labels.append((f"budget {budget_ms:g} ms", budget_ms, MARK))
    for line, (label, ms, colour) in enumerate(labels):
        y = _CURVE_TOP - 54 + 17 * line
        sheet.vertical(x(ms), y - 7, _CURVE_BOTTOM, colour, 2 if colour == MARK else 1)
        fits = x(ms) + 6 + text_width(label, 11) < _CURVE_RIGHT
        sheet.text(label, x(ms) + (6 if fits else -6), y, 11, colour, "left" if fits else "right")


def _count_y(count: float, top: float) -> float:
    """Height of a count on the logarithmic axis, which starts at a half; less is a thin line."""
    share = math.log(max(count, 0.5) / 0.5) / math.log(max(top, 1.0) * 1.3 / 0.5)
    return _CURVE_BOTTOM - max((_CURVE_BOTTOM - _CURVE_TOP) * share, 1.0)


def _log_axis(sheet: _Sheet, counts: NDArray[np.float64], counted: str) -> None:
    top = float(counts.max())
    for power in range(int(math.log10(max(top, 1.0))) + 1):
        y = _count_y(10.0**power, top)
        sheet.fill(_LEFT, y, _CURVE_RIGHT, y + 1, GRID)
        sheet.text(f"{10**power}", _LEFT - 10, y, 11, SOFT, "right")
    middle = (_CURVE_TOP + _CURVE_BOTTOM) / 2
    sheet.text(counted, 40, middle - 9, 11, SOFT)
    sheet.text("(logarithmic)", 40, middle + 9, 11, SOFT)


def _short(ms: float) -> str:
    """Three significant digits."""
    if ms >= 100:
        return f"{ms:.0f}"
    return f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}" if ms >= 0.1 else f"{ms:.3f}"


def _linear_ticks(longest: float) -> list[float]:
    """Round values from 0 to ``longest``, six to twelve of them."""
    step = 10.0 ** math.floor(math.log10(longest))
    for divisor in (1, 2, 5, 10):
        if longest / (step / divisor) >= 6:
            break
    step /= divisor
    return [round(step * i, 9) for i in range(int(longest / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Round values from ``low`` to ``high``; the wider the range, the fewer in each power of ten."""
    steps: tuple[float, ...] = (1,) if high / low > 2000 else (1, 2, 5)
    if high / low < 20:
        steps = (1, 1.5, 2, 3, 4, 5, 7)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [round(step * 10.0**power, 9) for power in powers for step in steps]
    return [tick for tick in ticks if low <= tick <= high]
