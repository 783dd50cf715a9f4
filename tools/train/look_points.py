"""Where the mapping network's second look has to look (``x2c_edge.nets.look_trunk``), from the controls."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tools.dataset.make_dataset import Settings, scene_of
from tools.dataset.pair_dataset import X2C_METADATA, PairDataset
from tools.dataset.pair_shards import read_manifest
from tools.dataset.robot_pairs import CHUNK, on_all_cores
from x2c_edge.errors import BadArgumentError
from x2c_edge.robot.face import LANDMARKS, AmecaFace, Scene

_SIZE: Final = 128  # of the picture that the points are measured in; they do not depend on it
_CORNERS: Final = [
    LANDMARKS.index(f"eye {c} {side}") for side in ("right", "left") for c in ("outer", "inner")
]
_MOUTH: Final = [LANDMARKS.index(f"mouth corner {side}") for side in ("right", "left")]


def look_points(controls: NDArray[np.floating], scene: Scene) -> NDArray[np.float32]:
    """Controls (N, 30), paper units, to (N, 5, 2): the eyes' corners (the right one's outer and inner, then
    the left one's) and the mouth's middle, in half picture sides from the centre, x right, y down."""
    face = AmecaFace(_SIZE, scene)
    pixels = np.stack([face.landmarks(row) for row in controls])
    chosen = np.concatenate([pixels[:, _CORNERS], pixels[:, _MOUTH].mean(1, keepdims=True)], axis=1)
    return ((2 * chosen + 1) / _SIZE - 1).astype(np.float32)


def many_look_points(controls: NDArray[np.floating], scene: Scene) -> NDArray[np.float32]:
    """``look_points``, on all cores: one takes 6 ms."""
    jobs = [controls[start : start + CHUNK] for start in range(0, len(controls), CHUNK)]
    return np.concatenate(on_all_cores(partial(look_points, scene=scene), jobs, None, "where to look"))


def look_points_of(folder: Path, pairs: PairDataset) -> NDArray[np.float32]:
    """The same (N, 5, 2) for one side of a rendered set. BadArgumentError for the published set: nobody has
    marked where in its pictures the eyes are."""
    if (folder / X2C_METADATA).exists():
        raise BadArgumentError(f"{folder}: --trunk look learns where to look from rendered pairs only")
    manifest = read_manifest(folder)
    settings = Settings(*(manifest[name] for name in ("pairs", "size", "seed", "scenes", "shard_pairs")))
    points = np.empty((len(pairs), 5, 2), np.float32)
    for animation in np.unique(pairs.animation):
        rows = pairs.animation == animation
        points[rows] = look_points(pairs.controls[rows], scene_of(settings, int(animation)))
    return points
