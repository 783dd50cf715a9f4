"""Do the commands tremble while the face is at rest?

    python -m tools.evaluate.rest_tremble ../shared/data/clips/*.mp4

People in clips hardly ever keep still for a second, so each clip is answered twice: over its own
stillest second (where the residue is real motion too), and over two seconds in which that second's first
frame is shown again and again as a camera would, with fresh sensor noise and encoding each time: the
person is exactly at rest, and whatever moves is tremble. Standard deviation of every control's command,
paper units; the goal is 0.02 or less.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import typer

from x2c_edge.controls import NAMES

HOLD_S = 2.5
NOISE_LEVELS = 2.0  # standard deviation of the sensor noise, 8-bit levels


def stillest_second(clip: Path, first_frame: int) -> tuple[int, int]:
    """First and last frame number of the second in which no part of the picture changes much.

    A blink changes little of the whole picture, so the change of a frame is that of its busiest block.
    """
    video = cv2.VideoCapture(str(clip))
    fps = video.get(cv2.CAP_PROP_FPS)
    changes: list[float] = []
    before = None
    while True:
        ok, picture = video.read()
        if not ok:
            break
        small = cv2.resize(
            cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (160, 160), interpolation=cv2.INTER_AREA
        )
        change = np.zeros_like(small) if before is None else cv2.absdiff(small, before)
        blocks = cv2.resize(change.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA)
        changes.append(float(blocks.max()))
        before = small
    length = round(fps)
    starts = range(first_frame, len(changes) - length)
    if not starts:
        raise typer.Exit(f"{clip.name}: less than a second is followed")
    best = min(starts, key=lambda i: max(changes[i + 1 : i + length]))
    return best, best + length - 1


def commands(clip: Path, *options: str) -> list[dict[str, Any]]:
    """The lines of a --fast run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.jsonl"
        command = [sys.executable, "-m", "x2c_edge.cli.main", "run", "--input", str(clip), "--fast", *options]
        subprocess.run([*command, "--link", f"jsonl:{out}"], check=True, stderr=subprocess.DEVNULL)
        return [json.loads(line) for line in out.read_text().splitlines()]


def frozen(clip: Path, frame: int, out: Path) -> None:
    """The clip up to ``frame``, then that frame for HOLD_S seconds as a camera would deliver it."""
    video = cv2.VideoCapture(str(clip))
    fps = video.get(cv2.CAP_PROP_FPS)
    size = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    rng = np.random.default_rng(0)
    for _ in range(frame + 1):
        _, picture = video.read()
        writer.write(picture)
    for _ in range(round(HOLD_S * fps)):
        noisy = picture + rng.normal(0.0, NOISE_LEVELS, picture.shape)
        writer.write(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    writer.release()


def spread(lines: list[dict[str, Any]], first: int, last: int) -> str:
    """The largest and the median standard deviation over the frames ``first``..``last``."""
    still = [line for line in lines if line["frame_seq"] is not None and first <= line["frame_seq"] <= last]
    deviation = np.array([[line["controls"][name] for name in NAMES] for line in still]).std(axis=0)
    worst = int(np.argmax(deviation))
    return f"largest {deviation[worst]:.4f} ({NAMES[worst]}), median {np.median(deviation):.4f}"


def main(clips: list[Path]) -> None:
    """Print two lines per clip."""
    for clip in clips:
        lines = commands(clip)
        following = [line["frame_seq"] for line in lines if line["state"] == "FOLLOWING"]
        first, last = stillest_second(clip, following[0] + 10)
        print(f"{clip.name} frames {first}-{last} as they are: {spread(lines, first, last)}")
        with tempfile.TemporaryDirectory() as folder:
            video = Path(folder) / "frozen.avi"
            frozen(clip, first, video)
            length = last - first + 1
            lines = commands(video)
            print(f"{clip.name} frame {first} held: {spread(lines, first + length, first + 2 * length)}")


if __name__ == "__main__":
    typer.run(main)
