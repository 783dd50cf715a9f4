"""Head rotations as 3x3 matrices: head to camera, camera axes x right, y up, z towards the camera.

Column convention: ``R @ point``. (docs/spec/liveportrait.md section 5 uses row vectors for LivePortrait's
own keypoints; that convention stays inside the two-stage pipeline.)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rotation_matrix(yaw: float, pitch: float, roll: float) -> Array:
    """Ry(yaw) Rx(-pitch) Rz(roll), radians; yaw towards the picture's right, pitch up, roll anticlockwise."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    return np.array(
        [
            [cy * cr - sy * sp * sr, -cy * sr - sy * sp * cr, sy * cp],
            [cp * sr, cp * cr, sp],
            [-sy * cr - cy * sp * sr, sy * sr - cy * sp * cr, cy * cp],
        ]
    )


def angles(rotation: Array) -> tuple[float, float, float]:
    """Inverse of ``rotation_matrix``: yaw, pitch, roll in radians."""
    return (
        math.atan2(rotation[0, 2], rotation[2, 2]),
        math.asin(min(max(rotation[1, 2], -1.0), 1.0)),
        math.atan2(rotation[1, 0], rotation[1, 1]),
    )


def about_view(angle: float) -> Array:
    """Rotation about the view line, anticlockwise in the picture."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def mean_rotation(rotations: Array) -> Array:
    """The rotation closest to the mean of (N, 3, 3) in the Frobenius norm (chordal L2 mean)."""
    u, _, vt = np.linalg.svd(rotations.mean(axis=0))
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    return np.asarray(u @ vt)


def is_rotation(matrix: Array) -> bool:
    """Whether it is (3, 3), finite, orthonormal and no mirror image."""
    if matrix.shape != (3, 3) or not (np.abs(matrix) <= 2.0).all():
        return False
    return bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3) and np.linalg.det(matrix) > 0)
