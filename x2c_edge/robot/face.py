"""The virtual Ameca's face: 30 controls in, a picture out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x2c_edge import _kernels
from x2c_edge.robot.deform import Deformer
from x2c_edge.robot.paint import paint

Image = NDArray[np.uint8]
Vector = tuple[float, float, float]

DISTANCE: Final = 7.0  # of the camera from the head's middle, in half head heights
VIEW_HEIGHT: Final = 2.75  # what the picture shows of the head's plane at zoom 1
LOOK_AT: Final = (0.0, -0.13, 0.0)


# Points that stick to the skin: where they lie on the neutral face (x, row), see head_mesh.
_LANDMARKS: Final[dict[str, tuple[float, float]]] = {
    **{
        f"{name} {side}": (sign * x, v)
        for side, sign in (("left", 1.0), ("right", -1.0))
        for name, (x, v) in {
            "brow inner": (0.13, 0.17),
            "brow outer": (0.45, 0.18),
            "eye inner": (0.155, 0.0),
            "eye outer": (0.455, 0.0),
            "nose wing": (0.12, -0.37),
            "mouth corner": (0.26, -0.62),
            "cheek": (0.38, -0.27),
            "temple": (0.68, 0.2),
        }.items()
    },
    "forehead": (0.0, 0.5),
    "nose bridge": (0.0, 0.0),
    "nose tip": (0.0, -0.34),
    "lip top": (0.0, -0.56),
    "lip bottom": (0.0, -0.70),
    "chin": (0.0, -0.95),
}
LANDMARKS: Final[tuple[str, ...]] = tuple(_LANDMARKS)


@dataclass(frozen=True, slots=True)
class Light:
    """direction: towards the light, x right in the picture, y up, z towards the camera. colour: B, G, R."""

    direction: Vector
    colour: Vector


@dataclass(frozen=True, slots=True)
class Scene:
    """Where the robot is looked at from and in what light. The default is frontal and left-right symmetric.

    lights: at most 4. sky, ground: ambient light from above and below, B, G, R, linear. top, bottom:
    background colours, B, G, R in 0..255. yaw, pitch, roll: the camera walks round the robot, radians, to
    the robot's left and up. zoom: 1 shows 2.75 half head heights. shift: of the picture's centre, in parts
    of its size, right and down. skin: multiplies the robot's colours, B, G, R.
    """

    lights: tuple[Light, ...] = (
        Light((0.0, 0.55, 0.80), (0.62, 0.62, 0.62)),
        Light((-0.85, 0.20, 0.25), (0.16, 0.15, 0.15)),
        Light((0.85, 0.20, 0.25), (0.16, 0.15, 0.15)),
    )
    sky: Vector = (0.36, 0.36, 0.36)
    ground: Vector = (0.14, 0.14, 0.14)
    top: Vector = (70.0, 62.0, 56.0)
    bottom: Vector = (38.0, 34.0, 31.0)
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    skin: Vector = (1.0, 1.0, 1.0)

    @staticmethod
    def random(seed: int) -> Scene:
        """A scene that depends on the seed only: light, camera, background and tint all change."""
        rng = np.random.default_rng(seed)

        def colour(low: float, high: float, tint: float) -> Vector:
            level = rng.uniform(low, high)
            b, g, r = level * rng.uniform(1 - tint, 1 + tint, 3)
            return float(b), float(g), float(r)

        def light(spread: float, low: float, high: float) -> Light:
            x, y = rng.uniform(-spread, spread), rng.uniform(-0.1, 0.9)
            return Light((float(x), float(y), float(rng.uniform(0.4, 0.9))), colour(low, high, 0.12))

        return Scene(
            lights=(light(0.8, 0.40, 0.75), light(1.5, 0.05, 0.30)),
            sky=colour(0.22, 0.42, 0.08),
            ground=colour(0.08, 0.24, 0.08),
            top=colour(20, 200, 0.25),
            bottom=colour(20, 200, 0.25),
            yaw=float(rng.uniform(-0.20, 0.20)),
            pitch=float(rng.uniform(-0.12, 0.12)),
            roll=float(rng.uniform(-0.05, 0.05)),
            zoom=float(rng.uniform(0.92, 1.10)),
            shift=(float(rng.uniform(-0.04, 0.04)), float(rng.uniform(-0.04, 0.04))),
            skin=colour(0.88, 1.05, 0.05),
        )


# A close-up: in small pictures the eyes need the pixels more than the skull and the shoulders do.
PORTRAIT: Final = Scene(zoom=1.4, shift=(0.0, -0.09))


def _camera_rotation(scene: Scene) -> NDArray[np.float64]:
    cy, sy = np.cos(scene.yaw), np.sin(scene.yaw)
    cp, sp = np.cos(scene.pitch), np.sin(scene.pitch)
    cr, sr = np.cos(scene.roll), np.sin(scene.roll)
    around = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    above = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(tilt @ above @ around)


class AmecaFace:
    """Draws the virtual Ameca. One object per thread: it keeps its buffers.

    size: the picture's side in pixels. The same controls, scene and size give the same picture, bit for
    bit on one machine, whatever was drawn before.
    """

    def __init__(
        self, size: int = 256, scene: Scene | None = None, *, samples: int = 2, threads: int = 1
    ) -> None:
        if size < 1:
            raise ValueError(f"size: expected at least 1, got {size}")
        self.size = size
        self._samples, self._threads = samples, threads
        self._deformer = Deformer()
        self._paint = paint()
        mesh = self._deformer.mesh
        self._uv = np.ascontiguousarray(mesh.uv, dtype=np.float32)
        self._triangles = mesh.triangles
        self._view = np.empty_like(self._deformer.vertices)
        self._landmarks = np.array([mesh.skin.nearest(x, v) for x, v in _LANDMARKS.values()])
        self.scene = scene or Scene()

    @property
    def scene(self) -> Scene:
        return self._scene

    @scene.setter
    def scene(self, scene: Scene) -> None:
        self._scene = scene
        self._rotation = _camera_rotation(scene).astype(np.float32)
        self._offset = (-np.array(LOOK_AT) @ _camera_rotation(scene).T - [0, 0, DISTANCE]).astype(np.float32)
        focal = self.size * scene.zoom * DISTANCE / VIEW_HEIGHT
        middle = (self.size - 1) / 2
        self._camera = (focal, middle + scene.shift[0] * self.size, middle + scene.shift[1] * self.size)
        self._lights = np.array([(*x.direction, *x.colour) for x in scene.lights], np.float32).reshape(-1, 6)
        self._ambient = np.array([scene.sky, scene.ground], np.float32)
        tint = np.array([*scene.skin, 1.0])
        self._texture = np.clip(self._paint * tint + 0.5, 0, 255).astype(np.uint8)
        down = np.linspace(0, 1, self.size)[:, None]
        rows = np.array(scene.top) * (1 - down) + np.array(scene.bottom) * down
        self._background = np.repeat(np.clip(rows, 0, 255).astype(np.uint8)[:, None], self.size, axis=1)

    def render(self, values: ArrayLike, out: Image | None = None) -> Image:
        """The face at the controls (30,), paper units -> (size, size, 3) uint8 BGR, in ``out`` if given.

        The robot's left is on the right of the picture. Raises ValueError naming what does not fit.
        """
        image = np.empty_like(self._background) if out is None else out
        if image.shape != self._background.shape or image.dtype != np.uint8:
            raise ValueError(f"out: expected {self._background.shape} uint8, got {image.shape} {image.dtype}")
        self._place(values)
        np.copyto(image, self._background)
        _kernels.rasterise(
            self._view,
            self._deformer.shade,
            self._uv,
            self._triangles,
            self._texture,
            image,
            lights=self._lights,
            ambient=self._ambient,
            camera=self._camera,
            samples=self._samples,
            threads=self._threads,
        )
        return image

    def landmarks(self, values: ArrayLike) -> NDArray[np.float64]:
        """Where the points named in ``LANDMARKS`` are in the picture at the controls: (L, 2), pixels x, y.

        (0, 0) is the first pixel's centre. Points may be hidden or outside the picture.
        """
        self._place(values)
        points = self._view[self._landmarks].astype(np.float64)
        focal, cx, cy = self._camera
        scale = focal / -points[:, 2]
        return np.stack([cx + scale * points[:, 0], cy - scale * points[:, 1]], axis=-1)

    def _place(self, values: ArrayLike) -> None:
        self._deformer.pose(values)
        np.matmul(self._deformer.vertices, self._rotation.T, out=self._view)
        self._view += self._offset
