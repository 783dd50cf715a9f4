"""The virtual Ameca's neutral head as triangles: skin, eyeballs, lids, teeth, tongue, ears, neck, chest.

Own work, no scan: the skin is one grid of rows (crown to chin and under it) and columns (angle round the
head, 0 in front, positive to the robot's left), slit open at the eyes and the mouth. Head space: x to
the robot's left, y up, z forwards; y = 0 are the eyes, the crown is at 1 and the chin at -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.robot.atlas import BLOCKS, skin_uv
from x2c_edge.robot.head_shape import (
    EYE_INNER,
    EYE_OUTER,
    EYE_RADIUS,
    LID_RADIUS,
    MOUTH_HALF,
    MOUTH_V,
    bell,
    profile,
    skin_points,
)

Array = NDArray[np.float64]
Index = NDArray[np.int64]

LIP_ROWS: Final = 9  # rows from the mouth's slit up, and down, that ``Skin.mouth_*`` name
# Where the spacing of rows (v) and columns (degrees) changes, and how many steps lie between.
_ROW_KNOTS: Final = ((1.0, 3), (0.9, 5), (0.5, 12), (0.12, 5), (0.0, 5), (-0.12, 7), (-0.32, 9), (-0.46, 9))
_ROW_KNOTS_LOW: Final = ((MOUTH_V, 9), (-0.76, 7), (-1.0, 4), (-1.45, 0))
_LIP_ROLL: Final = ((0.03, 0.0), (0.06, 0.03), (0.075, 0.12))  # inner rows of a lip: back, away
_EYE_ROLL: Final = ((0.05, -0.006), (0.16, -0.012))  # rims of the eye holes: back, and inwards


@dataclass(frozen=True)
class Skin:
    """What the deformation needs to know of each skin vertex. All (N,).

    x, v: where it lies on the face (x before the eyes are opened, v the row). lip: 1 above the mouth, -1
    below. depth: 0 on the surface, towards 1 on the hidden sides of lips and eye rims.
    """

    x: Array
    v: Array
    angle: Array
    lip: Array
    depth: Array
    mouth_upper: Index  # (LIP_ROWS + inner rows, columns): the slit's upper edge, rows above it, inner rows
    mouth_lower: Index

    def nearest(self, x: float, v: float, lip: int = 0) -> int:
        """The surface vertex of the face's front nearest to (x, v); lip: 1 only above the mouth, -1 below."""
        own = np.flatnonzero((self.depth == 0) & (np.abs(self.angle) < np.pi / 2) & (self.lip * lip >= 0))
        return int(own[np.argmin(np.hypot(self.x[own] - x, self.v[own] - v))])


@dataclass(frozen=True)
class HeadMesh:
    """vertices (V, 3), uv (V, 2) in texels, shade (V,), triangles (T, 3), parts: name -> slice of V."""

    vertices: Array
    uv: Array
    shade: Array
    triangles: NDArray[np.int32]
    parts: dict[str, slice]
    skin: Skin


class _Builder:
    def __init__(self) -> None:
        self.vertices: list[Array] = []
        self.uv: list[Array] = []
        self.shade: list[Array] = []
        self.triangles: list[Index] = []
        self.parts: dict[str, slice] = {}
        self.count = 0

    def add(
        self, name: str, vertices: Array, uv: Array, triangles: Index, shade: Array | None = None
    ) -> None:
        vertices = vertices.reshape(-1, 3)
        n = len(vertices)
        self.vertices.append(vertices)
        self.uv.append(np.broadcast_to(uv, (n, 2)).reshape(n, 2))
        self.shade.append(np.ones(n) if shade is None else shade.reshape(n))
        self.triangles.append(triangles + self.count)
        self.parts[name] = slice(self.count, self.count + n)
        self.count += n


def _quads(grid: Index) -> Index:
    """Triangles of a grid of vertex numbers whose rows run down and columns right, as seen."""
    a, b, d, e = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    return np.concatenate([np.stack([a, d, e], -1).reshape(-1, 3), np.stack([a, e, b], -1).reshape(-1, 3)])


def _steps(knots: tuple[tuple[float, int], ...]) -> Array:
    pieces = [np.linspace(start, end, count, endpoint=False) for (start, count), (end, _) in pairwise(knots)]
    return np.concatenate([*pieces, [knots[-1][0]]])


def _skin(builder: _Builder) -> Skin:
    v_rows = _steps(_ROW_KNOTS + _ROW_KNOTS_LOW)
    corner = [
        np.degrees(np.arcsin(c / profile(np.array(v))[2]))
        for c, v in ((EYE_INNER, 0.0), (MOUTH_HALF, MOUTH_V), (EYE_OUTER, 0.0))
    ]
    half = _steps(
        ((0.0, 6), (corner[0], 7), (corner[1], 6), (corner[2], 5), (60.0, 4), (95.0, 4), (180.0, 0))
    )
    angles = np.radians(np.concatenate([-half[:0:-1], half]))
    rows, columns = len(v_rows), len(angles)
    angle, v = np.meshgrid(angles, v_rows)
    points = skin_points(angle, v, above_eye=v >= 0)
    number = np.arange(rows * columns).reshape(rows, columns)
    above, below = number.copy(), number.copy()  # the vertex that the quads above and below a row use

    zero = len(half) - 1

    def column(degrees: float, side: int) -> int:
        return zero + side * int(np.argmin(np.abs(half - degrees)))

    extra_points: list[Array] = []
    attributes: list[tuple[Array, Array, Array, Array]] = []  # angle, v, lip, depth of extra vertices
    triangles: list[Index] = []
    total = rows * columns

    def append(xyz: Array, a: Array, row_v: float, lip: float, depth: float) -> Index:
        nonlocal total
        n = len(xyz)
        extra_points.append(xyz)
        attributes.append((a, np.full(n, row_v), np.full(n, lip), np.full(n, depth)))
        total += n
        return np.arange(total - n, total)

    def slit(row: int, first: int, last: int, roll: tuple[tuple[float, float], ...], mouth: bool) -> Index:
        """Cut one row between two corner columns; returns the vertices of the lower edge."""
        span = slice(first, last + 1)
        a, row_v = angles[span], float(v_rows[row])
        lower_points = skin_points(a, np.full(len(a), row_v), np.zeros(len(a), bool))
        just_below = row_v - 1e-6  # the two edges lie on one row, and fields tell them apart by it
        lower = append(lower_points, a, just_below, -1.0 if mouth else 1.0, 0.0)
        lower[0], lower[-1] = number[row, first], number[row, last]
        below[row, span] = lower
        part = np.sqrt(np.clip(1 - np.square(points[row, span, 0] / MOUTH_HALF), 0, 1))
        for edge, points_, sign in ((number[row, span], points[row, span], 1.0), (lower, lower_points, -1.0)):
            strip = [edge]
            for k, (back, away) in enumerate(roll):
                # Towards the corners the roll flattens, or it would come out through the cheek.
                full = part if mouth else np.ones_like(part)
                xyz = points_ + np.stack([0 * full, sign * away * full, -back * (0.4 + 0.6 * full)], axis=-1)
                lip = sign if mouth else 1.0
                strip.append(append(xyz, a, row_v if sign > 0 else just_below, lip, (k + 1) / len(roll)))
            grid = np.stack(strip)
            triangles.append(_quads(grid if sign > 0 else grid[::-1]))
        return lower

    eye_row = int(np.argmin(np.abs(v_rows)))
    mouth_row = int(np.argmin(np.abs(v_rows - MOUTH_V)))
    for side in (-1, 1):
        ends = sorted((column(corner[0], side), column(corner[2], side)))
        slit(eye_row, ends[0], ends[1], _EYE_ROLL, mouth=False)
    first, last = column(corner[1], -1), column(corner[1], 1)
    mouth_first_extra = total
    lower_edge = slit(mouth_row, first, last, _LIP_ROLL, mouth=True)
    n = last - first + 1
    inner = mouth_first_extra + n
    upper_inner = [np.arange(inner + k * n, inner + (k + 1) * n) for k in range(len(_LIP_ROLL))]
    inner += n * len(_LIP_ROLL)
    lower_inner = [np.arange(inner + k * n, inner + (k + 1) * n) for k in range(len(_LIP_ROLL))]

    grid = np.stack([below[:-1], above[1:]])
    a_, b_, d_, e_ = grid[0, :, :-1], grid[0, :, 1:], grid[1, :, :-1], grid[1, :, 1:]
    # The diagonals mirror each other too, so that a mirrored pose gives the mirrored picture.
    left = (angles[:-1] >= 0)[None, :, None]
    triangles.append(np.where(left, np.stack([a_, d_, e_], -1), np.stack([a_, d_, b_], -1)).reshape(-1, 3))
    triangles.append(np.where(left, np.stack([a_, e_, b_], -1), np.stack([b_, d_, e_], -1)).reshape(-1, 3))

    all_angle = np.concatenate([angle.ravel(), *(t[0] for t in attributes)])
    all_v = np.concatenate([v.ravel(), *(t[1] for t in attributes)])
    lip = np.concatenate([np.where(v.ravel() >= MOUTH_V, 1.0, -1.0), *(t[2] for t in attributes)])
    depth = np.concatenate([np.zeros(rows * columns), *(t[3] for t in attributes)])
    xyz = np.concatenate([points.reshape(-1, 3), *extra_points])
    x = profile(all_v)[2] * np.sin(all_angle)
    builder.add(
        "skin",
        xyz,
        skin_uv(all_angle, all_v),
        np.concatenate(triangles),
        1 - np.where(np.abs(all_v) < 0.1, 0.35, 0.75) * depth,
    )

    span = slice(first, last + 1)
    upper = np.stack([number[mouth_row - k, span] for k in range(LIP_ROWS)])
    lower = np.stack([lower_edge, *(number[mouth_row + k, span] for k in range(1, LIP_ROWS))])
    return Skin(
        x=x,
        v=all_v,
        angle=all_angle,
        lip=lip,
        depth=depth,
        mouth_upper=np.concatenate([upper, np.stack(upper_inner)]),
        mouth_lower=np.concatenate([lower, np.stack(lower_inner)]),
    )


def _sphere_cap(radius: float, rings: Array, segments: int) -> tuple[Array, Index]:
    """A cap round +z: ring angles from the pole (radians, the first is the pole itself)."""
    turn = np.linspace(0, 2 * np.pi, segments + 1)
    polar, around = np.meshgrid(rings, turn, indexing="ij")
    points = radius * np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1
    )
    grid = np.arange(points[..., 0].size).reshape(polar.shape)
    return points, _quads(grid)


def _eyes(builder: _Builder) -> None:
    rings = np.radians([0, 9, 18, 28, 40, 54, 70, 90])
    points, triangles = _sphere_cap(1.0, rings, 24)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        # Columns run the other way round seen from the front for neither eye: a cap is symmetric.
        uv = BLOCKS["eye"].uv(0.5 + 0.5 * points[..., 0] * sign, 0.5 - 0.5 * points[..., 1]).reshape(-1, 2)
        builder.add(f"eye {side}", EYE_RADIUS * points, uv, triangles)
    across = np.radians(np.linspace(-86, 86, 19))
    # Elevation from the lid's edge, then a rim that turns in.
    up = np.radians([0, 2, 6, 14, 28, 48, 72, 100])
    for side in ("left", "right"):
        for which, sign in (("upper", 1.0), ("lower", -1.0)):
            radius = LID_RADIUS if which == "upper" else LID_RADIUS - 0.003
            elevation, a = np.meshgrid(sign * up, across, indexing="ij")
            shell = radius * np.stack(
                [np.sin(a), np.cos(a) * np.sin(elevation), np.cos(a) * np.cos(elevation)], axis=-1
            )
            rim = shell[:1] * (EYE_RADIUS - 0.004) / radius
            points = np.concatenate([rim, shell])
            grid = np.arange(points[..., 0].size).reshape(points.shape[:2])
            rows = np.concatenate([[0.0], np.linspace(0.02, 1, len(up))])
            uv = BLOCKS[f"lid {which}"].uv(*np.broadcast_arrays(0.5 + a[:1] / np.pi, rows[:, None]))
            builder.add(
                f"lid {which} {side}", points, uv.reshape(-1, 2), _quads(grid if sign < 0 else grid[::-1])
            )


def _mouth(builder: _Builder) -> None:
    around = np.radians(np.linspace(-82, 82, 19))
    for name, top, bottom, half, front in (
        ("teeth upper", -0.50, -0.628, 0.23, 0.275),
        ("teeth lower", -0.618, -0.74, 0.205, 0.25),
    ):
        down = np.linspace(0, 1, 5)
        t, a = np.meshgrid(down, around, indexing="ij")
        bulge = 1 + 0.03 * np.sin(np.pi * t)
        points = np.stack(
            [half * bulge * np.sin(a), top + (bottom - top) * t, 0.42 + front * bulge * np.cos(a)], axis=-1
        )
        grid = np.arange(a.size).reshape(a.shape)
        uv = BLOCKS[name].uv(0.5 + a / (2 * around[-1]), t).reshape(-1, 2)
        builder.add(name, points, uv, _quads(grid), 0.15 + 0.85 * bell(a / np.radians(54)))
    points, triangles = _sphere_cap(1.0, np.radians([0, 15, 30, 45, 60, 75, 90]), 20)
    tongue = points[..., [0, 2, 1]] * np.array([0.135, 0.07, 0.22]) * [1, 1, -1] + [0.0, -0.755, 0.46]
    builder.add("tongue", tongue, BLOCKS["tongue"].centre, triangles)


def _throat(builder: _Builder) -> None:
    """A dark hollow behind the teeth, so that an open mouth shows neither neck nor skull."""
    points, triangles = _sphere_cap(1.0, np.radians([0, 40, 75, 100]), 16)
    hollow = points * np.array([0.30, 0.29, 0.12]) + [0.0, -0.62, 0.10]
    builder.add("throat", hollow, BLOCKS["throat"].centre, triangles)


def _ears(builder: _Builder) -> None:
    r = np.array([0, 0.35, 0.6, 0.7, 0.8, 0.9, 1.0, 1.06])
    rise = np.array([0.030, 0.024, 0.030, 0.062, 0.072, 0.062, 0.036, 0.0])
    for side, sign in (("left", 1.0), ("right", -1.0)):
        turn = np.linspace(0, 2 * np.pi, 21)
        k, t = np.meshgrid(np.arange(len(r)), turn, indexing="ij")
        lobe = 1 - 0.22 * (np.sin(t) < 0) * np.abs(np.sin(t))
        along = 0.115 * r[k] * np.cos(t) * lobe  # backwards and outwards
        height = 0.215 * r[k] * np.sin(t)
        points = np.stack(
            [
                sign * (0.70 + 0.42 * along + 0.9 * rise[k]),
                -0.13 + height + 0.18 * along,
                -0.17 - 0.9 * along + 0.25 * rise[k],
            ],
            axis=-1,
        )
        grid = np.arange(k.size).reshape(k.shape)
        shade = (1 - 0.45 * bell((r - 0.35) / 0.25))[k]
        builder.add(
            f"ear {side}", points, BLOCKS["ear"].centre, _quads(grid[::-1] if sign < 0 else grid), shade
        )


def _lathe(builder: _Builder, name: str, rows: Array, block: str) -> None:
    """rows: (R, 4) of y, half width, half depth, z of the middle, from the top down."""
    around = np.linspace(-np.pi, np.pi, 33)
    k, a = np.meshgrid(np.arange(len(rows)), around, indexing="ij")
    y, wide, deep, z = rows[k].transpose(2, 0, 1)
    points = np.stack([wide * np.sin(a), y, z + deep * np.cos(a)], axis=-1)
    grid = np.arange(k.size).reshape(k.shape)
    uv = BLOCKS[block].uv(0.5 + a / (2 * np.pi), k / (len(rows) - 1)).reshape(-1, 2)
    builder.add(name, points, uv, _quads(grid))


def build_head() -> HeadMesh:
    """The whole neutral head; lids and eyes are in their own spaces (round the eye's centre)."""
    builder = _Builder()
    skin = _skin(builder)
    _eyes(builder)
    _mouth(builder)
    _throat(builder)
    _ears(builder)
    t = np.linspace(0, 1, 19)
    neck = np.stack([-0.70 - 0.90 * t, 0.345 + 0.05 * t**2, 0.33 + 0.05 * t**2, -0.17 - 0.12 * t], axis=-1)
    _lathe(builder, "neck", neck, "neck")
    chest = np.array(
        [
            (-1.40, 0.40, 0.38, -0.29),
            (-1.41, 0.50, 0.46, -0.28),
            (-1.46, 0.53, 0.48, -0.28),
            (-1.52, 0.60, 0.50, -0.28),
            (-1.58, 0.80, 0.54, -0.28),
            (-1.68, 1.10, 0.58, -0.28),
            (-1.85, 1.32, 0.62, -0.28),
            (-2.30, 1.42, 0.70, -0.28),
        ]
    )
    _lathe(builder, "chest", chest, "chest")
    return HeadMesh(
        vertices=np.concatenate(builder.vertices),
        uv=np.concatenate(builder.uv),
        shade=np.concatenate(builder.shade),
        triangles=np.concatenate(builder.triangles).astype(np.int32),
        parts=builder.parts,
        skin=skin,
    )
