"""Single-stage, capture to controls, against MediaPipe Face Mesh on the same clip with the same cores.

    python -m tools.bench.face_mesh CLIP --threads 1 --write docs/benchmarks.md

MediaPipe lives in a virtual environment of its own, made here at the first use. It has no option for its
threads, so both sides are held to as many cores. Rounds are interleaved; from the decoded picture on,
everything counts: for us locate, crop, net, follow; for MediaPipe ``FaceMesh.process`` with
``refine_landmarks``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import cv2
import typer

from tools.bench.common import ROOT, machine, markdown_table, replace_section
from x2c_edge.backends.open import open_backend
from x2c_edge.face.follow import FaceFollower
from x2c_edge.frames import Frame
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.packs import open_pack
from x2c_edge.pipelines.single_stage import SingleStagePipeline

PACKAGE = "mediapipe==0.10.21"
HOME = ROOT / ".bench" / "mediapipe"
FRAMES_BEFORE = 5  # find the face; not counted


class FaceMesh:
    """The other side, in a process of its environment."""

    def __init__(self, home: Path) -> None:
        python = home / "bin" / "python"
        if not python.exists():
            print(f"making {home} with {PACKAGE}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", PACKAGE], check=True)
        self._process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("mediapipe_worker.py")), str(FRAMES_BEFORE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def play(self, clip: Path, frames: int) -> tuple[float, int]:
        """Seconds for the frames, and how many showed a face."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(clip, frames, sep="\t", file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().split()
        if len(answer) != 2:
            raise SystemExit(f"MediaPipe ended; remove {HOME} and try again, or see what it says by itself")
        return float(answer[0]), int(answer[1])

    def close(self) -> None:
        self._process.communicate()


def ours(clip: Path, frames: int, pipeline: SingleStagePipeline) -> tuple[float, int]:
    """The same of the single-stage pipeline."""
    follower = FaceFollower(LANDMARK_IDS, crop_size=pipeline.crop_size, crop_scale=pipeline.crop_scale)
    video = cv2.VideoCapture(str(clip))
    spent, faces = 0.0, 0
    for number in range(-FRAMES_BEFORE, frames):
        ok, picture = video.read()
        if not ok:
            raise SystemExit(f"{clip}: has too few frames; give a smaller --frames")
        seq = number + FRAMES_BEFORE
        begun = time.perf_counter()
        crop = follower.locate(Frame(seq, seq * 33_000_000, picture))
        seen = False
        if crop is not None:
            m = pipeline.measure(crop)
            seen = follower.update(crop, m.landmarks, m.presence)
        if number >= 0:
            spent += time.perf_counter() - begun
            faces += seen
    return spent, faces


def main(
    clip: Annotated[Path, typer.Argument(help="a video of a face")],
    frames: int = 150,
    rounds: int = 5,
    threads: int = typer.Option(1, help="cores of both sides, and CPU threads of our nets"),
    pack: str = "default",
    write: Path | None = typer.Option(None, help="a page to write the section into"),
) -> None:
    """Measure and print; optionally write."""
    cores = sorted(os.sched_getaffinity(0))
    if threads > len(cores):
        raise SystemExit(f"--threads {threads}: there are {len(cores)} cores here")
    caption = machine()
    opened = open_pack(pack)
    pipeline = SingleStagePipeline(opened, open_backend("cpu", threads, pack=opened), threads)
    cv2.setNumThreads(threads)
    for task in os.listdir("/proc/self/task"):  # also the threads that there are already
        os.sched_setaffinity(int(task), cores[:threads])
    mesh = FaceMesh(HOME)
    times: dict[str, list[float]] = {"MediaPipe Face Mesh": [], "single-stage": []}
    seen: dict[str, int] = {}
    for _ in range(rounds):
        for name, (seconds, faces) in (
            ("MediaPipe Face Mesh", mesh.play(clip.resolve(), frames)),
            ("single-stage", ours(clip, frames, pipeline)),
        ):
            times[name].append(seconds / frames)
            seen[name] = faces
    mesh.close()
    median = {name: statistics.median(t) for name, t in times.items()}
    rows = [
        [name, f"{1e3 * t:.2f}", f"{t / median['MediaPipe Face Mesh']:.2f}", f"{seen[name]} of {frames}"]
        for name, t in median.items()
    ]
    text = (
        f"## Single-stage and MediaPipe Face Mesh, {threads} core(s)\n\n"
        f"{caption}; medians of {rounds} interleaved rounds of {frames} frames of {clip.name}, from the "
        f"decoded picture on, `python -m tools.bench.face_mesh {clip.name} --threads {threads}`; {PACKAGE}, "
        "`refine_landmarks=True`.\n\n"
        + markdown_table(["what", "ms a frame", "of MediaPipe's", "with a face"], rows)
    )
    print(text)
    if write is not None:
        replace_section(write, f"mediapipe-{threads}", text)


if __name__ == "__main__":
    typer.run(main)
