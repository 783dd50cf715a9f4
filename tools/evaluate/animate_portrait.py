"""Move a still portrait: jaw, smile, brows, blinks, gaze-free head sway, by warping the photograph.

Only good enough to give the demo something to follow when there is neither a clip nor a camera, and
``build-engines`` something to calibrate with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from x2c_edge.errors import NotFoundError
from x2c_edge.face.follow import FaceFollower
from x2c_edge.frames import Frame
from x2c_edge.nets import landmarks as lm
from x2c_edge.pipelines.base import Measurement, Pipeline

Image = NDArray[np.uint8]
Array = NDArray[np.float64]
GRID = 2  # the warp is computed on every 2nd pixel
# How far a landmark pulls its surroundings, in face widths.
REACH = {lm.OVAL: 0.12, lm.LEFT_EYE + lm.RIGHT_EYE: 0.022, lm.LEFT_BROW + lm.RIGHT_BROW: 0.05,
         lm.OUTER_LIPS + lm.INNER_LIPS: 0.035, lm.NOSE: 0.06, lm.IRISES: 0.03}  # fmt: skip
AT = lm.LANDMARK_IDS.index


def astronaut() -> Image:
    """NASA's portrait of Eileen Collins (public domain), head and shoulders: (600, 600, 3) BGR."""
    portrait = cv2.imread(str(Path(__file__).with_name("astronaut.png")))
    assert portrait is not None
    return np.asarray(cv2.resize(portrait, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def measure(picture: Image, pipeline: Pipeline) -> Measurement:
    """The one face in a BGR picture."""
    follower = FaceFollower(lm.LANDMARK_IDS, crop_size=pipeline.crop_size, crop_scale=pipeline.crop_scale)
    found = None
    for seq in range(4):  # each look starts from the landmarks of the one before
        frame = Frame(seq, seq * 33_000_000, picture)
        crop = follower.locate(frame)
        if crop is None:
            continue
        m = pipeline.measure(crop)
        if follower.update(crop, m.landmarks, m.presence):
            found = m
    if found is None:
        raise NotFoundError("no face was found in the portrait; use another one")
    return found


def write_video(path: Path, frames: Iterable[Image], fps: float) -> None:
    """BGR frames of one size as MPEG-4 in MP4."""
    writer: cv2.VideoWriter | None = None
    for frame in frames:
        if writer is None:
            size = (frame.shape[1], frame.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        writer.write(frame)
    if writer is not None:
        writer.release()


def pose_at(t: float) -> dict[str, float]:
    """The acting, t in seconds: a neutral second, then one thing after another. Amounts 0..1, sway -1..1."""

    def bump(start: float, length: float) -> float:
        u = (t - start) / length
        return float(np.sin(np.pi * u) ** 2) if 0 < u < 1 else 0.0

    return {
        "jaw": bump(1.6, 1.2) + 0.5 * bump(7.6, 0.5) + 0.6 * bump(8.1, 0.5),
        "smile": bump(3.0, 1.5),
        "brows": bump(4.6, 1.3) + 0.5 * bump(1.6, 1.2),
        "blink_left": bump(2.9, 0.3) + bump(6.0, 0.9) + bump(8.8, 0.25),
        "blink_right": bump(2.9, 0.3) + bump(8.8, 0.25),
        "sway": float(np.sin(2 * np.pi * (t - 1.2) / 4.0)) if t > 1.2 else 0.0,
        "turn": bump(7.0, 2.2) - bump(4.8, 1.8),
    }


def displacements(points: Array, pose: dict[str, float]) -> Array:
    """Where each landmark goes, (L, 2) pixels, in the axes of an upright face."""
    width = np.ptp(points[: len(lm.OVAL), 0])
    move = np.zeros_like(points)

    def shift(ids: tuple[int, ...], x: float, y: float) -> None:
        for i in ids:
            move[AT(i)] += np.array([x, y]) * width

    jaw = pose["jaw"]
    lower_lip = (146, 91, 181, 84, 17, 314, 405, 321, 375, 95, 88, 178, 87, 14, 317, 402, 318, 324)
    chin = (152, 148, 176, 149, 150, 377, 400, 378, 379)
    shift(lower_lip, 0, 0.11 * jaw)
    shift(chin, 0, 0.12 * jaw)
    smile = pose["smile"]
    shift((61, 78, 146, 185, 95, 191), -0.05 * smile, -0.04 * smile)
    shift((291, 308, 375, 409, 324, 415), 0.05 * smile, -0.04 * smile)
    shift(lm.LEFT_BROW + lm.RIGHT_BROW, 0, -0.055 * pose["brows"])
    for name, upper, lower in (
        ("blink_right", (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
        ("blink_left", (466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382)),
    ):
        for u, d in zip(upper, lower, strict=True):
            gap = points[AT(d)] - points[AT(u)]
            move[AT(u)] += 0.95 * pose[name] * gap
            move[AT(d)] -= 0.05 * pose[name] * gap
    # A turn moves what stands out (nose, lips) more than the outline.
    outline = np.zeros(len(points))
    outline[len(lm.OVAL) :] = 1.0
    for i in lm.NOSE:
        outline[AT(i)] = 1.5
    move[:, 0] += 0.05 * width * pose["turn"] * outline
    return move


def animate(picture: Image, points: Array, fps: float = 30.0, seconds: float = 10.0) -> Iterator[Image]:
    """BGR frames of the same size as ``picture``. points: (L, 2) its landmarks in pixels."""
    height, width = picture.shape[:2]
    face = float(np.ptp(points[: len(lm.OVAL), 0]))
    ys, xs = np.mgrid[0:height:GRID, 0:width:GRID].astype(np.float64)
    grid = np.stack([xs.ravel(), ys.ravel()], 1)
    near = np.linalg.norm(grid - points.mean(0), axis=1) < 1.6 * face
    distance2 = ((grid[near, None] - points[None]) ** 2).sum(2)
    reach = np.array([next(r for ids, r in REACH.items() if i in ids) for i in lm.LANDMARK_IDS])
    weight = np.exp(-distance2 / (2 * (reach * face) ** 2)) / reach  # the finer landmark has the say
    weight /= weight.sum(1, keepdims=True) + 1.0
    base_y, base_x = np.mgrid[0:height, 0:width].astype(np.float32)
    pivot = (float(points[:, 0].mean()), float(points[:, 1].max() + face))
    for i in range(round(fps * seconds)):
        pose = pose_at(i / fps)
        move = np.zeros_like(grid)
        move[near] = weight @ displacements(points, pose)
        coarse = move.reshape(*xs.shape, 2).astype(np.float32)
        dense = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        moved = cv2.remap(
            picture, base_x - dense[..., 0], base_y - dense[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        sway = cv2.getRotationMatrix2D(pivot, 4.0 * pose["sway"], 1.0)
        yield cv2.warpAffine(moved, sway, (width, height), borderMode=cv2.BORDER_REFLECT)
