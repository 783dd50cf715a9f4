"""Where a crop lies in a frame, as an affine; nothing here touches pixels.

Conventions. Pixel coordinates are indices: (0, 0) is the *centre* of the top left pixel, x right, y
down. An affine is (2, 3) float64 and maps **crop pixel to frame pixel**. Angles (``roll``) are radians,
positive clockwise as seen in the picture; a face is upright at 0, and its "own axes" are x from the
person's right to their left, y from forehead to chin.

A crop of ``size`` pixels shows its square with the square's centre on crop index (size - 1)/2, the
middle of the pixel grid; the training tool does the same. LivePortrait's crops put it on index size/2
(docs/spec/liveportrait.md section 11): pass ``centre_index=size / 2`` for those. Their other differences
are the arguments of ``Square.enlarged`` (scale, shift) and ``Square.turned`` (an upright square from a
box that was measured in the rotated frame).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Square:
    """A square in the frame: centre and side in frame pixels, turned by roll."""

    x: float
    y: float
    side: float
    roll: float = 0.0

    def enlarged(self, scale: float, shift_x: float = 0.0, shift_y: float = 0.0) -> Square:
        """``scale`` times the side, then moved along its own axes by parts of the *new* side."""
        side = self.side * scale
        c, s = math.cos(self.roll), math.sin(self.roll)
        return Square(
            self.x + side * (c * shift_x - s * shift_y),
            self.y + side * (s * shift_x + c * shift_y),
            side,
            self.roll,
        )

    def turned(self, roll: float = 0.0) -> Square:
        """The same centre and side at another roll."""
        return replace(self, roll=roll)


def eye_roll(right_eye: ArrayLike, left_eye: ArrayLike) -> float:
    """Roll of the line from the person's right eye to the left one; each is (2,) frame pixels."""
    dx, dy = np.subtract(left_eye, right_eye)
    return math.atan2(dy, dx)


def anchor_roll(eyes: ArrayLike, mouth: ArrayLike) -> float:
    """Roll of the line from the midpoint of the eyes to that of the mouth (docs/spec/liveportrait.md
    section 11, theta); each is (2,) frame pixels. 0 when they are closer than 1e-3 pixel."""
    dx, dy = np.subtract(mouth, eyes)
    return math.atan2(-dx, dy) if math.hypot(dx, dy) > 1e-3 else 0.0


def landmark_square(points: ArrayLike, roll: float) -> Square:
    """The square on the box of ``points`` (L, 2) measured in axes turned by ``roll``: the box's centre
    and its longer side."""
    c, s = math.cos(roll), math.sin(roll)
    own = np.asarray(points, dtype=np.float64) @ np.array([[c, -s], [s, c]])
    low, high = own.min(axis=0), own.max(axis=0)
    u, v = (low + high) / 2
    return Square(float(c * u - s * v), float(s * u + c * v), float((high - low).max()), roll)


def square_affine(square: Square, size: int, centre_index: float | None = None) -> Array:
    """Affine of the crop of size x size pixels that shows ``square``. Raises ValueError for an empty one."""
    if size < 1 or not square.side > 0:
        raise ValueError(f"a crop of {size} pixels from a square of side {square.side} is empty")
    middle = (size - 1) / 2 if centre_index is None else centre_index
    c, s = (square.side / size * f(square.roll) for f in (math.cos, math.sin))
    return np.array(
        [[c, -s, square.x - (c - s) * middle], [s, c, square.y - (s + c) * middle]], dtype=np.float64
    )


def affine_square(affine: Array, size: int, centre_index: float | None = None) -> Square:
    """Inverse of ``square_affine``."""
    middle = (size - 1) / 2 if centre_index is None else centre_index
    (a, b, tx), (c, d, ty) = affine.tolist()
    return Square((a + b) * middle + tx, (c + d) * middle + ty, math.hypot(a, c) * size, math.atan2(c, a))


def affine_from_landmarks(points: ArrayLike, roll: float, size: int, scale: float) -> Array:
    """Crop of the single-stage network: upright, centred on the landmarks' box, ``scale`` times its
    longer side. points (L, 2) frame pixels; size and scale from the pack's manifest."""
    return square_affine(landmark_square(points, roll).enlarged(scale), size)


def affine_from_box(
    x: float, y: float, w: float, h: float, size: int, scale: float, roll: float = 0.0
) -> Array:
    """The same crop from an estimate of the landmarks' box (see ``detect.FaceBox``): its top left pixel
    (x, y) and its width and height in pixels."""
    return square_affine(Square(x + (w - 1) / 2, y + (h - 1) / 2, max(w, h), roll).enlarged(scale), size)


def transform(points: ArrayLike, affine: Array) -> Array:
    """(..., 2) points through an affine, float64."""
    return np.asarray(np.asarray(points, dtype=np.float64) @ affine[:, :2].T + affine[:, 2], dtype=np.float64)


def invert(affine: Array) -> Array:
    """The affine of the way back. Raises numpy.linalg.LinAlgError if it has none."""
    back = np.linalg.inv(affine[:, :2])
    return np.column_stack([back, -back @ affine[:, 2]])
