"""Text, boxes and colours for the pictures that this project draws with OpenCV alone."""

from __future__ import annotations

from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
Align = Literal["left", "centre", "right"]

# BGR. The hues are the colour-blind-safe set of Okabe and Ito (2008).
INK: Final[Colour] = (235, 235, 235)
DIM: Final[Colour] = (150, 150, 150)
FAINT: Final[Colour] = (82, 80, 78)
PANEL: Final[Colour] = (30, 27, 25)
ORANGE: Final[Colour] = (0, 159, 230)
SKY: Final[Colour] = (233, 180, 86)
GREEN: Final[Colour] = (115, 158, 0)
YELLOW: Final[Colour] = (66, 228, 240)
VERMILLION: Final[Colour] = (0, 94, 213)
GREY: Final[Colour] = (190, 190, 190)

STATE_COLOURS: Final[dict[str, Colour]] = {
    "STARTING": GREY,
    "NEUTRAL": SKY,
    "FOLLOWING": GREEN,
    "HOLDING": YELLOW,
    "RETURNING": ORANGE,
    "FAULT": VERMILLION,
    "STOPPED": GREY,
}

_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL: Final = 21.0  # height of a capital letter at font scale 1, pixels


def text_width(content: str, height: float, thickness: int = 1) -> int:
    """Width in pixels of ``content`` with capitals ``height`` pixels high."""
    return int(cv2.getTextSize(content, _FONT, height / _CAPITAL, thickness)[0][0])


def put_text(
    image: Image,
    content: str,
    x: float,
    y: float,
    height: float,
    colour: Colour,
    *,
    align: Align = "left",
    thickness: int = 1,
) -> None:
    """Write one line with capitals ``height`` pixels high, their middle at ``y``; ``x`` as ``align`` says.

    The font has ASCII only.
    """
    if align != "left":
        width = text_width(content, height, thickness)
        x -= width / 2 if align == "centre" else width
    origin = (round(x), round(y + height / 2))
    cv2.putText(image, content, origin, _FONT, height / _CAPITAL, colour, thickness, cv2.LINE_AA)


def fill(image: Image, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    """Fill a rectangle; right and bottom are exclusive; edges are rounded to whole pixels."""
    image[max(round(top), 0) : max(round(bottom), 0), max(round(left), 0) : max(round(right), 0)] = colour


def shortened(content: str, width: float, height: float) -> str:
    """``content``, cut with "..." where it would be wider than ``width`` pixels."""
    if text_width(content, height) <= width:
        return content
    kept = len(content)
    while kept and text_width(content[:kept] + "...", height) > width:
        kept -= 1
    return content[:kept].rstrip() + "..." if kept else ""
