"""``make demo``: a real human face in; controls, a side-by-side video and a latency plot out.

The face comes from --clip, else camera 0, else a photograph (NASA's portrait of the astronaut Eileen Collins,
public domain), moved by ``tools.evaluate.animate_portrait``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer

from tools.evaluate.animate_portrait import animate, astronaut, measure, write_video
from x2c_edge.backends.open import open_backend
from x2c_edge.packs import open_pack
from x2c_edge.pipelines.single_stage import SingleStagePipeline

SECONDS, FPS = 10, 30.0


def main(
    clip: Path | None = typer.Option(None, help="a video of a face"),
    out: Path = typer.Option(Path("demo"), help="folder for what is made"),
    pipeline: str = typer.Option("auto", help="two-stage: also shows the robot's face as the net draws it"),
) -> None:
    """Run the main job twice on a clip: once in order for the video, once at real time for the latency."""
    out.mkdir(parents=True, exist_ok=True)
    video, controls, plot = out / "side_by_side.mp4", out / "controls.jsonl", out / "latency.png"
    edge = [sys.executable, "-m", "x2c_edge.cli.main"]
    gear = ["--pipeline", pipeline]
    if clip is None and Path("/dev/video0").exists():
        print(f"camera 0, {SECONDS} seconds: look at it and make faces")
        run([*edge, "run", "--camera", "0", *gear, "--duration", str(SECONDS), "--link", f"jsonl:{controls}",
             "--save-video", str(video)])  # fmt: skip
        run([*edge, "profile", "--camera", "0", *gear, "--duration", str(SECONDS), "--plot", str(plot)])
    else:
        if clip is None:
            print("no CLIP and no camera: moving a photograph (an astronaut's)")
            clip = out / "portrait.mp4"
            write_portrait(clip)
        source = ["--input", str(clip), *gear]
        run([*edge, "run", *source, "--fast", "--link", f"jsonl:{controls}", "--save-video", str(video)])
        run([*edge, "profile", *source, "--duration", str(SECONDS), "--plot", str(plot)])
    print("\nmade:")
    for path, what in (
        (video, "camera | virtual Ameca | the 30 controls"),
        (controls, "one line per command"),
        (plot, "latency"),
    ):
        print(f"  {path}   {what}")


def run(command: list[str]) -> None:
    print("$ x2c-edge", *command[3:], flush=True)
    code = subprocess.run(command).returncode
    if code:
        sys.exit(code)


def write_portrait(path: Path) -> None:
    """The animated photograph as a video. She smiles, and the robot is to smile from the first frame on."""
    picture, pack = astronaut(), open_pack()
    landmarks = measure(picture, SingleStagePipeline(pack, open_backend(pack=pack))).landmarks
    write_video(path, animate(picture, landmarks, FPS, SECONDS), FPS)


if __name__ == "__main__":
    typer.run(main)
