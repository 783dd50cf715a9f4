"""Rendered pairs to train the default pack's robot side on: motion, the robot's controls, and its picture.

Poses are ``robot_motion.sample``'s; a part of the motions lies outside what the robot can do, and its picture
then shows the nearest that it can. Chunks have seeds of their own, so the processes' number changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from tools.dataset.face_dataset import FaceSet, angles_from_rotation
from tools.dataset.pair_shards import written_beside
from tools.dataset.robot_motion import posed, sample
from x2c_edge.controls import INDEX, SAFE_HIGH, SAFE_LOW
from x2c_edge.robot.face import PORTRAIT, AmecaFace

CHUNK = 250
MISTAKE, ANGLE_MISTAKE = 0.06, 0.03  # paper units, radians
Array = NDArray[np.float64]
JobT, MadeT = TypeVar("JobT"), TypeVar("MadeT")


@dataclass(frozen=True)
class RobotPairs:
    """controls (N, 30) and angles (N, 3): the motion, perhaps out of range. values (N, 30): the robot's
    controls in the picture. pictures (N, S, S, 3) uint8 BGR."""

    controls: Array
    angles: Array
    values: Array
    pictures: NDArray[np.uint8]

    def rows(self, some: slice) -> RobotPairs:
        """A part of the pairs."""
        return RobotPairs(self.controls[some], self.angles[some], self.values[some], self.pictures[some])

    @staticmethod
    def joined(parts: Sequence[RobotPairs]) -> RobotPairs:
        """The pairs of all parts, in order."""
        return RobotPairs(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(RobotPairs)))

    def __add__(self, other: RobotPairs) -> RobotPairs:
        """These pairs, then the others."""
        return RobotPairs.joined([self, other])


def people(faces: FaceSet, count: int, size: int, seed: int) -> RobotPairs:
    """``count`` pairs that show what people's faces do: the labels of a face set, half of them mirrored, and
    as far from them as a motion extractor's mistakes are."""
    rng = np.random.default_rng(seed)
    rows, mirrored = rng.integers(0, len(faces.controls), count), rng.random((count, 1)) < 0.5
    controls = np.where(mirrored, faces.mirrored_controls[rows], faces.controls[rows])
    angles = angles_from_rotation(faces.rotation)[rows] * np.where(mirrored, [-1.0, 1.0, -1.0], 1.0)
    controls = controls + MISTAKE * rng.standard_normal(controls.shape)
    angles = angles + ANGLE_MISTAKE * rng.standard_normal(angles.shape)
    values = posed(controls, angles)
    return RobotPairs(controls, angles, values, pictures_of(values, size))


def _chunk(job: tuple[int, int, int, int, bool]) -> RobotPairs:
    seed, number, count, size, neck = job
    rng = np.random.default_rng((seed, number))
    controls, angles = sample(rng, count)
    values = posed(controls, angles)
    if neck:  # a neck that does its own, which no motion asks for, but a mapping network must tell
        for name, spread in (
            ("Neck Pitch", 0.12),
            ("Neck Roll", 0.07),
            ("Head Pitch", 0.1),
            ("Head Roll", 0.06),
        ):
            values[:, INDEX[name]] += spread * rng.standard_normal(count)
        values = np.clip(values, SAFE_LOW, SAFE_HIGH)
    return RobotPairs(controls, angles, values, _pictures((values, size)))


def render(count: int, size: int, seed: int, *, neck: bool = False, workers: int | None = None) -> RobotPairs:
    """``count`` pairs, on all cores."""
    jobs = [
        (seed, i, min(CHUNK, count - start), size, neck) for i, start in enumerate(range(0, count, CHUNK))
    ]
    return RobotPairs.joined(on_all_cores(_chunk, jobs, workers))


def pictures_of(values: Array, size: int, workers: int | None = None) -> NDArray[np.uint8]:
    """The robot's pictures (N, S, S, 3) of controls (N, 30) in paper units, on all cores."""
    jobs = [(values[start : start + CHUNK], size) for start in range(0, len(values), CHUNK)]
    return np.concatenate(on_all_cores(_pictures, jobs, workers))


def on_all_cores(
    make: Callable[[JobT], MadeT], jobs: Sequence[JobT], workers: int | None, title: str = "rendering"
) -> list[MadeT]:
    """``make`` of every job, in order, in ``workers`` processes (None: as many as there are cores)."""
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(track(pool.map(make, jobs), title, total=len(jobs)))


def _pictures(job: tuple[Array, int]) -> NDArray[np.uint8]:
    values, size = job
    face = AmecaFace(size, PORTRAIT)
    return np.stack([face.render(v) for v in values])


def cached(file: Path, make: Callable[[], RobotPairs]) -> RobotPairs:
    """``make()``'s pairs, kept in a file for the next time."""
    if not file.is_file():
        pairs = make()
        with written_beside(file) as out:
            np.savez(out, **vars(pairs))
    with np.load(file) as data:
        return RobotPairs(*(data[f.name] for f in fields(RobotPairs)))
