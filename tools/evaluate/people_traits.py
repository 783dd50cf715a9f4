"""What people's pictures differ in: skin tone, glasses, head angle, light, as far as pictures tell.

The real-face set states none but the head's angle. What is measured here instead, and what that cannot tell
apart, is in docs/people.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.dataset.face_dataset import FaceSet
from x2c_edge.nets.landmarks import LANDMARK_IDS, LEFT_EYE, OVAL, RIGHT_EYE

Array = NDArray[np.float64]
UNKNOWN: Final = "not known"
# Sources of the test split whose people wear glasses, seen by eye; the other splits were not looked through.
# Edges on the bridge of the nose and under the eyes were tried and do not tell frames from wrinkles and
# highlights: sorted by them, these eight came at ranks 1 to 36 of 108.
GLASSES: Final = frozenset({1764, 1777, 1805, 1808, 1809, 1812, 1815, 1821})
GREY_BELOW: Final = 3.0  # mean chroma (CIELAB) of the face; grey pictures have 0 to 1, skin 8 and more
CHEEK_RADIUS: Final = 0.12  # of the distance between the eyes' middles

_RIGHT: Final = [LANDMARK_IDS.index(i) for i in RIGHT_EYE]
_LEFT: Final = [LANDMARK_IDS.index(i) for i in LEFT_EYE]
_OVAL: Final = [LANDMARK_IDS.index(i) for i in OVAL]
# An eye, the mouth's corner below it, and where the face ends beside both.
_CHEEKS: Final = tuple(
    (eye, LANDMARK_IDS.index(corner), LANDMARK_IDS.index(side))
    for eye, corner, side in ((_RIGHT, 61, 132), (_LEFT, 291, 361))
)

# Upper ends of the groups. ITA: Chardon's classes, joined by twos, as few people are in each.
_SKIN: Final = ((10.0, "dark or brown"), (41.0, "tan or intermediate"), (np.inf, "light"))
_ANGLE: Final = ((10.0, "under 10°"), (20.0, "10° to 20°"), (np.inf, "over 20°"))
_LIGHT: Final = ((100.0, "dark"), (130.0, "middling"), (np.inf, "bright"))


@dataclass(frozen=True)
class Traits:
    """Of N pictures. ita: (N,) degrees, the median over the person's colour pictures, NaN where all are grey.
    angle: (N,) degrees between where the head looks and the view line. brightness: (N,) mean grey level of
    the face, 0 to 255. glasses: (N,) bool, or None where nobody looked. people: (N,) identities."""

    ita: Array
    angle: Array
    brightness: Array
    glasses: NDArray[np.bool_] | None
    people: NDArray[np.int16]

    def groups(self) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
        """Every group that has a picture: what divides, the group's name, who is in it (N,)."""
        skin = np.where(np.isnan(self.ita), UNKNOWN, _named(self.ita, _SKIN))
        parts: list[tuple[str, Array | NDArray[np.str_], tuple[str, ...]]] = [
            ("skin tone", skin, (*(name for _, name in reversed(_SKIN)), UNKNOWN)),
            ("head angle", _named(self.angle, _ANGLE), tuple(name for _, name in _ANGLE)),
            ("light", _named(self.brightness, _LIGHT), tuple(name for _, name in _LIGHT)),
        ]
        if self.glasses is not None:
            parts.insert(1, ("glasses", np.where(self.glasses, "yes", "no"), ("no", "yes")))
        for what, named, names in parts:
            for name in names:
                chosen = named == name
                if chosen.any():
                    yield what, name, chosen


def traits_of(faces: FaceSet) -> Traits:
    """Measure every picture of a split."""
    ita = np.array([skin_ita(i, p) for i, p in zip(faces.images, faces.points, strict=True)])
    for person in np.unique(faces.identity_id):
        mine = faces.identity_id == person
        known = ita[mine & np.isfinite(ita)]
        ita[mine] = np.median(known) if len(known) else np.nan
    forward = np.clip(faces.rotation[:, 2, 2], -1, 1)  # the cosine with the view line
    return Traits(
        ita=ita,
        angle=np.degrees(np.arccos(forward)),
        brightness=np.array([face_brightness(i, p) for i, p in zip(faces.images, faces.points, strict=True)]),
        glasses=np.isin(faces.source_id, list(GLASSES)) if faces.split == "test" else None,
        people=faces.identity_id,
    )


def skin_ita(image: NDArray[np.uint8], points: Array) -> float:
    """Individual typology angle of both cheeks, degrees: atan2(L* - 50, b*) of their median colour.

    image: (H, W, 3) BGR; points: (L, 2) landmarks, pixels. High is light. NaN for a grey picture, which
    has no b*. The picture's light and white balance are in it: docs/people.md.
    """
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    skin = lab[_cheeks(image.shape[:2], points)]
    if not len(skin):
        return float("nan")
    lightness, a, b = np.median(skin, axis=0).astype(np.float64)
    if np.hypot(a, b) < GREY_BELOW:
        return float("nan")
    return float(np.degrees(np.arctan2(lightness - 50, b)))


def face_brightness(image: NDArray[np.uint8], points: Array) -> float:
    """Mean grey level within the face's oval, 0 to 255."""
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(np.round(points[_OVAL]).astype(np.int32)), 1)
    return float(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[inside > 0].mean())


def _cheeks(shape: tuple[int, ...], points: Array) -> NDArray[np.bool_]:
    """Discs between eye and mouth's corner, a little outwards: skin without beard, lids or lips."""
    inside = np.zeros(shape, np.uint8)
    across = float(np.linalg.norm(points[_LEFT].mean(0) - points[_RIGHT].mean(0)))
    for eye, corner, side in _CHEEKS:
        middle = 0.55 * points[eye].mean(0) + 0.3 * points[corner] + 0.15 * points[side]
        centre = (round(float(middle[0])), round(float(middle[1])))
        cv2.circle(inside, centre, max(1, round(CHEEK_RADIUS * across)), 1, -1)
    return inside > 0


def _named(values: Array, ends: tuple[tuple[float, str], ...]) -> NDArray[np.str_]:
    limits = [end for end, _ in ends[:-1]]
    return np.array([name for _, name in ends])[np.searchsorted(limits, np.nan_to_num(values), "right")]
