"""From the 30 controls to the places of the head's vertices.

The skin is neutral + sum of displacement fields: one per control for its deviation from neutral, and
where a face does something else on the two sides of neutral (wrinkles, mostly) one more for the positive
part. Then the lips are kept out of each other, the jaw turns what hangs on it, lids and eyeballs turn as
rigid parts, and head and neck turn everything.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x2c_edge.controls import INDEX, N_CONTROLS, NEUTRAL
from x2c_edge.robot.head_mesh import LIP_ROWS, HeadMesh, Skin, build_head
from x2c_edge.robot.head_shape import EYE_CENTRE, MOUTH_HALF, MOUTH_V, bell, smoothstep

Array = NDArray[np.float64]
Float = NDArray[np.float32]

JAW_PIVOT: Final = np.array([0.0, -0.22, -0.12])
JAW_OPEN: Final = np.radians(23.0)  # Jaw Pitch 0
JAW_YAW: Final = 0.26  # radians a unit
HEAD_PIVOT: Final = np.array([0.0, -0.50, -0.22])
NECK_PIVOT: Final = np.array([0.0, -1.52, -0.30])
# The eyeballs cannot follow a gaze target all the way round: they approach these angles.
GAZE_LIMIT: Final = (0.66, 0.50)
# Elevation in degrees of the lids' edges at -1 (squeezed), 0 (shut), 1 (open) and 2 (wide).
UPPER_EDGE: Final = (-24.0, -8.0, 18.0, 36.0)
LOWER_EDGE: Final = (8.0, -7.5, -21.0, -30.0)


def _eye_rotation_limit(angle: float, limit: float) -> float:
    return float(angle / (1 + (abs(angle) / limit) ** 2.5) ** 0.4)


def _rotation(axis: int, angle: float) -> Array:
    """Right-handed rotation about x, y or z (3, 3), for column vectors."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


class _Fields:
    """Displacement fields over the skin: each (N, 4) of dx, dy, dz and what is added to the shade."""

    def __init__(self, skin: Skin) -> None:
        self.x, self.v, self.depth = skin.x, skin.v, skin.depth
        self.front = smoothstep(np.radians(100.0), np.radians(75.0), np.abs(skin.angle))
        self.upper, self.lower = skin.lip > 0, skin.lip < 0
        self.below = np.clip(MOUTH_V - skin.v, 0, None)  # distance down from the mouth's slit
        self.above = np.clip(skin.v - MOUTH_V, 0, None)
        # Above and below the eyes: a step at the hole, smooth beside it.
        hole = np.clip(1 - np.square((np.abs(skin.x) - 0.305) / 0.15), 0, 1) ** 0.5
        self.over = smoothstep(-0.06, 0.06, skin.v) * (1 - hole) + (skin.v >= 0) * hole
        # 1 at the middle of the mouth, 0 from the corners on: lips part only between the corners.
        self.part = np.sqrt(np.clip(1 - np.square(skin.x / MOUTH_HALF), 0, 1))

    def field(
        self, dx: ArrayLike = 0.0, dy: ArrayLike = 0.0, dz: ArrayLike = 0.0, shade: ArrayLike = 0.0
    ) -> Array:
        columns = np.broadcast_arrays(dx, dy, dz, shade, self.x)[:4]
        return np.asarray(np.stack(columns, axis=-1) * self.front[:, None], dtype=np.float64)

    def line(self, points: list[tuple[float, float]], width: float, side: float) -> Array:
        """1 on a polyline of (x, v) on one side of the face, falling off over width and at its ends."""
        x, v = self.x * side, self.v
        best = np.zeros_like(x)
        for (x0, v0), (x1, v1) in pairwise(points):
            along = np.clip(
                ((x - x0) * (x1 - x0) + (v - v0) * (v1 - v0)) / ((x1 - x0) ** 2 + (v1 - v0) ** 2), 0, 1
            )
            distance = np.hypot(x - x0 - along * (x1 - x0), v - v0 - along * (v1 - v0))
            best = np.maximum(best, bell(distance / width))
        return best

    def brow_inner(self, side: float) -> tuple[Array, Array, Array]:
        x, v = self.x * side, self.v
        height = np.where(v > 0.20, bell((v - 0.20) / 0.26), bell((v - 0.20) / 0.13))
        mask = bell((x - 0.15) / 0.135) * height
        lines = sum(bell((v - at) / 0.016) for at in (0.36, 0.45, 0.54)) * bell((x - 0.15) / 0.17)
        both = self.field(0.0, 0.22 * mask, 0.0)
        up = self.field(0, 0, 0.02 * lines, -0.55 * lines * smoothstep(-0.02, 0.03, x))
        frown = self.line([(0.045, 0.10), (0.060, 0.26)], 0.018, side)
        down = self.field(-0.05 * side * mask, 0, 0.06 * mask - 0.03 * frown, -0.85 * frown)
        return both, up, down

    def brow_outer(self, side: float) -> tuple[Array, Array]:
        x, v = self.x * side, self.v
        height = np.where(v > 0.20, bell((v - 0.20) / 0.24), bell((v - 0.20) / 0.13))
        mask = bell((x - 0.41) / 0.15) * height
        lines = sum(bell((v - at) / 0.016) for at in (0.38, 0.47)) * bell((x - 0.36) / 0.12)
        return self.field(0.02 * side * mask, 0.24 * mask, 0.03 * mask), self.field(
            0, 0, 0.015 * lines, -0.4 * lines
        )

    def lid_upper(self, side: float) -> tuple[Array, Array, Array]:
        x, v = self.x * side, self.v
        fold = bell((x - 0.305) / 0.14) * bell((v - 0.06) / 0.07) * self.over
        closing = self.field(0, -0.016 * fold, 0.0, 0.03 * fold)
        wide = self.field(0, 0.022 * fold, 0.0)
        squeeze = bell((x - 0.30) / 0.17) * bell((v - 0.10) / 0.11) * self.over
        crow = self.line([(0.50, 0.04), (0.60, 0.09)], 0.014, side) + self.line(
            [(0.50, 0.01), (0.60, 0.01)], 0.014, side
        )
        return closing, wide, self.field(0.0, -0.07 * squeeze, 0.02 * squeeze, -0.5 * crow)

    def lid_lower(self, side: float) -> tuple[Array, Array, Array]:
        x, v = self.x * side, self.v
        fold = bell((x - 0.305) / 0.14) * bell((v + 0.07) / 0.08) * (1 - self.over)
        bag = self.line([(0.19, -0.11), (0.30, -0.155), (0.42, -0.11)], 0.018, side)
        closing = self.field(0, 0.020 * fold, 0.012 * fold, -0.16 * bag)
        wide = self.field(0, -0.020 * fold, 0.0)
        cheek = bell((x - 0.33) / 0.18) * bell((v + 0.16) / 0.13) * (1 - self.over)
        return closing, wide, self.field(0.0, 0.06 * cheek, 0.035 * cheek, -0.55 * bag)

    def nose(self) -> Array:
        a, v = np.abs(self.x), self.v
        wings = bell((a - 0.11) / 0.09) * bell((v + 0.37) / 0.10)
        lip = bell((a - 0.12) / 0.10) * bell((v + 0.53) / 0.07) * self.upper * self.part
        brows = bell((a - 0.12) / 0.12) * bell((v - 0.18) / 0.10)
        cheek = bell((a - 0.26) / 0.12) * bell((v + 0.22) / 0.11)
        ripples = sum(bell((v - at) / 0.017) for at in (0.10, 0.035, -0.03, -0.095)) * bell(a / 0.085)
        slant = sum(
            self.line([(0.06, 0.05 - k), (0.135, 0.0 - k)], 0.013, s) for k in (0.0, 0.065) for s in (1, -1)
        )
        fold = self.line([(0.15, -0.30), (0.20, -0.40), (0.25, -0.50)], 0.022, 1) + self.line(
            [(0.15, -0.30), (0.20, -0.40), (0.25, -0.50)], 0.022, -1
        )
        dy = 0.065 * wings + 0.035 * lip - 0.05 * brows + 0.04 * cheek
        dz = 0.02 * wings - 0.012 * ripples + 0.035 * cheek - 0.015 * fold
        return self.field(
            0.02 * np.sign(self.x) * wings, dy, dz, -0.42 * ripples - 0.35 * slant - 0.38 * fold
        )

    def corner_raise(self, side: float) -> tuple[Array, Array, Array]:
        x, v = self.x * side, self.v
        corner = bell((x - 0.27) / 0.13) * bell((v - MOUTH_V) / np.where(v < MOUTH_V, 0.18, 0.13))
        cheek = bell((x - 0.37) / 0.14) * bell((v + 0.27) / 0.13)
        fold = self.line([(0.165, -0.38), (0.27, -0.47), (0.335, -0.60)], 0.022, side)
        marionette = self.line([(0.275, -0.66), (0.315, -0.80)], 0.022, side)
        bag = self.line([(0.20, -0.13), (0.31, -0.175), (0.43, -0.13)], 0.02, side)
        both = self.field(0.05 * side * corner, 0.27 * corner, -0.03 * corner)
        smile = self.field(
            0.02 * side * cheek, 0.08 * cheek, 0.11 * cheek - 0.05 * fold, -0.75 * fold - 0.25 * bag
        )
        frown = self.field(0, 0, 0.03 * corner - 0.03 * marionette, -0.75 * marionette)
        return both, smile, frown

    def corner_stretch(self, side: float) -> tuple[Array, Array]:
        x, v = self.x * side, self.v
        pull = bell((x - 0.25) / 0.155) * bell((v - MOUTH_V) / 0.16)
        dimple = self.line([(0.345, -0.57), (0.355, -0.66)], 0.02, side)
        both = self.field(0.24 * side * pull, 0, -0.12 * pull)
        return both, self.field(0, 0, -0.05 * dimple, -0.6 * dimple)

    def top_raise(self, centre: float, width: float) -> tuple[Array, Array]:
        across = bell((self.x - centre) / width) * self.part**0.7 * self.upper
        lift = across * bell(self.above / 0.12)
        fold = bell((self.x - 1.6 * centre) / 0.10) * bell((self.v + 0.50) / 0.05) * self.upper
        return self.field(0, 0.15 * lift, 0.03 * lift), self.field(0, 0, 0.02 * fold, -0.12 * fold)

    def bottom_depress(self, centre: float, width: float) -> Array:
        across = bell((self.x - centre) / width) * self.part**0.7 * self.lower
        pull = across * bell(self.below / 0.13)
        return self.field(0, -0.17 * pull, 0.01 * pull)

    def curl(self, upper: bool) -> tuple[Array, Array]:
        side, distance, sign = (self.upper, self.above, 1.0) if upper else (self.lower, self.below, -1.0)
        across = self.part * side
        edge = across * bell(distance / 0.05) * (1 - 0.5 * self.depth)
        border = across * bell((distance - 0.085) / 0.045)
        shade = across * bell((distance - 0.02) / 0.03) * (self.depth == 0)
        both = self.field(0, sign * (0.08 * border + 0.012 * edge), 0.20 * edge + 0.06 * border, 0.26 * shade)
        return both, self.field(0, 0, 0.12 * edge)  # rolled in, a lip stops at the teeth


def _jaw_weight(skin: Skin) -> Array:
    """0..1: how much of the jaw's rotation each skin vertex takes."""
    hang = smoothstep(-0.34, -0.92, skin.v) * smoothstep(
        np.radians(98.0), np.radians(52.0), np.abs(skin.angle)
    )
    hang *= 1 - 0.5 * smoothstep(-1.05, -1.4, skin.v)
    part = np.sqrt(np.clip(1 - np.square(skin.x / MOUTH_HALF), 0, 1))
    return np.asarray(np.where(skin.lip > 0, hang * (1 - part), hang + (1 - hang) * part * (skin.v > -1.0)))


class Deformer:
    """Moves the vertices of one head. Not for use by several threads at once: buffers are kept."""

    def __init__(self, mesh: HeadMesh | None = None) -> None:
        self.mesh = build_head() if mesh is None else mesh
        count = len(self.mesh.vertices)
        self.vertices: Float = np.empty((count, 3), np.float32)  # in head space, posed by the last call
        self.shade: Float = self.mesh.shade.astype(np.float32)
        self._rest = self.mesh.vertices.astype(np.float32)
        self._skin = self.mesh.parts["skin"]
        skin = self.mesh.skin
        terms = self._terms(_Fields(skin))
        self._sources = np.array([control for control, _, _ in terms])
        self._kinds = np.array([kind for _, kind, _ in terms])
        # Fields are local: each keeps only the vertices that it moves visibly.
        self._fields: list[tuple[NDArray[np.int64], Float]] = []
        for _, _, field in terms:
            moved = np.flatnonzero(np.abs(field).max(axis=1) > 1e-4)
            self._fields.append((moved, field[moved].astype(np.float32)))
        neutral = np.concatenate(
            [self.mesh.vertices[self._skin], self.mesh.shade[self._skin][:, None]], axis=1
        )
        self._neutral: Float = neutral.astype(np.float32)
        self._jaw_weight: Float = _jaw_weight(skin).astype(np.float32)[:, None]
        # Rows away from the slit give way less; the inner rows of the lips go with the edge.
        press = np.concatenate([np.exp(-np.arange(LIP_ROWS) / 3.0), (1.0, 0.9, 0.5)])
        self._press: Float = press.astype(np.float32)[:, None]
        height = self.mesh.vertices[self.mesh.parts["neck"], 1]
        self._neck_head: Float = smoothstep(-1.25, -0.72, height)[:, None].astype(np.float32)
        self._neck_base: Float = smoothstep(-1.60, -1.30, height)[:, None].astype(np.float32)

    @staticmethod
    def _terms(f: _Fields) -> list[tuple[int, int, Array]]:
        """(control, kind, field). Kind 0 the deviation from neutral, 1 its positive part, -1 its negative
        part (as a positive number), 2 how far a lid is squeezed below shut."""
        terms: list[tuple[int, int, Array]] = []

        def add(name: str, **fields: Array) -> None:
            kinds = {"both": 0, "up": 1, "down": -1, "squeeze": 2}
            terms.extend((INDEX[name], kinds[kind], field) for kind, field in fields.items())

        for name, side in (("Left", 1.0), ("Right", -1.0)):
            both, up, down = f.brow_inner(side)
            add(f"Brow Inner {name}", both=both, up=up, down=down)
            both, up = f.brow_outer(side)
            add(f"Brow Outer {name}", both=both, up=up)
            closing, wide, squeeze = f.lid_upper(side)
            add(f"Eyelid Upper {name}", down=closing, up=wide, squeeze=squeeze)
            closing, wide, squeeze = f.lid_lower(side)
            add(f"Eyelid Lower {name}", down=closing, up=wide, squeeze=squeeze)
            both, up, down = f.corner_raise(side)
            add(f"Lip Corner Raise {name}", both=both, up=up, down=down)
            both, up = f.corner_stretch(side)
            add(f"Lip Corner Stretch {name}", both=both, up=up)
            both, up = f.top_raise(0.125 * side, 0.085)
            add(f"Lip Top Raise {name}", both=both, up=up)
            add(f"Lip Bottom Depress {name}", both=f.bottom_depress(0.13 * side, 0.085))
        both, _ = f.top_raise(0.0, 0.075)
        add("Lip Top Raise Middle", both=both)
        add("Lip Bottom Depress Middle", both=f.bottom_depress(0.0, 0.08))
        for name, upper in (("Top", True), ("Bottom", False)):
            both, down = f.curl(upper)
            add(f"Lip {name} Curl", both=both, down=down)
        add("Nose Wrinkle", both=f.nose())
        return terms

    def pose(self, values: ArrayLike) -> None:
        """Fill ``vertices`` and ``shade`` for the controls (30,), paper units. Limits are not checked."""
        controls = np.asarray(values, dtype=np.float64)
        if controls.shape != (N_CONTROLS,):
            raise ValueError(f"values: expected shape ({N_CONTROLS},), got {controls.shape}")
        deviation = controls - NEUTRAL
        parts = self.mesh.parts
        out = self.vertices

        d = deviation[self._sources]
        squeeze = np.maximum(-controls[self._sources], 0)
        kinds = self._kinds
        weights = np.select(
            [kinds == 0, kinds == 1, kinds == -1], [d, np.maximum(d, 0), np.maximum(-d, 0)], squeeze
        )
        skin = self._neutral.copy()
        for weight, (moved, field) in zip(weights.astype(np.float32), self._fields, strict=True):
            if weight != 0:
                skin[moved] += weight * field
        points = skin[:, :3]
        self.shade[self._skin] = np.maximum(skin[:, 3], 0.25 * self.mesh.shade[self._skin])

        opened = JAW_OPEN * (controls[INDEX["Jaw Pitch"]] - 1.0)
        swing = JAW_YAW * deviation[INDEX["Jaw Yaw"]]
        jaw = (_rotation(1, swing) @ _rotation(0, -opened)).astype(np.float32)
        pivot = JAW_PIVOT.astype(np.float32)
        points += self._jaw_weight * ((points - pivot) @ (jaw.T - np.eye(3, dtype=np.float32)))
        self._keep_lips_apart(points)
        out[self._skin] = points
        for name in ("teeth lower", "tongue"):
            out[parts[name]] = (self._rest[parts[name]] - pivot) @ jaw.T + pivot
        for name in ("teeth upper", "throat", "ear left", "ear right", "neck", "chest"):
            out[parts[name]] = self._rest[parts[name]]
        self._eyes(controls)
        self._turn_head(controls)

    def _keep_lips_apart(self, points: Float) -> None:
        """Where the lower lip has risen through the upper one, both give way by half."""
        upper, lower = self.mesh.skin.mouth_upper, self.mesh.skin.mouth_lower
        overlap = np.maximum(points[lower[0], 1] - points[upper[0], 1], 0) / 2
        push = self._press * overlap[1:-1]
        points[upper[:, 1:-1], 1] += push
        points[lower[:, 1:-1], 1] -= push

    def _eyes(self, controls: Array) -> None:
        phi = _eye_rotation_limit(controls[INDEX["Gaze Target Phi"]], GAZE_LIMIT[0])
        theta = _eye_rotation_limit(controls[INDEX["Gaze Target Theta"]], GAZE_LIMIT[1])
        gaze = (_rotation(1, phi) @ _rotation(0, -theta)).astype(np.float32)
        for side, sign in (("left", 1.0), ("right", -1.0)):
            centre = (EYE_CENTRE * [sign, 1, 1]).astype(np.float32)
            edges = {}
            for which, table in (("upper", UPPER_EDGE), ("lower", LOWER_EDGE)):
                value = controls[INDEX[f"Eyelid {which.title()} {side.title()}"]]
                edges[which] = np.radians(np.interp(value, (-1.0, 0.0, 1.0, 2.0), table))
                part = self.mesh.parts[f"lid {which} {side}"]
                turn = _rotation(0, -edges[which]).astype(np.float32)
                self.vertices[part] = self._rest[part] @ turn.T + centre
            part = self.mesh.parts[f"eye {side}"]
            ball = self._rest[part] @ gaze.T
            # The lids' shadow on the eyeball, and the dark corners.
            elevation = np.arctan2(ball[:, 1], np.maximum(ball[:, 2], 1e-3))
            shadow = 0.50 * bell(np.clip(edges["upper"] - elevation, 0, None) / 0.22)
            shadow += 0.18 * bell(np.clip(elevation - edges["lower"], 0, None) / 0.12)
            self.shade[part] = (1 - shadow) * (1 - 0.55 * smoothstep(0.07, 0.15, np.abs(ball[:, 0])))
            self.vertices[part] = ball + centre

    def _turn_head(self, controls: Array) -> None:
        yaw, pitch, roll, neck_pitch, neck_roll = (
            float(controls[INDEX[name]])
            for name in ("Head Yaw", "Head Pitch", "Head Roll", "Neck Pitch", "Neck Roll")
        )
        head = (_rotation(1, yaw) @ _rotation(0, -pitch) @ _rotation(2, roll)).astype(np.float32)
        neck = (_rotation(0, -neck_pitch) @ _rotation(2, neck_roll)).astype(np.float32)
        atlas, base = HEAD_PIVOT.astype(np.float32), NECK_PIVOT.astype(np.float32)
        out, identity = self.vertices, np.eye(3, dtype=np.float32)
        last = self.mesh.parts["ear right"].stop  # skull first, then neck and chest
        skull = out[:last]
        moved = (skull - atlas) @ head.T + atlas
        out[:last] = (moved - base) @ neck.T + base
        part = self.mesh.parts["neck"]
        tube = out[part]
        tube = tube + self._neck_head * ((tube - atlas) @ (head.T - identity))
        out[part] = tube + self._neck_base * ((tube - base) @ (neck.T - identity))
