"""The files of a set of (picture, 30 controls) pairs: shards, their checksums, the manifest.

A shard is a ``.npz`` without compression and without times in it, so that the same pairs give the same
bytes: ``png`` (uint8, all PNG files one after another), ``offset`` (int64, n+1; picture i is
``png[offset[i]:offset[i+1]]``), ``controls`` (float32, n×30, paper units), ``animation`` (int32, n),
``time`` (float32, n; seconds from the animation's start). ``manifest.json`` is described in
docs/dataset.md.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from x2c_edge import packs
from x2c_edge.controls import N_CONTROLS
from x2c_edge.errors import NotFoundError

MANIFEST = "manifest.json"
FORMAT = "x2c-edge pairs 1"
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Shard:
    """n pairs. png: encoded pictures; controls (n, 30) float32; animation (n,) int32; time (n,) float32."""

    png: Sequence[bytes]
    controls: NDArray[np.float32]
    animation: NDArray[np.int32]
    time: NDArray[np.float32]


def shard_name(index: int) -> str:
    return f"shard-{index:05d}.npz"


def encode_shard(shard: Shard) -> bytes:
    """The bytes of a shard's file; the same for the same pairs."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        png=np.frombuffer(b"".join(shard.png), np.uint8),
        offset=np.cumsum([0, *map(len, shard.png)], dtype=np.int64),
        controls=shard.controls.astype(np.float32),
        animation=shard.animation.astype(np.int32),
        time=shard.time.astype(np.float32),
    )
    return buffer.getvalue()


def read_shard(path: Path, sha256: str, remake: str) -> Shard:
    """A shard of a finished set. ``NotFoundError`` with ``remake``, the command that mends the set, when it
    is missing or its bytes are not those of the checksum."""
    try:
        about = path.stat()
        found = _sha256_of(path, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}; make it again: {remake}") from error
    if found != sha256:
        raise NotFoundError(f"{path}: damaged (its sha256 is not the manifest's); make it again: {remake}")
    with np.load(path) as data:
        return Shard(
            png=PngFiles(path, data["offset"]),
            controls=data["controls"].reshape(-1, N_CONTROLS),
            animation=data["animation"],
            time=data["time"],
        )


@cache
def _sha256_of(path: Path, size: int, changed_ns: int) -> str:
    """Once for every state of a file: a large set is opened for both sides of both divisions."""
    return packs.sha256_of(path)


class PngFiles(Sequence[bytes]):
    """The PNG files of a shard, read when asked for: the paper's set does not fit into memory."""

    def __init__(self, path: Path, offset: NDArray[np.int64]) -> None:
        self._path, self._offset = path, offset + _begin_of(path, "png.npy")

    def __len__(self) -> int:
        return len(self._offset) - 1

    def __getitem__(self, i: int) -> bytes:  # type: ignore[override]
        if not 0 <= i < len(self):
            raise IndexError(i)
        begin, end = int(self._offset[i]), int(self._offset[i + 1])
        with self._path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)


def _begin_of(path: Path, name: str) -> int:
    """Where the numbers of a member of an uncompressed ``.npz`` begin in the file."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        file.seek(archive.getinfo(name).header_offset + 26)
        name_length, extra_length = struct.unpack("<HH", file.read(4))
        file.seek(name_length + extra_length, os.SEEK_CUR)
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return file.tell()


def sha256_of(path: Path) -> str | None:
    """Checksum of a file, None when there is none."""
    try:
        return packs.sha256_of(path)
    except FileNotFoundError:
        return None


def read_manifest(folder: Path) -> dict[str, Any]:
    """``manifest.json`` of a set. ``NotFoundError`` when it is missing, broken or of another format."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except OSError as error:
        raise NotFoundError(
            f"{path}: {error.strerror}; make a set: python -m tools.dataset.make_dataset"
        ) from error
    except ValueError as error:
        raise NotFoundError(
            f"{path}: not JSON ({error}); delete it and run tools.dataset.make_dataset again"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise NotFoundError(
            f'{path}: not a set of pairs (its "format" is not {FORMAT!r}); give another folder'
        )
    needed = ["pairs", "size", "seed", "scenes", "shard_pairs", "complete", "shards"]
    needed += ["test_animations", "test_frames"] if manifest.get("complete") else []
    for key in needed:
        if key not in manifest:
            raise NotFoundError(f'{path}: "{key}" is missing; run tools.dataset.make_dataset again')
    return manifest


def command(folder: Path, manifest: dict[str, Any]) -> str:
    """What makes this set, and what makes a damaged shard of it again."""
    names = ["pairs", "size", "seed", "scenes", "shard_pairs"]
    names += ["animations"] if manifest.get("animations") else []
    options = " ".join(f"--{name.replace('_', '-')} {manifest[name]}" for name in names)
    return f"python -m tools.dataset.make_dataset {options} --out {folder}"


def random_test_frames(count: int, seed: int) -> list[int]:
    """The paper's division: a fifth of the frames, drawn at random, is for testing. Rising positions."""
    chosen = np.random.default_rng(seed).permutation(count)[: round(count * TEST_SHARE)]
    return [int(i) for i in np.sort(chosen)]


def test_animations(frames: dict[int, int], seed: int) -> list[int]:
    """The division by animation: animations drawn at random until they hold a fifth of the frames.

    frames: how many each animation has. Rising numbers; one at least, and one is left for training. One that
    would take more than a fifth too many is left for training; where all would, the shortest is for testing.
    """
    share = sum(frames.values()) * TEST_SHARE
    wanted = share
    chosen: list[int] = []
    for number in np.random.default_rng(seed).permutation(sorted(frames))[1:]:
        if chosen and wanted <= 0:
            break
        if frames[int(number)] <= wanted + share:
            chosen.append(int(number))
            wanted -= frames[int(number)]
    if not chosen and len(frames) > 1:
        chosen = [min(frames, key=lambda number: frames[number])]
    return sorted(chosen)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Replace the manifest in one move. Raises OSError."""
    with written_beside(folder / MANIFEST) as file:
        file.write((json.dumps(manifest, indent=1) + "\n").encode())


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[BinaryIO]:
    """A ``.partial`` file that takes ``path``'s place when all went well, and is removed when not."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
