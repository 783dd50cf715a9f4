"""Where each part of the head finds its colours in the one texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SKIN_SIZE: Final = 768
WIDTH: Final = 1024
HEIGHT: Final = 768
SKIN_ANGLE: Final = np.radians(105.0)  # the skin's picture spans -105..105 degrees and these rows:
SKIN_TOP, SKIN_BOTTOM = 1.0, -1.45


@dataclass(frozen=True)
class Block:
    """A rectangle of the texture: left, top, width, height in texels."""

    left: int
    top: int
    width: int
    height: int

    def uv(self, across: Array, down: Array) -> Array:
        """Texel coordinates (..., 2) of the points across and down (0..1) in the block."""
        return np.stack(
            [self.left + 0.5 + across * (self.width - 2), self.top + 0.5 + down * (self.height - 2)], axis=-1
        )

    @property
    def centre(self) -> Array:
        return np.array([self.left + self.width / 2, self.top + self.height / 2])

    def grid(self) -> tuple[Array, Array]:
        """across and down (height, width) of every texel."""
        across = (np.arange(self.width) - 0.5) / (self.width - 2)
        down = (np.arange(self.height) - 0.5) / (self.height - 2)
        x, y = np.meshgrid(across, down)
        return x, y


BLOCKS: Final[dict[str, Block]] = {
    "eye": Block(768, 0, 256, 256),
    "lid upper": Block(768, 256, 64, 64),
    "lid lower": Block(832, 256, 64, 64),
    "ear": Block(896, 256, 64, 64),
    "tongue": Block(960, 256, 64, 64),
    "teeth upper": Block(768, 320, 256, 64),
    "teeth lower": Block(768, 384, 256, 64),
    "throat": Block(768, 640, 64, 64),
    "neck": Block(768, 448, 128, 192),
    "chest": Block(896, 448, 128, 192),
}


def skin_uv(angle: Array, v: Array) -> Array:
    """Texel coordinates (..., 2) of skin at angle (radians round the head) and row v."""
    across = (angle / SKIN_ANGLE + 1) / 2 * (SKIN_SIZE - 1)
    down = (SKIN_TOP - v) / (SKIN_TOP - SKIN_BOTTOM) * (SKIN_SIZE - 1)
    return np.stack([np.clip(across, 0, SKIN_SIZE - 1.5), down], axis=-1)


def skin_grid() -> tuple[Array, Array]:
    """angle and v (SKIN_SIZE, SKIN_SIZE) of every texel of the skin."""
    angle = np.linspace(-SKIN_ANGLE, SKIN_ANGLE, SKIN_SIZE)
    v = np.linspace(SKIN_TOP, SKIN_BOTTOM, SKIN_SIZE)
    a, b = np.meshgrid(angle, v)
    return a, b
