"""The shape of the virtual Ameca's head: where its skin lies at every row and angle. Head space as in
``head_mesh.py``."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EYE_CENTRE: Final = np.array([0.305, 0.012, 0.43])  # the robot's left; the right one has -x
EYE_RADIUS: Final = 0.185
LID_RADIUS: Final = 0.196
EYE_INNER, EYE_OUTER = 0.155, 0.455
EYE_UPPER, EYE_LOWER = 0.108, 0.092
MOUTH_V: Final = -0.62
MOUTH_HALF: Final = 0.26
MIDDLE_Z: Final = -0.10

# One row of the skin per line: v names it (its height in front); then height and depth of its front,
# half width and height of its side, height and depth of its back.
_PROFILE: Final = np.array(
    [
        # v      y front z front  width  y side  y back  z back
        (1.00, 1.000, -0.120, 0.010, 1.000, 1.000, -0.130),
        (0.96, 0.975, 0.180, 0.270, 0.970, 0.965, -0.430),
        (0.86, 0.870, 0.460, 0.480, 0.890, 0.850, -0.700),
        (0.68, 0.680, 0.640, 0.625, 0.730, 0.620, -0.900),
        (0.45, 0.450, 0.725, 0.700, 0.510, 0.350, -1.000),
        (0.22, 0.220, 0.745, 0.722, 0.270, 0.100, -1.000),
        (0.00, 0.000, 0.720, 0.715, 0.030, -0.120, -0.950),
        (-0.25, -0.250, 0.715, 0.685, -0.190, -0.320, -0.850),
        (-0.42, -0.420, 0.720, 0.655, -0.320, -0.450, -0.750),
        (-0.62, -0.620, 0.725, 0.600, -0.460, -0.560, -0.660),
        (-0.80, -0.800, 0.690, 0.535, -0.590, -0.640, -0.600),
        (-0.92, -0.920, 0.665, 0.475, -0.670, -0.700, -0.550),
        (-1.00, -0.995, 0.590, 0.410, -0.730, -0.750, -0.520),
        (-1.15, -1.010, 0.420, 0.340, -0.770, -0.800, -0.500),
        (-1.30, -0.970, 0.150, 0.280, -0.810, -0.840, -0.480),
        (-1.45, -0.950, -0.050, 0.200, -0.860, -0.880, -0.450),
    ]
)


def bell(value: Array) -> Array:
    """exp(-value²): the shape of every bump and field here."""
    return np.asarray(np.exp(-np.square(value)))


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below low, 1 above high (or the other way round when low > high), smooth between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def profile(v: Array) -> Array:
    """The six columns of the profile at rows v, (6, ...): a Catmull-Rom curve through the table."""
    knots, values = _PROFILE[:, 0], _PROFILE[:, 1:]
    slopes = np.gradient(values, knots, axis=0)
    k = np.clip(np.searchsorted(-knots, -v, side="right") - 1, 0, len(knots) - 2)
    step = knots[k + 1] - knots[k]
    t = (v - knots[k]) / step
    h = (2 * t**3 - 3 * t**2 + 1, (t**3 - 2 * t**2 + t) * step, 3 * t**2 - 2 * t**3, (t**3 - t**2) * step)
    curve = h[0][..., None] * values[k] + h[1][..., None] * slopes[k]
    curve += h[2][..., None] * values[k + 1] + h[3][..., None] * slopes[k + 1]
    return np.moveaxis(curve, -1, 0)


def _sculpt(x: Array, v: Array, front: Array) -> Array:
    """How far forwards the features stand out of the plain head, and the nose wings sideways."""
    a = np.abs(x)
    z = -0.075 * bell((a - 0.30) / 0.16) * bell((v + 0.01) / 0.12)  # sockets
    z += 0.035 * bell((a - 0.27) / 0.20) * bell((v - 0.185) / 0.06)  # brow ridge
    z += 0.030 * bell((a - 0.42) / 0.15) * bell((v + 0.22) / 0.15)  # cheek bones
    z -= 0.025 * bell((a - 0.36) / 0.12) * bell((v + 0.50) / 0.12)  # hollow under them
    # Nose: a ridge that grows towards the tip and ends at its base.
    base = v - 0.22 * a  # the wings end higher than the tip
    height = np.interp(
        -base,
        [-0.16, -0.06, 0.05, 0.20, 0.33, 0.375, 0.405, 0.44],
        [0, 0.06, 0.085, 0.15, 0.215, 0.21, 0.12, 0],
    )
    width = np.interp(-v, [-0.16, 0.0, 0.2, 0.34, 0.42], [0.10, 0.075, 0.078, 0.095, 0.10])
    z += height * bell(a / width)
    z += 0.085 * bell((a - 0.115) / 0.042) * bell((v + 0.365) / 0.05)  # wings
    z -= 0.03 * bell((a - 0.05) / 0.022) * bell((v + 0.418) / 0.02)  # nostrils
    z -= 0.010 * bell(a / 0.022) * bell((v + 0.50) / 0.05)  # philtrum
    z += 0.035 * bell(a / 0.30) * bell((v + 0.62) / 0.18)  # the mouth stands forward
    taper = np.sqrt(np.clip(1 - np.square(a / 0.275), 0, 1))
    z += 0.040 * taper * bell((v + 0.580) / 0.034)
    z += 0.050 * taper * bell((v + 0.672) / 0.040)
    z -= 0.030 * taper * bell((v - MOUTH_V) / 0.014)
    z -= 0.012 * bell((a - 0.285) / 0.03) * bell((v - MOUTH_V) / 0.04)  # corners
    z -= 0.035 * bell(a / 0.20) * bell((v + 0.775) / 0.05)
    z += 0.045 * bell(a / 0.17) * bell((v + 0.90) / 0.09)  # chin
    return np.asarray(z * front)


def eye_opening(x: Array) -> Array:
    """0..1: how far the eye hole opens at |x|, 1 in its middle."""
    t = np.clip((np.abs(x) - EYE_INNER) / (EYE_OUTER - EYE_INNER), 0.0, 1.0)
    return np.asarray(np.sin(np.pi * t**0.92) ** 0.75)


def skin_points(angle: Array, v: Array, above_eye: Array) -> Array:
    """Positions (..., 3) of the skin at angle and row v; above_eye: which edge of the eye slit."""
    y_front, z_front, width, y_side, y_back, z_back = profile(v)
    cosine, sine = np.cos(angle), np.sin(angle)
    front = np.clip(cosine, 0, 1)
    back = np.clip(-cosine, 0, 1)
    x = width * sine
    y = y_side + (y_front - y_side) * front + (y_back - y_side) * back
    z = MIDDLE_Z + (z_front - MIDDLE_Z) * front**0.86 + (z_back - MIDDLE_Z) * back**0.9
    z += _sculpt(x, v, smoothstep(0.15, 0.5, front))
    # Open the eye slits, and let the skin round them lie on the lids.
    open_ = eye_opening(x) * (front > 0.3)
    y += open_ * np.where(
        above_eye, EYE_UPPER * np.exp(-np.abs(v) / 0.15), -EYE_LOWER * np.exp(-np.abs(v) / 0.13)
    )
    across = np.abs(x) - EYE_CENTRE[0]
    up = y - EYE_CENTRE[1]
    ball = EYE_CENTRE[2] + np.sqrt(np.clip((LID_RADIUS + 0.014) ** 2 - across**2 - up**2, 0.004, None))
    outside = np.hypot(np.clip(np.abs(across) - 0.15, 0, None), np.clip(np.abs(v), 0, None))
    hold = bell(outside / 0.055) * (front > 0.3)
    z += (ball - z) * hold
    return np.stack([x, y, z], axis=-1)
