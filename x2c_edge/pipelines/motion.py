"""A face's motion as LivePortrait's motion extractor gives it, and as the kernels take it.

Rows are float32: a motion is rotation 9, exp 3K, t 3, scale 1; the source's row goes on with its canonical
and its transformed keypoints, the reference's with its transformed keypoints and the multiplier.
Conventions of docs/spec/liveportrait.md section 5: row vectors, x right, y down, z into the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2c_edge.nets import keypoints
from x2c_edge.pipelines.rotation import is_rotation, mean_rotation

Array = NDArray[np.float64]
Row = NDArray[np.float32]
_MOST = 100.0  # of a saved motion's numbers; the unit is about half a face


@dataclass(frozen=True, slots=True, eq=False)
class FaceMotion:
    """rotation (3, 3) for row vectors; exp (K, 3); t (3,); scale."""

    rotation: Array
    exp: Array
    t: Array
    scale: float

    @staticmethod
    def from_row(row: Row) -> FaceMotion:
        wide = row.astype(np.float64)
        return FaceMotion(wide[:9].reshape(3, 3), wide[9:-4].reshape(-1, 3), wide[-4:-1], float(wide[-1]))

    @staticmethod
    def average(motions: list[FaceMotion]) -> FaceMotion:
        """Medians, and the mean rotation."""
        return FaceMotion(
            mean_rotation(np.stack([m.rotation for m in motions])),
            np.median([m.exp for m in motions], axis=0),
            np.median([m.t for m in motions], axis=0),
            float(np.median([m.scale for m in motions])),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "rotation": self.rotation.tolist(),
            "exp": self.exp.tolist(),
            "t": self.t.tolist(),
            "scale": self.scale,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> FaceMotion:
        """KeyError, TypeError or ValueError for what is not a motion."""
        rotation, exp, t = (np.array(data[k], dtype=np.float64) for k in ("rotation", "exp", "t"))
        scale = float(data["scale"])
        if rotation.shape != (3, 3) or exp.ndim != 2 or exp.shape[1] != 3 or t.shape != (3,):
            raise ValueError("the motion's shapes are wrong")
        small = all((np.abs(a) <= _MOST).all() for a in (exp, t, scale))
        if not small or scale <= 0 or not is_rotation(rotation):
            raise ValueError("the motion's values are damaged")
        return FaceMotion(rotation, exp, t, scale)


def source_row(source: Mapping[str, NDArray[Any]]) -> Row:
    """The robot's picture's motion from a pack: arrays ``rotation exp t scale kp x``, batch of one."""
    parts = [source[name].reshape(-1) for name in ("rotation", "exp", "t", "scale", "kp", "x")]
    return np.concatenate(parts).astype(np.float32)


def reference_row(source: Mapping[str, NDArray[Any]], reference: FaceMotion, *, multiplier: bool) -> Row:
    """Section 6 for the reference itself: x_new,0, and the multiplier of step 6 or 1."""
    wide = {
        name: np.asarray(array, dtype=np.float64)[0] for name, array in source.items() if name != "feature"
    }
    robot = keypoints.Motion(wide["kp"], wide["exp"], wide["rotation"], wide["t"], wide["scale"])
    scale = np.array([reference.scale])
    own = keypoints.Motion(wide["kp"], reference.exp, reference.rotation, reference.t, scale)
    x = keypoints.transformed(keypoints.relative_motion(robot, own, own))
    m = keypoints.motion_multiplier(wide["x"], x) if multiplier else 1.0
    parts = [reference.rotation, reference.exp, reference.t, scale, x, np.array([m])]
    return np.concatenate([part.reshape(-1) for part in parts]).astype(np.float32)
