"""The runtime's own figures on a long live run: start, memory, tick jitter, overhead, throughput.

    python -m tools.check.soak_runtime --minutes 10 ../shared/data/clips/d6.mp4

Plays the clip over and over at its own rate through ``x2c-edge profile`` (live, jsonl link), samples the
process's resident memory, and prints what docs/spec/program.md section 9 asks for. A second, short run with
--fast gives frames per second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import typer

from tools.bench import common

EDGE = [sys.executable, "-m", "x2c_edge.cli.main"]
WARM_UP_SHARE = 0.2


def repeated(clip: Path, seconds: float, out: Path) -> None:
    """The clip again and again until ``seconds`` are full, cut to mirror back and forth without jumps."""
    source = cv2.VideoCapture(str(clip))
    fps = source.get(cv2.CAP_PROP_FPS)
    frames = []
    while len(frames) < 300:
        ok, frame = source.read()
        if not ok:
            break
        frames.append(frame)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    there_and_back = frames + frames[-2:0:-1]
    for i in range(round(seconds * fps)):
        writer.write(there_and_back[i % len(there_and_back)])
    writer.release()


def resident_kb(pid: int) -> int:
    """Resident set of a process, kB; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)


def main(
    clip: Path,
    minutes: float = 10.0,
    write: Path | None = typer.Option(None, help="put the table into this Markdown file"),
) -> None:
    """Run, measure, print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video, figures = folder / "long.mp4", folder / "profile.json"
        repeated(clip, minutes * 60, video)
        start_ns = time.monotonic_ns()
        run = subprocess.Popen(
            [*EDGE, "profile", "--input", str(video), "--frames", "1000000", "--json", str(figures),
             "--link", f"jsonl:{folder / 'out.jsonl'}"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        memory: list[int] = []
        while run.poll() is None:
            memory.append(resident_kb(run.pid))
            time.sleep(1.0)
        with (folder / "out.jsonl").open() as lines:
            first = json.loads(next(lines))
        live = json.loads(figures.read_text())
        subprocess.run(
            [*EDGE, "profile", "--input", str(clip), "--fast", "--frames", "600", "--json", str(figures)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        fast = json.loads(figures.read_text())
    memory = [m for m in memory if m]
    settled = np.array(memory[int(len(memory) * WARM_UP_SHARE) :])
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0] * 60 if len(settled) > 2 else float("nan")
    wire = live["end_to_end"]["capture_to_wire"]
    rows = [
        ["start to first command", f"{(first['t_send_ns'] - start_ns) / 1e9:.2f} s"],
        ["file to controls (--fast)", f"{fast['frames_per_s']:.0f} frames/s"],
        ["capture to wire p50 / p99", f"{wire['p50']:.1f} / {wire['p99']:.1f} ms"],
        ["misses of the 50 ms budget", f"{live['misses']} of {wire['count']}"],
        ["overhead around the steps p99", f"{live['overhead']['p99']:.2f} ms"],
        ["tick jitter at 60 Hz p99", f"{live['tick_jitter']['p99']:.2f} ms"],
        [
            "resident memory after warm-up, first / last",
            f"{settled[0] / 1024:.1f} / {settled[-1] / 1024:.1f} MiB",
        ],
        ["memory slope after warm-up", f"{slope / 1024:+.3f} MiB a minute over {len(settled) / 60:.1f} min"],
    ]
    table = common.markdown_table(["what", "measured"], rows)
    print(table)
    if write is not None:
        command = f"python -m tools.check.soak_runtime --minutes {minutes:g} {clip.name}"
        common.replace_section(write, "runtime", f"`{command}`, {common.machine()}\n\n{table}")


if __name__ == "__main__":
    typer.run(main)
