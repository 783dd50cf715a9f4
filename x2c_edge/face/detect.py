"""Find faces in a frame's luma: only for the first frame and after a loss.

Every detector boxes something else and calls it a face. Here each one turns its own box into an
estimate of **the box of the face's landmarks** (hairline to chin), which is what a crop is made from. The
numbers are medians over the labelled clips and 800 labelled stills of ``shared/data``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from x2c_edge.errors import NotFoundError
from x2c_edge.face.crop_geometry import Square, eye_roll
from x2c_edge.frames import Frame
from x2c_edge.places import opencv_name

Gray = NDArray[np.uint8]
_BRIGHT_PART = 98  # percent
_SMALLEST_WINDOW = 24  # pixels of the searched picture; the cascades were trained at 20


@dataclass(frozen=True, slots=True)
class FaceBox:
    """An estimate of the landmarks' box: top left pixel (x, y), width and height in pixels (they cover
    the indices x to x + w - 1), score 0..1 and roll (radians, clockwise; 0 when unknown)."""

    x: float
    y: float
    w: float
    h: float
    score: float
    roll: float = 0.0

    @property
    def square(self) -> Square:
        return Square(self.x + (self.w - 1) / 2, self.y + (self.h - 1) / 2, max(self.w, self.h), self.roll)

    def magnified(self, step: int) -> FaceBox:
        """The same face where every pixel here is each ``step``-th pixel, from 0, of a larger picture."""
        edge = (step - 1) / 2
        return FaceBox(
            self.x * step - edge, self.y * step - edge, self.w * step, self.h * step, self.score, self.roll
        )


class Detector(Protocol):
    """Finds faces in one picture."""

    def detect(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        """image: (H, W) luma or (H, W, 3) BGR, uint8. Boxes are in its pixels."""
        ...


@dataclass(frozen=True, slots=True)
class _Fit:
    """From a detector's box to the landmarks' box, in parts of the detector's width."""

    side: float
    dx: float
    dy: float

    def box(self, x: float, y: float, w: float, h: float, score: float, roll: float = 0.0) -> FaceBox:
        side = self.side * w
        centre_x, centre_y = x + (w - 1) / 2 + self.dx * w, y + (h - 1) / 2 + self.dy * w
        return FaceBox(centre_x - (side - 1) / 2, centre_y - (side - 1) / 2, side, side, score, roll)


class _Cascade:
    def __init__(self, name: str, neighbours: int) -> None:
        file = Path(cv2.data.haarcascades) / name
        self._cascade = cv2.CascadeClassifier(str(file))
        if self._cascade.empty():
            raise NotFoundError(f"{file}: OpenCV's face cascade is missing; reinstall opencv-python")
        self._neighbours = neighbours

    def boxes(self, gray: Gray) -> list[tuple[int, int, int, int, float]]:
        """x, y, w, h of every face, and a score that grows with the number of windows that agree."""
        if min(gray.shape) < _SMALLEST_WINDOW:
            return []
        found, counts = self._cascade.detectMultiScale2(
            gray, 1.2, self._neighbours, minSize=(_SMALLEST_WINDOW, _SMALLEST_WINDOW)
        )
        return [
            (int(x), int(y), int(w), int(h), float(n / (n + 4)))
            for (x, y, w, h), n in zip(found, counts, strict=True)
        ]


class HaarDetector:
    """Frontal faces (yaw up to about 25 degrees, roll up to about 20) by OpenCV's bundled cascade.

    ``alt2`` rather than ``default``: at equal settings on 500 labelled stills it finds more faces (96 %
    against 94 % at 48 pixels, 70 % against 42 % at 20), and it has no false ones on the clips where the
    other has up to one in 15 frames. ``default`` is better only between 25 and 30 pixels of the searched
    picture, which the finer pass covers.
    """

    _FIT = _Fit(side=0.98, dx=0.0, dy=0.083)

    def __init__(self) -> None:
        self._cascade = _Cascade("haarcascade_frontalface_alt2.xml", neighbours=2)

    def detect(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        return [self._FIT.box(*box) for box in self._cascade.boxes(_gray(image))]


class HaarProfileDetector:
    """Faces turned by 25 degrees and more, to either side: 93 % of 230 stills, where ``HaarDetector`` finds
    55 %; about three times its cost."""

    _FIT = _Fit(side=0.82, dx=0.0, dy=0.108)

    def __init__(self) -> None:
        self._cascade = _Cascade("haarcascade_profileface.xml", neighbours=2)

    def detect(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        gray = _gray(image)
        width = gray.shape[1]
        seen = [self._FIT.box(*box) for box in self._cascade.boxes(gray)]
        # The cascade knows one side of the face only.
        mirrored = [self._FIT.box(*box) for box in self._cascade.boxes(np.ascontiguousarray(gray[:, ::-1]))]
        return seen + [FaceBox(width - b.x - b.w, b.y, b.w, b.h, b.score) for b in mirrored]


class TurnedDetector:
    """Faces rolled by ``turn`` (radians, clockwise), by a detector that finds upright ones."""

    def __init__(self, detector: Detector, turn: float) -> None:
        self._detector, self._turn = detector, turn

    def detect(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        gray = _gray(image)
        height, width = gray.shape
        c, s = math.cos(self._turn), math.sin(self._turn)
        # From the picture turned back, large enough to hold all of it, to the picture.
        turned_width = math.ceil(abs(c) * width + abs(s) * height)
        turned_height = math.ceil(abs(s) * width + abs(c) * height)
        middle, turned_middle = ((width - 1) / 2, (height - 1) / 2), (turned_width - 1, turned_height - 1)
        back = np.array([[c, -s, 0.0], [s, c, 0.0]])
        back[:, 2] = middle - back[:, :2] @ turned_middle / 2
        turned = cv2.warpAffine(
            gray, back, (turned_width, turned_height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        found = []
        for box in self._detector.detect(np.asarray(turned, dtype=np.uint8)):
            square = box.square
            x, y = back @ (square.x, square.y, 1.0)
            left, top = x - (box.w - 1) / 2, y - (box.h - 1) / 2
            found.append(FaceBox(left, top, box.w, box.h, box.score, box.roll + self._turn))
        return found


class YuNetDetector:
    """Faces by YuNet (``cv2.FaceDetectorYN``) from its ONNX file; also gives the roll.

    Raises NotFoundError when the file is missing or OpenCV cannot read it. Its box is taken for the
    landmarks' box as it is (not calibrated: the model is not shipped); the first landmarks refine it.
    """

    _FIT = _Fit(side=1.0, dx=0.0, dy=0.0)

    def __init__(self, model: Path | str, score: float = 0.7) -> None:
        if not Path(model).is_file():
            raise NotFoundError(f"{model}: no such YuNet model; give an .onnx file or leave the key out")
        try:
            self._net = cv2.FaceDetectorYN.create(opencv_name(model), "", (320, 320), score)
        except cv2.error:
            raise NotFoundError(f"{model}: not a YuNet model that OpenCV {cv2.__version__} reads") from None

    def detect(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        bgr = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
        self._net.setInputSize((bgr.shape[1], bgr.shape[0]))
        _, rows = self._net.detect(bgr)
        boxes = []
        for row in [] if rows is None else rows.astype(np.float64):
            x, y, w, h = row[:4]
            # A face is higher than wide; the fit wants one length, the longer.
            square_x = x + (w - max(w, h)) / 2
            boxes.append(
                self._FIT.box(
                    square_x, y, max(w, h), h, float(row[14]), eye_roll(right_eye=row[4:6], left_eye=row[6:8])
                )
            )
        return boxes


def luma(frame: Frame, max_side: int = 320) -> tuple[Gray, int]:
    """Luma of every ``step``-th pixel in both directions, so that neither side exceeds ``max_side``.

    Returns (uint8 (h, w), step): pixel (x, y) of it is frame pixel (step x, step y). Takes only the pixels
    that it keeps: no full-frame conversion for any format. Plain subsampling aliases; the cascades
    do not mind (measured: the same detections as from area averages).
    """
    height, width = frame.height, frame.width
    step = max(1, -(-max(height, width) // max_side))
    if frame.format == "NV12":
        return np.ascontiguousarray(frame.image[:height:step, ::step]), step
    if frame.format == "YUYV":
        return np.ascontiguousarray(frame.image[::step, ::step, 0]), step
    code = cv2.COLOR_BGR2GRAY if frame.format == "BGR" else cv2.COLOR_RGB2GRAY
    kept = np.ascontiguousarray(frame.image[::step, ::step])
    return np.asarray(cv2.cvtColor(kept, code), dtype=np.uint8), step


@dataclass(frozen=True, slots=True)
class Pass:
    """One way to look: ``detector`` on a picture of at most ``max_side``, on each ``every``-th search,
    first on number ``first``."""

    detector: Detector
    max_side: int
    every: int = 1
    first: int = 0


def haar_passes() -> list[Pass]:
    """Quick on every frame (faces from about 1/11 of the frame's longer side); now and then finer (from
    1/24: 55 pixels in 1280), for faces turned away, or for heads that are rolled: the cascade takes 15
    degrees (measured: 27 of 36 stills; 6 of 36 at 25), so every 30 are tried, and upside down."""
    frontal = HaarDetector()
    turns = ((30, 6, 1), (-30, 6, 2), (60, 12, 4), (-60, 12, 5), (90, 12, 10), (-90, 12, 11), (180, 12, 9))
    return [
        Pass(frontal, 320),
        Pass(frontal, 640, every=6),
        Pass(HaarProfileDetector(), 320, every=6, first=3),
        *(
            Pass(TurnedDetector(frontal, math.radians(turn)), 320, every, first)
            for turn, every, first in turns
        ),
    ]


def yunet_passes(model: Path | str) -> list[Pass]:
    """YuNet on every frame; it finds faces of 10 pixels and turned ones by itself."""
    return [Pass(YuNetDetector(model), 320)]


class FaceSearch:
    """Runs the passes that are due until one finds a wanted face; spreads the dear ones over frames.

    The first search, and the first after ``begin``, runs them all: there may be only one picture. brightness:
    0..1, of the brightest parts of the last picture that was searched.
    """

    def __init__(self, passes: Sequence[Pass]) -> None:
        self._passes = tuple(passes)
        self._turn = 0
        self._first = True
        self.brightness = 1.0

    def search(self, frame: Frame, wanted: Callable[[FaceBox], bool]) -> list[FaceBox]:
        """Wanted faces in frame pixels; empty if none was found in this frame's turn."""
        all_of_them, self._first = self._first, False
        # What was found counts too: a thing that looks like a face must not keep the other passes away.
        turn, self._turn = self._turn, self._turn + 1
        for look in self._passes:
            if turn % look.every != look.first and not all_of_them:
                continue
            gray, step = luma(frame, look.max_side)
            if look is self._passes[0]:
                self.brightness = float(np.percentile(gray[::4, ::4], _BRIGHT_PART)) / 255
            boxes = [box.magnified(step) for box in look.detector.detect(gray)]
            if found := [box for box in boxes if wanted(box)]:
                return found
        return []

    def begin(self) -> None:
        """As if nothing had been searched yet: another picture."""
        self._turn, self._first = 0, True

    def restart(self) -> None:
        """Begin with the first passes again: a face was there a moment ago."""
        self._turn = 0


def _gray(image: NDArray[np.uint8]) -> Gray:
    if image.ndim == 2:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
