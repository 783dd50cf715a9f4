"""(Picture, 30 controls) pairs for training and evaluating mapping networks.

Reads what ``tools.dataset.make_dataset`` writes, and the published X2C set: ``metadata.jsonl`` with one
``{"file_name": "12345.jpg", "ctrl_value": [30 numbers]}`` a line and the pictures in
``images0/``, ``images1/``, ... (number // 10000) or in one folder ``images/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.dataset import pair_shards
from x2c_edge.controls import N_CONTROLS, from_robot
from x2c_edge.errors import BadArgumentError, NotFoundError

Split = Literal["train", "test"]
Division = Literal["animation", "random"]
X2C_METADATA = "metadata.jsonl"
X2C_SEED = 0  # the published set says how it was divided, but not with which seed


@dataclass(frozen=True)
class _Pairs:
    """Everything of a folder: encoded(i) gives picture i's file; test holds positions by division."""

    encoded: Callable[[int], bytes]
    controls: NDArray[np.float32]
    animation: NDArray[np.int32]
    size: int
    test: dict[Division, NDArray[np.bool_]]


class PairDataset:
    """One side of a division of a set of pairs.

    folder: of ``tools.dataset.make_dataset`` or of the published X2C set; which of both it is, is found out.
    division: "animation" keeps every animation's frames on one side; "random" divides frame by frame, as
    the paper does. The published set has no animations: ``animation`` is -1 and only "random" is possible.

    controls: (N, 30) float32, paper units. animation: (N,) int32. size: side of the pictures in pixels (the
    first one's height for the published set, whose pictures need not be square).

    ``NotFoundError`` names the file that is missing or damaged, ``BadArgumentError`` a wrong split.
    """

    def __init__(self, folder: str | Path, split: Split, division: Division = "animation") -> None:
        folder = Path(folder)
        if split not in ("train", "test"):
            raise BadArgumentError(f"split: 'train' or 'test', not {split!r}")
        published = (folder / X2C_METADATA).exists()
        pairs = _published(folder) if published else _rendered(folder)
        if division not in pairs.test:
            known = " or ".join(repr(name) for name in pairs.test)
            raise BadArgumentError(f"{folder}: cannot be divided by {division!r}; give {known}")
        test = pairs.test[division]
        self._encoded = pairs.encoded
        self._rows = np.flatnonzero(test if split == "test" else ~test)
        self._folder = folder
        self.size = pairs.size
        self.controls = pairs.controls[self._rows]
        self.animation = pairs.animation[self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, i: int) -> NDArray[np.uint8]:
        """Picture i, (H, W, 3) uint8 BGR."""
        row = int(self._rows[i])
        image = cv2.imdecode(np.frombuffer(self._encoded(row), np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise NotFoundError(f"{self._folder}: picture {row} cannot be decoded; get it again")
        return image


def _at(rows: list[int], count: int) -> NDArray[np.bool_]:
    flags = np.zeros(count, dtype=bool)
    flags[rows] = True
    return flags


def _rendered(folder: Path) -> _Pairs:
    manifest = pair_shards.read_manifest(folder)
    command = pair_shards.command(folder, manifest)
    if not manifest["complete"]:
        raise NotFoundError(f"{folder}: unfinished; finish it: {command}")
    shards = [
        pair_shards.read_shard(folder / entry["file"], entry["sha256"], command)
        for entry in manifest["shards"]
    ]
    begins = np.cumsum([0, *(len(shard.png) for shard in shards)])
    animation = np.concatenate([shard.animation for shard in shards])

    def encoded(row: int) -> bytes:
        shard = int(np.searchsorted(begins, row, "right")) - 1
        return shards[shard].png[row - int(begins[shard])]

    return _Pairs(
        encoded=encoded,
        controls=np.concatenate([shard.controls for shard in shards]),
        animation=animation,
        size=manifest["size"],
        test={
            "animation": np.isin(animation, manifest["test_animations"]),
            "random": _at(manifest["test_frames"], len(animation)),
        },
    )


def _published(folder: Path) -> _Pairs:
    source = folder / X2C_METADATA
    files: list[Path] = []
    controls: list[list[float]] = []
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{source}:{number}"
        try:
            entry = json.loads(line)
            name, values = str(entry["file_name"]), [float(value) for value in entry["ctrl_value"]]
        except (ValueError, TypeError, KeyError) as error:
            raise NotFoundError(
                f'{where}: expected {{"file_name": ..., "ctrl_value": [...]}}; get it again'
            ) from error
        if len(values) != N_CONTROLS or not np.isfinite(values).all():
            raise NotFoundError(f"{where}: expected {N_CONTROLS} finite ctrl_value numbers; get it again")
        files.append(_published_picture(folder, name, where))
        controls.append(values)
    if not files:
        raise NotFoundError(f"{source}: no pairs in it; get it again")
    first = cv2.imread(str(files[0]))
    if first is None:
        raise NotFoundError(f"{files[0]}: cannot be decoded; get it again")
    return _Pairs(
        encoded=lambda row: files[row].read_bytes(),
        controls=from_robot(controls).astype(np.float32),
        animation=np.full(len(files), -1, np.int32),
        size=int(first.shape[0]),
        test={"random": _at(pair_shards.random_test_frames(len(files), X2C_SEED), len(files))},
    )


def _published_picture(folder: Path, name: str, where: str) -> Path:
    stem = Path(name).stem
    places = [f"images{int(stem) // 10000}"] if stem.isdecimal() else []
    for place in (*places, "images", "."):
        if (folder / place / name).is_file():
            return folder / place / name
    raise NotFoundError(f"{where}: picture {name} is not in {folder}; unpack the pictures there")
