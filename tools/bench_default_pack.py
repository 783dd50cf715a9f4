"""Frames a second of the default pack, file to controls, in both gears.

    python -m tools.bench_default_pack CLIP --threads 2 --write docs/benchmarks.md

Decode, locate, the whole plan, follow: everything of a run but threads, supervisor and links. Rounds are
interleaved; every round plays the same frames from the start.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Annotated

import cv2
import typer

from tools._bench import machine, markdown_table, replace_section
from x2c_edge.backends.open import open_backend
from x2c_edge.face.follow import FaceFollower, FollowSettings
from x2c_edge.frames import Frame
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.packs import open_pack
from x2c_edge.pipelines.base import Pipeline
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.single_stage import SingleStagePipeline
from x2c_edge.pipelines.two_stage import TwoStagePipeline


def play(clip: Path, frames: int, pipeline: Pipeline) -> tuple[float, int]:
    """Seconds for the frames, and how many showed the face. The first face is the reference."""
    follower = FaceFollower(
        LANDMARK_IDS, FollowSettings(crop_size=pipeline.crop_size, crop_scale=pipeline.crop_scale)
    )
    video = cv2.VideoCapture(str(clip))
    pipeline.refer_to(None)
    seen, begun = 0, time.perf_counter()
    for seq in range(frames):
        ok, picture = video.read()
        if not ok:
            raise SystemExit(f"{clip}: has only {seq} frames; give --frames {seq}")
        crop = follower.locate(Frame(seq, seq * 33_000_000, picture))
        if crop is None:
            continue
        m = pipeline.measure(crop)
        if follower.update(crop, m.landmarks, m.presence):
            seen += 1
            if seen == 1:
                pipeline.refer_to(Reference(m.values, m.rotation, m.motion))
    return time.perf_counter() - begun, seen


def main(
    clip: Annotated[Path, typer.Argument(help="a video of a face")],
    frames: int = 150,
    rounds: int = 5,
    threads: int = typer.Option(2, help="CPU threads of the nets"),
    pack: str = "default",
    write: Path | None = typer.Option(None, help="a page to write the section into"),
) -> None:
    """Measure and print; optionally write."""
    opened, backend = open_pack(pack), open_backend("torch", threads)
    pipelines: dict[str, Pipeline] = {
        "two-stage": TwoStagePipeline(opened, backend),
        "single-stage": SingleStagePipeline(opened, backend, threads),
    }
    times: dict[str, list[float]] = {name: [] for name in pipelines}
    for pipeline in pipelines.values():
        play(clip, 10, pipeline)
    for _ in range(rounds):
        for name, pipeline in pipelines.items():
            seconds, seen = play(clip, frames, pipeline)
            if seen < 0.9 * frames:
                raise SystemExit(f"{clip}: a face in {seen} of {frames} frames; give another clip")
            times[name].append(seconds)
    rows = [
        [name, f"{frames / statistics.median(t):.0f}", f"{1e3 * statistics.median(t) / frames:.1f}"]
        for name, t in times.items()
    ]
    text = (
        "## Default pack, file to controls\n\n"
        f"{machine()}, {threads} thread(s); medians of {rounds} interleaved rounds of {frames} frames of "
        f"{clip.name}, `python -m tools.bench_default_pack {clip.name} --threads {threads}`.\n\n"
        + markdown_table(["gear", "frames/s", "ms a frame"], rows)
    )
    print(text)
    if write is not None:
        replace_section(write, "default-pack", text)


if __name__ == "__main__":
    typer.run(main)
