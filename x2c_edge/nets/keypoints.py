"""Pose, keypoints and relative motion in NumPy (docs/spec/liveportrait.md sections 5, 6 and 7).

The reference for the ``relative_keypoints`` kernel; works without torch. Arrays are float32 or float64
and keep their type. Leading axes ("...") are free and broadcast, so one call does a whole clip. Points
are row vectors (x, y, z): x right, y down, z into the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

DEGREES_PER_BIN = 3.0
FIRST_BIN_DEGREES = -97.5


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What M says about a face, with the pose as a matrix.

    kp, exp (..., K, 3); rotation (..., 3, 3) for row vectors; t (..., 3); scale (..., 1).
    """

    kp: Array
    exp: Array
    rotation: Array
    t: Array
    scale: Array


def angle_from_bins(values: Array) -> Array:
    """Logits (..., 66) to degrees (...); a single column (..., 1) already is degrees (section 5)."""
    if values.shape[-1] == 1:
        return values[..., 0]
    weights = np.exp(values - values.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    index = np.arange(values.shape[-1], dtype=values.dtype)
    mean: Array = weights @ index
    return mean * DEGREES_PER_BIN + FIRST_BIN_DEGREES


def rotation(pitch: Array, yaw: Array, roll: Array) -> Array:
    """Degrees (...) to matrices (..., 3, 3) that multiply row vectors from the right (section 5)."""
    a, b, c = np.deg2rad(pitch), np.deg2rad(yaw), np.deg2rad(roll)
    ca, sa, cb, sb, cc, sc = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(c), np.sin(c)
    rows = [
        [cb * cc, cb * sc, -sb],
        [sa * sb * cc - ca * sc, sa * sb * sc + ca * cc, sa * cb],
        [ca * sb * cc + sa * sc, ca * sb * sc - sa * cc, ca * cb],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def motion_from_heads(
    pitch: Array, yaw: Array, roll: Array, t: Array, exp: Array, scale: Array, kp: Array
) -> Motion:
    """M's raw heads, each (..., columns), to a motion; kp and exp are (..., 3K), keypoint-major."""
    return Motion(
        kp=kp.reshape(*kp.shape[:-1], -1, 3),
        exp=exp.reshape(*exp.shape[:-1], -1, 3),
        rotation=rotation(angle_from_bins(pitch), angle_from_bins(yaw), angle_from_bins(roll)),
        t=t,
        scale=scale,
    )


def transformed(motion: Motion) -> Array:
    """Paper Eq. 5: the keypoints (..., K, 3) as they lie in the volume. t's z is not used."""
    points = motion.scale[..., None] * (motion.kp @ motion.rotation + motion.exp)
    points[..., :2] += motion.t[..., None, :2]
    return points


def relative_motion(source: Motion, current: Motion, reference: Motion) -> Motion:
    """Paper Eq. 6 (section 6, steps 1 to 4): the source moved as ``current`` differs from ``reference``.

    The keypoints are the source's; ``transformed`` of the result is step 5.
    """
    t = source.t + (current.t - reference.t)
    t[..., 2] = 0
    return Motion(
        kp=source.kp,
        exp=source.exp + (current.exp - reference.exp),
        rotation=current.rotation @ np.swapaxes(reference.rotation, -1, -2) @ source.rotation,
        t=t,
        scale=source.scale * (current.scale / reference.scale),
    )


def motion_multiplier(source: Array, reference: Array) -> float:
    """Step 6: the ratio of the square roots of the hull volumes of two keypoint sets, each (K, 3).

    ValueError if the points of either lie in one plane.
    """
    volumes = hull_volume(source), hull_volume(reference)
    if min(volumes) == 0:
        raise ValueError("the keypoints lie in one plane: they have no hull volume")
    return float(np.sqrt(volumes[0]) / np.sqrt(volumes[1]))


def hull_volume(points: Array) -> float:
    """Volume of the 3-D convex hull of (K, 3) points; 0 if they lie in one plane.

    Tries every triangle, which is the simplest way for a few dozen points. They are moved by about 1e-9
    of their extent first, so that no four lie in one plane and every face is one triangle.
    """
    p = np.asarray(points, dtype=np.float64)
    p = p - p.mean(axis=0)
    spread = np.linalg.svd(p, compute_uv=False)
    if len(p) < 4 or spread[2] <= 1e-7 * spread[0]:
        return 0.0
    p = p + np.random.default_rng(0).normal(scale=1e-9 * spread[0], size=p.shape)
    triangles = np.array(list(combinations(range(len(p)), 3)))
    a, b, c = (p[triangles[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    heights = normals @ p.T - np.sum(normals * a, axis=1)[:, None]
    np.put_along_axis(heights, triangles, 0.0, axis=1)
    faces = (heights.max(axis=1) <= 0) | (heights.min(axis=1) >= 0)
    return float(np.abs(np.sum(normals[faces] * a[faces], axis=1)).sum() / 6)


def driving_keypoints(source: Array, moved: Array, moved_reference: Array, multiplier: float) -> Array:
    """Step 7: the source keypoints (K, 3) plus the scaled offset of ``moved`` (..., K, 3)."""
    return source + multiplier * (moved - moved_reference)


def stitching_input(source: Array, driving: Array) -> Array:
    """Input of the stitching network (..., 6K): flat source keypoints, then flat driving keypoints."""
    pair = np.stack(np.broadcast_arrays(source, driving), axis=-3)
    return pair.reshape(*pair.shape[:-3], -1)


def stitched(driving: Array, delta: Array) -> Array:
    """Section 7: the stitching network's output (..., 3K + 2) added to driving keypoints (..., K, 3)."""
    count = driving.shape[-2]
    out = driving + delta[..., : 3 * count].reshape(*delta.shape[:-1], count, 3)
    out[..., :2] += delta[..., None, 3 * count :]
    return out
