"""A frame of the default pack, file to controls, in every gear, on the CPU engine and on PyTorch.

    python -m tools.bench.default_pack CLIP --threads 2 --write docs/benchmarks.md

Decode, locate, the whole plan, follow: everything of a run but threads, supervisor and links. Rounds are
interleaved; every round plays the same frames from the start.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from tools.bench.common import machine, markdown_table, replace_section
from x2c_edge.backends.open import open_backend
from x2c_edge.face.follow import FaceFollower
from x2c_edge.frames import Frame
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.packs import open_pack
from x2c_edge.pipelines.base import Pipeline
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.retargeter import MotionSettings
from x2c_edge.runtime.gears import PIPELINE_NETS, open_pipeline


def play(clip: Path, frames: int, pipeline: Pipeline) -> tuple[float, np.ndarray]:
    """Seconds for the frames, and the controls (N, 30) of those that showed the face. The first face is the
    reference."""
    follower = FaceFollower(LANDMARK_IDS, crop_size=pipeline.crop_size, crop_scale=pipeline.crop_scale)
    video = cv2.VideoCapture(str(clip))
    pipeline.refer_to(None)
    rows: list[np.ndarray] = []
    begun = time.perf_counter()
    for seq in range(frames):
        ok, picture = video.read()
        if not ok:
            raise SystemExit(f"{clip}: has only {seq} frames; give --frames {seq}")
        crop = follower.locate(Frame(seq, seq * 33_000_000, picture))
        if crop is None:
            continue
        m = pipeline.measure(crop)
        if follower.update(crop, m.landmarks, m.presence):
            rows.append(m.values.copy())
            if len(rows) == 1:
                pipeline.refer_to(Reference(m.values, m.rotation, m.motion))
    return time.perf_counter() - begun, np.array(rows)


def main(
    clip: Annotated[Path, typer.Argument(help="a video of a face")],
    frames: int = 150,
    rounds: int = 5,
    threads: int = typer.Option(2, help="CPU threads of the nets"),
    pack: str = "default",
    backends: str = typer.Option("cpu,torch", help="the last is what the others are compared with"),
    write: Path | None = typer.Option(None, help="a page to write the section into"),
) -> None:
    """Measure and print; optionally write."""
    opened, names = open_pack(pack), backends.split(",")
    gears = [gear for gear, net in PIPELINE_NETS if net in opened.nets]
    pipelines: dict[tuple[str, str], Pipeline] = {}
    for name in names:
        backend = open_backend(name, threads, pack=opened)
        for gear in gears:
            pipelines[gear, name] = open_pipeline(gear, opened, backend, MotionSettings(), False)
    times: dict[tuple[str, str], list[float]] = {case: [] for case in pipelines}
    controls: dict[tuple[str, str], np.ndarray] = {}
    for pipeline in pipelines.values():
        play(clip, 10, pipeline)
    for _ in range(rounds):
        for case, pipeline in pipelines.items():
            seconds, controls[case] = play(clip, frames, pipeline)
            if len(controls[case]) < 0.9 * frames:
                raise SystemExit(f"{clip}: a face in {len(controls[case])} of {frames} frames; give another")
            times[case].append(seconds)
    rows = []
    for gear in gears:
        for name in names:
            median = statistics.median(times[gear, name])
            other = statistics.median(times[gear, names[-1]])
            apart = "-"
            if name != names[-1] and controls[gear, name].shape == controls[gear, names[-1]].shape:
                apart = f"{np.abs(controls[gear, name] - controls[gear, names[-1]]).max():.1e}"
            rows.append(
                [f"{gear}, {name}", f"{frames / median:.0f}", f"{1e3 * median / frames:.1f}",
                 f"{other / median:.2f}", apart,
                 f"{statistics.median(times[gears[0], name]) / median:.2f}"]
            )  # fmt: skip
    text = (
        f"## Default pack, file to controls, {threads} thread(s)\n\n"
        f"{machine()}; medians of {rounds} interleaved rounds of {frames} frames of "
        f"{clip.name}, `python -m tools.bench.default_pack {clip.name} --threads {threads}`.\n\n"
        + markdown_table(
            [
                "gear, backend",
                "frames/s",
                "ms a frame",
                f"{names[-1]} / this",
                "largest difference",
                f"{gears[0]} / this",
            ],
            rows,
        )
    )
    print(text)
    if write is not None:
        replace_section(write, f"default-pack-{threads}", text)


if __name__ == "__main__":
    typer.run(main)
