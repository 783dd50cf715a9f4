"""Lip ranges that depend on the jaw and on each other (links.md 2.2).

The robot enforces the same map at 60 Hz. Applying it here keeps what we believe we sent equal to what
the face does, and protects a robot that has no limiter of its own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import INDEX

_JAW: Final = INDEX["Jaw Pitch"]
_BOTTOM_MIDDLE: Final = INDEX["Lip Bottom Depress Middle"]
_TOP_MIDDLE: Final = INDEX["Lip Top Raise Middle"]
_BOTTOM_CURL: Final = INDEX["Lip Bottom Curl"]
_TOP_CURL: Final = INDEX["Lip Top Curl"]


def _ramp(x: float, x0: float, y0: float, x1: float, y1: float) -> float:
    """The line through two points, constant outside them."""
    u = min(max((x - x0) / (x1 - x0), 0.0), 1.0)
    return y0 + u * (y1 - y0)


def limit_lips(values: NDArray[np.float64]) -> None:
    """Moves four lip controls of ``values`` (30,), paper units, into their ranges, in place.

    In the specification's order, because each bound uses the limited value of the one before: bottom
    lip's middle (bound by the jaw), top lip's middle (by jaw and bottom lip), then the two curls.
    """
    jaw = float(values[_JAW])
    bottom = max(float(values[_BOTTOM_MIDDLE]), _ramp(jaw, 0.7, 0.0, 1.0, 0.40))
    top = max(float(values[_TOP_MIDDLE]), _ramp(jaw - 0.75 * bottom, 0.4, 0.0, 0.7, 0.5))
    bottom_curl = max(float(values[_BOTTOM_CURL]), _ramp(bottom, 0.0, 0.1, 1.0, 0.85))
    top_curl = max(float(values[_TOP_CURL]), _ramp(top, 0.0, 0.0, 1.0, 0.75))
    values[_BOTTOM_MIDDLE] = bottom
    values[_TOP_MIDDLE] = top
    values[_BOTTOM_CURL] = bottom_curl
    values[_TOP_CURL] = min(top_curl, _ramp(top, 0.0, 0.7, 0.2, 1.0))
