"""Dark ink on white paper: what the plots have in common. Drawn with OpenCV and NumPy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2

from x2c_edge.record.drawing import SKY, VERMILLION, Colour, Image
from x2c_edge.whole_file import write_whole

PAPER: Final[Colour] = (255, 255, 255)
INK: Final[Colour] = (40, 36, 33)
SOFT: Final[Colour] = (115, 110, 105)
GRID: Final[Colour] = (234, 232, 230)
# Okabe and Ito's hues, BGR, as those of ``drawing``.
BLUE: Final[Colour] = (178, 114, 0)
PALE_BLUE: Final[Colour] = (247, 226, 192)
PURPLE: Final[Colour] = (167, 121, 204)
BARS: Final = SKY
MARK: Final = VERMILLION  # a limit, or what is compared with


def save_plot(path: str | Path, image: Image, *, make_folder: bool = False) -> None:
    """Write a PNG, into a new folder if ``make_folder``. NotFoundError when it cannot be written there."""
    encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    write_whole(Path(path), encoded.tobytes(), make_folder=make_folder)
