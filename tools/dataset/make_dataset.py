"""Render (picture, 30 controls) pairs of the virtual Ameca, as the paper's section 2.3 made its own.

    python -m tools.dataset.make_dataset --pairs 10000 --out /tmp/pairs
    python -m tools.dataset.make_dataset --pairs 100000 --size 512 --animations 560 --scenes portrait \
        --out /tmp/x2c

Composed animations are sampled every 0.05 s; a frame that is too like the last one kept of its animation
(SSIM > 0.99) is dropped. They are short ones, as many as it takes, or, with --animations, so many of 1 to
15 s without the poses that the paper leaves out (``long_animations``, ``exclusions``). Layout on disk,
resuming and splits: docs/dataset.md. Read it with ``tools.dataset.pair_dataset``.
"""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from enum import Enum
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from skimage.metrics import structural_similarity

from tools._errors import user_errors
from tools.dataset import pair_shards
from tools.dataset.compose_animations import STEP_S, compose, poses
from tools.dataset.long_animations import SHORTEST_S, lasting_poses, shares
from tools.dataset.pair_shards import Shard
from x2c_edge.errors import BadArgumentError, FaultError, NotFoundError
from x2c_edge.robot.face import PORTRAIT, AmecaFace, Scene

ROOT = Path(__file__).resolve().parents[2]
ANIMATIONS_A_SHARD = 1000  # numbers that a shard may use; each animation gives one pair at least
SAME_ABOVE = 0.99  # the paper's Eq. 4
SSIM_SIDE = 64
LONG_SSIM_SIDE = 128  # nearer to the SSIM of whole pictures, which tells more frames apart
FEWEST = round(SHORTEST_S / STEP_S) + 1  # pairs of an animation of 1 s
MOST = 230  # pairs of one of 15 s: as a portrait, of 301 frames 233 to 260 were kept
# Renderings are smooth: runs of equal differences from what Paeth expects pack them as well as a search for
# the best filter and the longest match does, and sooner. OpenCV before 4.12 takes every filter.
PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):
    PNG_OPTIONS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH]


class Scenes(str, Enum):
    fixed = "fixed"
    portrait = "portrait"
    random = "random"


@dataclass(frozen=True)
class Settings:
    """What a set's bytes depend on, with the code that makes them. animations: how many there are, of 1 to
    15 s; 0: short ones, as many as it takes."""

    pairs: int
    size: int
    seed: int
    scenes: str
    shard_pairs: int = 250
    animations: int = 0

    @property
    def shards(self) -> int:
        return -(-self.pairs // self.shard_pairs)

    def pairs_in(self, shard: int) -> int:
        """The last shard may have fewer than the others."""
        return min(self.shard_pairs, self.pairs - shard * self.shard_pairs)

    def animations_in(self, shard: int) -> range:
        """Numbers of the long animations that a shard has to itself, in proportion to its pairs."""
        first = shard * self.shard_pairs
        ends = (first, first + self.pairs_in(shard))
        return range(*(self.animations * end // self.pairs for end in ends))


def make_shard(settings: Settings, index: int) -> Shard:
    """Shard ``index`` of a set; it depends on these two alone, wherever it runs."""
    wanted = settings.pairs_in(index)
    face = _face(settings.size)
    png: list[bytes] = []
    controls: list[NDArray[np.float64]] = []
    animation: list[int] = []
    time: list[float] = []
    due = 0
    for number, (times, values), most in _played(settings, index):
        face.scene = scene_of(settings, number)
        last: NDArray[np.uint8] | None = None
        due += most  # what an animation has left over at its end, the next one makes up for
        for at, pose in zip(times, values, strict=True):
            image = face.render(pose)
            small = _grey(image, LONG_SSIM_SIDE if settings.animations else SSIM_SIDE)
            if last is not None and structural_similarity(last, small, data_range=255) > SAME_ABOVE:
                continue
            last = small
            png.append(cv2.imencode(".png", image, PNG_OPTIONS)[1].tobytes())
            controls.append(pose)
            animation.append(number)
            time.append(float(at))
            if len(png) == min(due, wanted):
                break
        if len(png) == wanted:
            break
    return Shard(png, np.float32(controls), np.int32(animation), np.float32(time))


def _played(settings: Settings, index: int) -> Iterator[tuple[int, Poses, int]]:
    """The animations of a shard: number, times and poses, and how many pairs each gives at most."""
    if not settings.animations:
        for number in count(index * ANIMATIONS_A_SHARD):
            yield number, poses(compose(settings.seed, number)), settings.shard_pairs
    mine = settings.animations_in(index)
    rng = np.random.default_rng([settings.seed, index, 3])
    # The shortest comes last: it has the most time to make up for the others.
    parts = sorted(shares(rng, settings.pairs_in(index), len(mine), FEWEST, MOST), reverse=True)
    for number, most in zip(mine, parts, strict=True):
        yield number, lasting_poses(settings.seed, number), most
    # Should that not do, the set has an animation more than was asked for.
    for number in count(settings.animations + index * ANIMATIONS_A_SHARD):
        yield number, lasting_poses(settings.seed, number), settings.shard_pairs


def scene_of(settings: Settings, animation: int) -> Scene:
    """The light and the camera of an animation."""
    if settings.scenes == Scenes.random.value:
        seed = np.random.SeedSequence([settings.seed, animation, 1]).generate_state(1)[0]
        return Scene.random(int(seed))
    return PORTRAIT if settings.scenes == Scenes.portrait.value else Scene()


def _grey(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=1)
def _face(size: int) -> AmecaFace:
    return AmecaFace(size)


Poses = tuple[NDArray[np.float64], NDArray[np.float64]]  # times (T,), controls (T, 30)
Made = tuple[int, bytes, dict[int, int]]  # index, the file's bytes, frames by animation


def made(settings: Settings, index: int) -> Made:
    """``make_shard`` in the form that travels between processes and machines."""
    shard = make_shard(settings, index)
    numbers, counts = np.unique(shard.animation, return_counts=True)
    return index, pair_shards.encode_shard(shard), dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def _on_this_machine(settings: Settings, todo: list[int], processes: int) -> Iterator[Made]:
    """Shards as they get ready. With one process, in this one."""
    if processes == 1:
        yield from (made(settings, index) for index in todo)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_begin_worker)
    try:
        waiting = iter(todo)
        running: set[Future[Made]] = set()
        while True:
            for index in waiting:
                running.add(pool.submit(made, settings, index))
                if len(running) > processes:
                    break
            if not running:
                return
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                yield future.result()
    except BrokenProcessPool as error:
        raise FaultError(
            "a worker process was killed (out of memory?); run the same command with fewer --processes"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin_worker() -> None:
    """One thread of OpenCV's a process; Ctrl-C is the parent's; and none outlives it, however it ends."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def make_dataset(
    settings: Settings, out: Path, processes: int | None = None, ray: str | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Make the set in ``out``, or what is missing of it; returns the finished manifest.

    processes: how many work here; None one for each core. ray: the address of a Ray cluster that works
    instead. ``BadArgumentError`` when ``out`` holds another set, ``FaultError`` when a file cannot be
    written; what is finished stays, and the same call goes on from there.
    """
    _check_animations(settings)
    manifest = _begin(settings, out)
    found: dict[str, Any] = {entry["file"]: entry for entry in manifest["shards"]}
    todo = [i for i in range(settings.shards) if pair_shards.shard_name(i) not in found]
    workers = processes or len(os.sched_getaffinity(0))
    if ray is None:
        source = _on_this_machine(settings, todo, min(workers, max(len(todo), 1)))
    else:
        from tools.dataset.ray_shards import on_ray

        source = on_ray(settings, todo, ray)
    columns = (TextColumn("pairs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=quiet) as progress:
        done = sum(entry["pairs"] for entry in found.values())
        task = progress.add_task("pairs", total=settings.pairs, completed=done)
        for index, content, frames in source:
            name = pair_shards.shard_name(index)
            found[name] = {
                "file": name,
                "sha256": hashlib.sha256(content).hexdigest(),
                "pairs": sum(frames.values()),
                "animations": [[number, count] for number, count in frames.items()],
            }
            manifest["shards"] = [found[key] for key in sorted(found)]
            try:
                with pair_shards.written_beside(out / name) as file:
                    file.write(content)
                pair_shards.write_manifest(out, manifest)
            except OSError as error:
                left = (settings.shards - len(found) + 1) * len(content)
                raise _cannot_write(out / name, error, len(found) - 1, settings, left) from error
            progress.advance(task, found[name]["pairs"])
    frames = {number: count for entry in manifest["shards"] for number, count in entry["animations"]}
    manifest["complete"] = True
    manifest["test_animations"] = pair_shards.test_animations(frames, settings.seed)
    manifest["test_frames"] = pair_shards.random_test_frames(settings.pairs, settings.seed)
    try:
        pair_shards.write_manifest(out, manifest)
    except OSError as error:
        raise _cannot_write(out / pair_shards.MANIFEST, error, settings.shards, settings, 1 << 20) from error
    return manifest


def _check_animations(settings: Settings) -> None:
    for shard in range(settings.shards if settings.animations else 0):
        mine, wanted = len(settings.animations_in(shard)), settings.pairs_in(shard)
        if not FEWEST * mine <= wanted <= MOST * mine:
            least, most = -(-settings.pairs // MOST), settings.pairs // FEWEST
            raise BadArgumentError(
                f"--animations {settings.animations}: {settings.pairs} pairs, {settings.shard_pairs} in a "
                f"file, take {least} to {most} animations of 1 to 15 s; give another number, or more "
                "--shard-pairs"
            )


def _cannot_write(path: Path, error: OSError, finished: int, settings: Settings, left: int) -> FaultError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    advice = f"free {left / 1e6:.0f} MB" if full else "make the folder writable"
    return FaultError(
        f"{path}: {error.strerror}; {finished} of {settings.shards} shards are finished and stay; "
        f"{advice} and run the same command again"
    )


def _begin(settings: Settings, out: Path) -> dict[str, Any]:
    """The manifest to go on from: its shards are those that lie in ``out`` unharmed."""
    fresh = {
        "format": pair_shards.FORMAT,
        **asdict(settings),
        "step_s": STEP_S,
        "same_above": SAME_ABOVE,
        "generator": _generator(),
        "complete": False,
        "shards": [],
    }
    if (out / pair_shards.MANIFEST).exists():
        old = pair_shards.read_manifest(out)
        for key in (*asdict(settings), "generator"):
            if old.get(key) != fresh[key]:
                raise BadArgumentError(
                    f"{out}: holds a set with {key} {old.get(key)}, not {fresh[key]}; give another --out"
                )
        for entry in old["shards"]:
            if pair_shards.sha256_of(out / entry["file"]) == entry["sha256"]:
                fresh["shards"].append(entry)
            else:
                typer.echo(f"{out / entry['file']}: missing or damaged; it is made again", err=True)
        return fresh
    try:
        out.mkdir(parents=True, exist_ok=True)
        pair_shards.write_manifest(out, fresh)
    except OSError as error:
        raise NotFoundError(f"{out}: {error.strerror}; give a folder that can be written to") from error
    return fresh


def _sources() -> list[Path]:
    """The files that decide what is drawn."""
    robot, safety = ROOT / "x2c_edge" / "robot", ROOT / "x2c_edge" / "safety"
    return sorted(
        [
            *robot.glob("*.py"),
            *robot.glob("animations/*.txt"),
            ROOT / "x2c_edge" / "controls.py",
            safety / "eyelids.py",
            safety / "lip_limits.py",
            Path(__file__),
            *map(Path(__file__).with_name, ("compose_animations.py", "long_animations.py", "exclusions.py")),
            *(ROOT / "csrc" / "cpu").glob("raster*"),
            ROOT / "csrc" / "core" / "raster.h",
        ]
    )


@lru_cache(maxsize=1)
def _generator() -> str:
    """Checksum of the sources, so that no set is made by two versions of them."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def main(
    out: Path = typer.Option(..., help="folder of the set; an unfinished one is gone on with"),
    pairs: int = typer.Option(10_000, min=2),
    size: int = typer.Option(128, min=32, max=1024, help="side of the pictures, pixels"),
    seed: int = typer.Option(1, min=0),
    scenes: Scenes = typer.Option(
        Scenes.fixed, help="the plain view, a close-up, or one for every animation"
    ),
    animations: int = typer.Option(
        0, min=0, help="so many of 1 to 15 s, as the paper's 560; 0: short ones, as many as it takes"
    ),
    shard_pairs: int | None = typer.Option(
        None, min=1, max=ANIMATIONS_A_SHARD, help="pairs in a file; 250, or 1000 with --animations"
    ),
    processes: int | None = typer.Option(None, min=1, help="default: one for each core"),
    ray: str | None = typer.Option(None, help="HOST:PORT of a Ray cluster that does the work"),
) -> None:
    """Make a set of pairs."""
    try:
        with user_errors("error: "):
            shard_pairs = shard_pairs or (ANIMATIONS_A_SHARD if animations else 250)
            settings = Settings(pairs, size, seed, scenes.value, shard_pairs, animations)
            manifest = make_dataset(settings, out, processes, ray)
    except KeyboardInterrupt:
        typer.echo(f"stopped; finished shards stay in {out}; the same command goes on", err=True)
        raise typer.Exit(130) from None
    total = sum((out / entry["file"]).stat().st_size for entry in manifest["shards"])
    animations = sum(len(entry["animations"]) for entry in manifest["shards"])
    typer.echo(f"{out}: {pairs} pairs of {animations} animations, {total / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
