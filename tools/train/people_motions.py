"""What the nets behind M learn from: the motions that M sees in people, mixtures of them, and what they mean.

``direct``, ``mapping_course`` and ``generator_course`` all begin with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.dataset import face_dataset as data
from tools.dataset.pair_shards import written_beside
from tools.dataset.robot_motion import controls_of, head_angles, posed
from tools.train.checkpoint import kept_array, say
from x2c_edge import packs, retarget
from x2c_edge.backends.base import Backend
from x2c_edge.backends.cpu_engine import CpuEngine
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.convert.cpu_graphs import graphs_of
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.nets import keypoints
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.people import people_of
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.two_stage import TwoStagePipeline

Row = NDArray[np.float32]
Values = NDArray[np.float64]
SHARD = 500  # motions in a file
JITTER = data.Jitter(scale=0.06, rotation_deg=0.0, shift=0.03)  # what a follower gets wrong
MIXED = 0.6  # share of the motions that are mixtures
MOST_LOST = 3.0  # times, an error of a control that is lost more than others


@dataclass(frozen=True)
class PeopleMotions:
    """A pack's chain, which refers to ``rest``, and what its M sees in people: heads (N, columns) by split,
    and ``learnt``, motions of the training people and mixtures of them. work: for what belongs to these."""

    pack: packs.Pack
    chain: TwoStagePipeline
    heads: dict[str, Row]
    learnt: Row
    rest: Reference
    work: Path

    @staticmethod
    def of(
        pack: packs.Pack, work: Path, count: int, seed: int, threads: int, faces: Path, splits: Iterable[str]
    ) -> PeopleMotions:
        """Of the real-face set in the folder ``faces``; the heads are kept in a folder in ``work`` for this
        pack, count, seed and set."""
        work = work / f"{pack.digest[:12]}-{count}-{seed}-{data.digest(faces)}"
        work.mkdir(parents=True, exist_ok=True)
        chain = TwoStagePipeline(pack, engine(pack, threads))
        heads = {
            split: kept_array(work / f"motions_{split}.npy", partial(heads_of, chain, split, seed, faces))
            for split in splits
        }
        rest = average_rest(pack, heads["train"])
        chain.refer_to(rest)
        bins = int(pack.nets["motion"].config["bins"])
        learnt = mixtures(heads["train"], count, np.random.default_rng([seed, 1]), bins)
        return PeopleMotions(pack, chain, heads, learnt, rest, work)

    def meant(self, rows: Row) -> Values:
        """The controls (N, 30) that motions (M's heads, N rows) mean beside the rest."""
        return meant(rows, self.pack, self.rest)


def kept_shards(
    folder: Path, rows: Row, make: Callable[[Row], dict[str, NDArray[np.floating]]]
) -> dict[str, NDArray[np.floating]]:
    """What ``make`` gives of each row, stacked by name, in files of SHARD rows that a run which was stopped
    finds again."""
    folder.mkdir(parents=True, exist_ok=True)
    files, begun, made = [], time.monotonic(), 0
    for number, start in enumerate(range(0, len(rows), SHARD)):
        files.append(folder / f"{number:05d}.npz")
        some = rows[start : start + SHARD]
        if files[-1].is_file():
            continue
        parts = [make(row) for row in some]
        with written_beside(files[-1]) as out:
            np.savez(out, **{name: np.stack([part[name] for part in parts]) for name in parts[0]})
        made += len(some)
        left = (len(rows) - start - len(some)) * (time.monotonic() - begun) / made / 60
        say(f"{folder.name}: {start + len(some)} of {len(rows)} motions, {left:.0f} min left")
    arrays: dict[str, NDArray[np.floating]] = {}
    for number, file in enumerate(files):
        with np.load(file) as held:
            for name, part in held.items():
                if number == 0:
                    arrays[name] = np.empty((len(rows), *part.shape[1:]), part.dtype)
                arrays[name][number * SHARD : number * SHARD + len(part)] = part
    return arrays


def engine(pack: packs.Pack, threads: int) -> Backend:
    """The CPU engine where it is to be had: it draws twice as many pictures as PyTorch."""
    try:
        return CpuEngine(graphs_of(pack), threads)
    except NotFoundError:
        return TorchBackend(threads)


def motions_of(pack: packs.Pack, rows: Row) -> keypoints.Motion:
    """M's heads (N, columns) as motions, float64."""
    spec = pack.nets["motion"].config
    bins, k = int(spec["bins"]), int(spec["keypoints"])
    ends = np.cumsum([bins, bins, bins, 3, 3 * k, 1])
    return keypoints.motion_from_heads(*np.split(rows.astype(np.float64), ends, axis=1))


def average_rest(pack: packs.Pack, bank: Row) -> Reference:
    """What motion is relative to: the average person at rest, for a pack that does not state one the average
    of everything that M saw."""
    motion = people_of(pack).motion
    if motion is None:
        seen = motions_of(pack, bank[:: max(1, len(bank) // 500)])
        parts = zip(seen.rotation, seen.exp, seen.t, seen.scale[:, 0], strict=True)
        motion = FaceMotion.average([FaceMotion(*one) for one in parts])
    return Reference(NEUTRAL.copy(), np.eye(3), motion)


def heads_of(pipeline: TwoStagePipeline, split: str, seed: int, folder: Path) -> Row:
    """(N, columns): what M says to every crop of a split; twice with a follower's errors for train."""
    faces, rng = data.load(split, folder), np.random.default_rng(seed)
    pipeline.refer_to(None)
    rows = []
    for turn in range(2 if split == "train" else 1):
        for i, image in enumerate(faces.images):
            jitter = JITTER if split == "train" else data.Jitter()
            affine, _ = data.crop_affine(faces.points[i], pipeline.crop_size, jitter, rng)
            picture = np.ascontiguousarray(image if turn == 0 else image[:, ::-1])
            if turn:
                affine = _mirrored(affine, image.shape[1], pipeline.crop_size)
            pipeline.measure(FaceCrop(Frame(i, 0, picture), affine, pipeline.crop_size, 1.0))
            rows.append(np.array(pipeline.heads[0]))
    return np.stack(rows)


def _mirrored(affine: NDArray[np.float64], width: int, size: int) -> NDArray[np.float64]:
    """The same crop of the mirrored picture, itself mirrored."""
    turned = affine.copy()
    turned[0] = [affine[0, 0], -affine[0, 1], width - 1 - affine[0, 0] * (size - 1) - affine[0, 2]]
    turned[1] = [-affine[1, 0], affine[1, 1], affine[1, 0] * (size - 1) + affine[1, 2]]
    return turned


def mixtures(bank: Row, count: int, rng: np.random.Generator, bins: int) -> Row:
    """Motions like those of the bank: half of what two of them differ in is added to a third, and the head
    turns as a fourth's does."""
    turns = 3 * bins
    first, a, b, other = rng.integers(0, len(bank), (4, count))
    mixed = (rng.random((count, 1)) < MIXED).astype(np.float32)
    rows = bank[first].copy()
    exp = slice(turns + 3, len(bank[0]) - (len(bank[0]) - turns - 4) // 2 - 1)
    share = mixed * rng.uniform(0.0, 0.6, (count, 1)).astype(np.float32)
    rows[:, exp] += share * (bank[a][:, exp] - bank[b][:, exp])
    rows[:, :turns] = np.where(mixed > 0, bank[other][:, :turns], rows[:, :turns])
    return rows


def meant(rows: Row, pack: packs.Pack, rest: Reference) -> Values:
    """The controls that motions (M's heads, N rows) mean beside a rest, as far as the robot can do it."""
    assert rest.motion is not None
    motion = motions_of(pack, rows)
    return posed(
        controls_of(motion.exp - rest.motion.exp), head_angles(motion.rotation @ rest.motion.rotation.T)
    )


def lost_of(read: Values, meant: Values, of_people: Values) -> NDArray[np.float32]:
    """(30,): how many times as much of each control as usual is lost between what is meant (N, 30) and what
    is read of it (N, 30), beside how much people do it (M, 30); from 1 to MOST_LOST."""
    share = np.abs(read - meant).mean(0) / np.maximum(of_people.std(0), 1e-6)
    usual = np.median(share[list(retarget.FACE_CONTROLS)])
    return np.clip(share / usual, 1.0, MOST_LOST).astype(np.float32)


def most(lost: NDArray[np.float32]) -> str:
    """The five controls that are lost most, in words."""
    worst = np.argsort(-lost, kind="stable")[:5]
    return ", ".join(f"{NAMES[i]} {lost[i]:.1f}" for i in worst)
