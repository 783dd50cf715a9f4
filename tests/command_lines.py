"""What must hold of every ``jsonl:`` output, wherever it came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from x2c_edge.controls import NAMES, SAFE_HIGH, SAFE_LOW, SLEW


def values_of(lines: list[dict[str, Any]]) -> np.ndarray:
    """The lines' controls (N, 30), paper units."""
    return np.array([[line["controls"][name] for name in NAMES] for line in lines])


def check_safe(lines: list[dict[str, Any]]) -> None:
    """Finite, in range, and no step beyond the slew limit for the time between the lines."""
    values = values_of(lines)
    assert np.isfinite(values).all()
    assert (values >= SAFE_LOW - 1e-12).all()
    assert (values <= SAFE_HIGH + 1e-12).all()
    dt = np.diff([line["t_send_ns"] for line in lines]) / 1e9
    assert (np.abs(np.diff(values, axis=0)) <= SLEW * np.minimum(dt, 0.1)[:, None] + 1e-9).all()
