"""The virtual Ameca's colours: one texture (HEIGHT, WIDTH, 4) uint8 of B, G, R (gamma 2) and gloss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from x2c_edge.robot.atlas import BLOCKS, HEIGHT, SKIN_SIZE, WIDTH, skin_grid
from x2c_edge.robot.head_shape import MOUTH_V, bell, profile, smoothstep

Array = NDArray[np.float64]

# B, G, R, gloss
_SKIN = np.array([0.640, 0.645, 0.655, 0.30])
_SHELL = np.array([0.270, 0.265, 0.260, 0.42])
_SEAM = np.array([0.160, 0.160, 0.160, 0.10])
_BROW = np.array([0.265, 0.265, 0.270, 0.15])
_LIP = np.array([0.430, 0.430, 0.530, 0.45])
_NOSTRIL = np.array([0.150, 0.150, 0.170, 0.05])


def _plain(colour: Array, like: Array) -> Array:
    image: Array = np.empty((*like.shape, 4))
    image[:] = colour
    return image


def _mix(image: Array, colour: Array, amount: Array) -> None:
    image += (colour - image) * amount[..., None]


def _skin() -> Array:
    angle, v = skin_grid()
    x = profile(v)[2] * np.sin(angle)
    a = np.abs(x)
    image = _plain(_SKIN, v)
    occlusion = 0.16 * bell((a - 0.17) / 0.06) * bell((v - 0.02) / 0.07)  # inner corners of the eyes
    occlusion += 0.10 * bell((a - 0.30) / 0.17) * bell((v - 0.03) / 0.06)
    occlusion += 0.16 * bell((a - 0.13) / 0.05) * bell((v + 0.405) / 0.022)  # under the wings
    occlusion += 0.10 * bell(a / 0.12) * bell((v + 0.450) / 0.02)
    occlusion += 0.12 * bell(a / 0.15) * bell((v + 0.765) / 0.03)  # under the lower lip
    occlusion += 0.25 * smoothstep(-1.0, -1.25, v)  # under the jaw
    image[..., :3] *= 1 - occlusion[..., None]
    # Brows: thick towards the nose, thin and lower at the temples.
    along = np.clip((a - 0.115) / 0.40, 0.0, 1.0)
    middle = 0.160 + 0.055 * np.sin(np.pi * along**0.75) - 0.015 * along
    thick = 0.036 * np.minimum(along / 0.16 + 0.25, 1) ** 0.5 * (1 - along) ** 0.6 + 0.005
    ends = smoothstep(0.105, 0.130, a) * smoothstep(0.52, 0.47, a)
    _mix(image, _BROW, 0.92 * ends * smoothstep(1.35, 0.75, np.abs(v - middle) / thick))
    # Lips: cupid's bow above, a full curve below.
    t = np.clip(a / 0.268, 0, 1)
    top = MOUTH_V + 0.068 * np.sqrt(1 - t**1.6) - 0.016 * bell(a / 0.035)
    bottom = MOUTH_V - 0.088 * np.sqrt(1 - t**2.2)
    soft = 0.010
    inside = (
        smoothstep(-soft, soft, top - v) * smoothstep(-soft, soft, v - bottom) * smoothstep(0.275, 0.255, a)
    )
    _mix(image, _LIP, inside)
    image[..., :3] *= 1 - 0.55 * (bell((v - MOUTH_V) / 0.011) * smoothstep(0.285, 0.26, a))[..., None]
    _mix(image, _NOSTRIL, 0.85 * smoothstep(1.3, 0.6, np.hypot((a - 0.052) / 0.024, (v + 0.420) / 0.016)))
    # The face is a mask in front of a dark shell, with a seam between them.
    edge = np.hypot(angle / np.radians(82.0), np.clip(v - 0.20, 0, None) / 0.56)
    _mix(image, _SHELL, smoothstep(1.00, 1.012, edge))
    _mix(image, _SEAM, bell((edge - 1.0) / 0.012))
    # Panel lines of the mask, fine ones: hairline to temple, and along the jaw.
    line = bell((np.abs(angle) - np.radians(62.0)) / 0.010) * smoothstep(-0.05, 0.0, v)
    line += bell((v + 0.55 + 0.30 * np.clip(np.abs(angle) - 0.9, 0, 1)) / 0.006) * smoothstep(
        0.98, 1.02, np.abs(angle)
    )
    _mix(image, _SEAM, 0.35 * np.clip(line, 0, 1) * (edge < 1))
    return image


def _eye() -> Array:
    across, down = BLOCKS["eye"].grid()
    r = np.hypot(2 * across - 1, 2 * down - 1)
    turn = np.arctan2(down - 0.5, across - 0.5)
    image = _plain(np.array([0.86, 0.87, 0.88, 0.90]), r)
    image[..., :3] *= (1 - 0.25 * smoothstep(0.45, 0.95, r))[..., None]
    fibres = 0.5 + 0.5 * np.sin(turn * 23 + 3 * np.sin(turn * 7)) * smoothstep(0.15, 0.25, r)
    iris = np.array([0.62, 0.50, 0.36, 0.90]) * (0.75 + 0.35 * fibres[..., None] * [1, 1, 1, 0])
    iris[..., 3] = 0.90
    _mix(image, iris, smoothstep(0.385, 0.365, r))
    _mix(image, np.array([0.14, 0.12, 0.10, 0.90]), 0.9 * bell((r - 0.372) / 0.022))
    _mix(image, np.array([0.03, 0.03, 0.03, 0.95]), smoothstep(0.180, 0.160, r))
    return image


def _lid(which: str) -> Array:
    _, down = BLOCKS[f"lid {which}"].grid()
    image = _plain(_SKIN * [0.94, 0.94, 0.94, 1], down)
    lash = smoothstep(0.22 if which == "upper" else 0.14, 0.03, down)
    _mix(image, np.array([0.20, 0.20, 0.21, 0.2]), (0.85 if which == "upper" else 0.45) * lash)
    return image


def _teeth(which: str) -> Array:
    across, down = BLOCKS[f"teeth {which}"].grid()
    image = _plain(np.array([0.80, 0.86, 0.88, 0.55]), across)
    gap = np.abs((across * 14) % 1 - 0.5)  # 14 teeth, one gap in the middle of the row
    image[..., :3] *= (1 - 0.45 * smoothstep(0.10, 0.0, 0.5 - gap))[..., None]
    gum = smoothstep(0.30, 0.18, down) if which == "upper" else smoothstep(0.72, 0.84, down)
    _mix(image, np.array([0.30, 0.28, 0.42, 0.4]), gum)
    return image


def _rings(block: str, dark: Array, count: int) -> Array:
    _, down = BLOCKS[block].grid()
    image = _plain(dark, down)
    ring = 0.5 + 0.5 * np.cos(2 * np.pi * count * down)
    image[..., :3] *= (0.62 + 0.38 * np.sqrt(ring))[..., None]
    return image


def paint() -> NDArray[np.uint8]:
    """The texture of the whole head."""
    image = np.zeros((HEIGHT, WIDTH, 4))
    image[:SKIN_SIZE, :SKIN_SIZE] = _skin()
    pictures = {
        "eye": _eye(),
        "lid upper": _lid("upper"),
        "lid lower": _lid("lower"),
        "ear": _SKIN * [0.93, 0.93, 0.93, 1],
        "tongue": np.array([0.36, 0.34, 0.50, 0.5]),
        "throat": np.array([0.10, 0.09, 0.12, 0.0]),
        "teeth upper": _teeth("upper"),
        "teeth lower": _teeth("lower"),
        "neck": _rings("neck", np.array([0.300, 0.295, 0.290, 0.35]), 9),
        "chest": _rings("chest", np.array([0.56, 0.56, 0.57, 0.4]), 1),
    }
    for name, picture in pictures.items():
        b = BLOCKS[name]
        image[b.top : b.top + b.height, b.left : b.left + b.width] = picture
    return np.asarray(np.clip(image * 255 + 0.5, 0, 255), dtype=np.uint8)
