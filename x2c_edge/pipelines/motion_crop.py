"""What the motion extractor sees of a frame, from the landmarks (docs/spec/liveportrait.md section 11)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.face.crop_geometry import Square, anchor_roll, landmark_square, square_affine
from x2c_edge.nets.landmarks import LANDMARK_IDS, LEFT_EYE, OVAL, RIGHT_EYE

# The crop of the motion extractor (section 11, "driving, VividFace live"). Its scale of 2.2 belongs to a
# set of 203 landmarks whose outline runs from temple to temple below the brows and whose highest points are
# the brows. Ours has the whole face oval; without the 13 oval points on the forehead its box spans the same
# parts of the face, so that the published scale and shift show the face at the same size and place.
CROP_SCALE: Final = 2.2
CROP_SHIFT: Final = 0.04  # of the square's side, towards the mouth
_FOREHEAD: Final = {*OVAL[:7], *OVAL[-6:]}
_BOX_POINTS: Final = [i for i, name in enumerate(LANDMARK_IDS) if name not in _FOREHEAD]
_EYES: Final = [LANDMARK_IDS.index(i) for i in (*RIGHT_EYE, *LEFT_EYE)]
_MOUTH_CORNERS: Final = [LANDMARK_IDS.index(i) for i in (61, 291)]
# The same for aim_crop, a byte a landmark.
ROLES: Final = np.zeros(len(LANDMARK_IDS), np.uint8)
for _role, _points in ((1, _BOX_POINTS), (2, _EYES), (4, _MOUTH_CORNERS)):
    ROLES[_points] |= _role


def motion_square(
    landmarks: NDArray[np.float64], scale: float = CROP_SCALE, shift: float = CROP_SHIFT
) -> Square:
    """What M sees, upright in the frame. landmarks: (L, 2) frame pixels; scale, shift: of the landmarks' box,
    a pack's own or the published ones."""
    roll = anchor_roll(landmarks[_EYES].mean(axis=0), landmarks[_MOUTH_CORNERS].mean(axis=0))
    return landmark_square(landmarks[_BOX_POINTS], roll).enlarged(scale, shift_y=shift).turned()


def motion_affine(square: Square, size: int) -> NDArray[np.float64]:
    """Affine (2, 3), crop pixel to frame pixel.

    The published crop is 512 pixels with the centre on index 256, then halved bilinearly (half-pixel
    convention); sampled at once that puts the centre on index size/2 - 1/4.
    """
    return square_affine(square, size, centre_index=size / 2 - 0.25)
