"""Whole runs on labelled clips of people, from the first frame on: what the robot did beside the labels.

    python -m tools.evaluate.clip_report               # auto, and the other neutrals, single-stage
    python -m tools.evaluate.clip_report --pipeline two-stage --neutral auto
    python -m tools.evaluate.clip_report --steps       # where correlation, strength and time are lost

Each clip runs as ``x2c-edge run --input CLIP --fast`` would. The command of a labelled frame's moment is
compared with the frame's label controls (absolute, by the table in ``x2c_edge/retarget.py``), whether the
robot followed then or not. r and gain are over the controls that move in that clip; "all clips" is over all
frames together. "still" is a robot that never moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from tools.bench import common
from tools.dataset.labelled_clips import LabelledClip, default_clips, labelled_clips
from tools.evaluate.agreement import Agreement, agreement, best_lag, peaks
from tools.evaluate.single_stage_report import EXPRESSIBLE
from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.errors import UserError
from x2c_edge.frames import Command, Expression
from x2c_edge.pipelines.neutral import WAYS
from x2c_edge.runtime.open_run import open_run
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.settings import load
from x2c_edge.runtime.vision import Sight
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.intake import Intake
from x2c_edge.safety.lip_limits import limit_lips
from x2c_edge.safety.settings import SupervisorSettings
from x2c_edge.safety.smoothing import SmoothingSettings

Array = NDArray[np.float64]
STILL = "still"


@dataclass
class Watched:
    """What one run did (``RunRecorder``). Times in seconds of the clip."""

    times: list[float] = field(default_factory=list)  # of frames
    faces: list[bool] = field(default_factory=list)
    expressions: list[Expression | None] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    sent: list[Command] = field(default_factory=list)
    failure: UserError | None = None

    def command(self, command: Command) -> None:
        self.sent_at.append(command.t_send_ns * 1e-9)
        self.sent.append(command)

    def offer(self, sight: Sight) -> None:
        self.times.append(sight.frame.t_capture_ns * 1e-9)
        self.faces.append(sight.landmarks is not None)
        self.expressions.append(sight.expression)

    def close(self) -> None:
        return

    def poses(self) -> Array:
        """(frames, 30): the command in force at each frame's moment."""
        at = np.searchsorted(self.sent_at, np.array(self.times) + 1e-6, side="right") - 1
        return np.stack([self.sent[k].values for k in at])

    def first_following_s(self) -> float:
        """After the first frame with a face; NaN if it never was."""
        face = self.times[self.faces.index(True)] if any(self.faces) else float("nan")
        followed = (t for t, c in zip(self.sent_at, self.sent, strict=True) if c.state == "FOLLOWING")
        return next(followed, float("nan")) - face

    def share_followed(self) -> float:
        """Of the frames with a face."""
        at = np.searchsorted(self.sent_at, np.array(self.times) + 1e-6, side="right") - 1
        states = [self.sent[k].state == "FOLLOWING" for k, face in zip(at, self.faces, strict=True) if face]
        return float(np.mean(states)) if states else float("nan")


def watch(clip: Path, pipeline: str, neutral: str, pack: str = "default", threads: int = 1) -> Watched:
    """One whole run."""
    settings = load(None, {
        "run": {"pack": pack, "pipeline": pipeline, "threads": threads},
        "capture": {"input": str(clip)},
        "calibration": {"neutral": neutral},
    })  # fmt: skip
    watched = Watched()
    open_run(settings, Outputs(fast=True, watchers=(watched,))).run()
    return watched


@dataclass(frozen=True)
class Row:
    """One clip's figures."""

    clip: LabelledClip
    neutral: str
    first_s: float
    followed: float
    poses: Array  # at the labelled frames
    lag_s: float  # NaN where the robot did not move with the labels

    def cells(self) -> list[str]:
        found = agreement(self.poses, self.clip.controls)
        return [self.clip.name, self.neutral, _number(self.first_s, 2), _number(self.followed, 2),
                *_figures(found), _number(1000 * self.lag_s, 0)]  # fmt: skip


HEADER = ["clip", "neutral", "first s", "followed", "r", "error", "offset", "gain", "lag ms"]


def _figures(found: Agreement) -> list[str]:
    return [_number(found.mean("r"), 3), *(f"{found.mean(name):.3f}" for name in ("error", "offset")),
            _number(found.mean("gain"), 2)]  # fmt: skip


def _number(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def row_of(clip: LabelledClip, neutral: str, pipeline: str, pack: str) -> Row:
    if neutral == STILL:
        poses = np.tile(NEUTRAL, (len(clip.frames), 1))
        return Row(clip, neutral, float("nan"), 0.0, poses, float("nan"))
    run = watch(clip.path, pipeline, neutral, pack)
    poses, times = run.poses(), np.array(run.times)
    lag = best_lag(times, poses, times[clip.frames], clip.controls)
    return Row(clip, neutral, run.first_following_s(), run.share_followed(), poses[clip.frames], lag)


def together(rows: list[Row]) -> Agreement:
    return agreement(np.concatenate([r.poses for r in rows]), np.concatenate([r.clip.controls for r in rows]))


def clip_table(clips: list[LabelledClip], neutrals: list[str], pipeline: str, pack: str) -> list[list[str]]:
    """Every clip and neutral, and all clips together; clips of people in the training split apart."""
    table = []
    for unseen in (True, False):
        chosen = [clip for clip in clips if (clip.split == "test") == unseen]
        if not chosen:
            continue
        for neutral in neutrals:
            rows = [row_of(clip, neutral, pipeline, pack) for clip in chosen]
            table += [row.cells() for row in rows]
            who = "all clips" if unseen else f"all {chosen[0].split}"
            followed = float(np.mean([row.followed for row in rows]))
            table.append([who, neutral, "", _number(followed, 2), *_figures(together(rows)), ""])
    return table


def control_table(clips: list[LabelledClip], pipeline: str, pack: str) -> list[list[str]]:
    """Every control over all clips of unseen people, neutral auto."""
    rows = [row_of(clip, "auto", pipeline, pack) for clip in clips if clip.split == "test"]
    found = together(rows)
    depth = peaks(np.concatenate([r.poses for r in rows]), np.concatenate([r.clip.controls for r in rows]))
    return [
        [NAMES[k], _number(float(found.r[k]), 3), f"{found.error[k]:.3f}", f"{found.offset[k]:+.3f}",
         _number(float(found.gain[k]), 2), _number(float(depth[k]), 2)]
        for k in EXPRESSIBLE
    ]  # fmt: skip


def steps_table(clips: list[LabelledClip], pipeline: str, pack: str) -> list[list[str]]:
    """r, gain and lag after every step of the way from the net to the wire, neutral auto, all clips."""
    steps: dict[str, list[tuple[Array, Array, Array]]] = {}
    for clip in clips:
        run = watch(clip.path, pipeline, "auto", pack)
        times = np.array(run.times)
        express = _filled([e.values if e is not None else None for e in run.expressions])
        for name, values in (
            ("expression", express), ("filter", _filtered(run)), ("command", run.poses()),
        ):  # fmt: skip
            steps.setdefault(name, []).append((times, values, times[clip.frames]))
    rows = []
    labels = np.concatenate([clip.controls for clip in clips])
    for name, series in steps.items():
        values = np.concatenate([v[c.frames] for (_, v, _), c in zip(series, clips, strict=True)])
        lags = [best_lag(t, v, at, c.controls) for (t, v, at), c in zip(series, clips, strict=True)]
        rows.append([name, *_figures(agreement(values, labels)), _number(1000 * float(np.mean(lags)), 0)])
    possible = reachable(labels)
    rows.append(["command, beside what the robot can do", *_figures(agreement(values, possible)), ""])
    rows.append(["the labels, moved to what the robot can do", *_figures(agreement(possible, labels)), ""])
    return rows


def reachable(labels: Array) -> Array:
    """The labels moved into the safe ranges and the lips' conditional ones, where commands have to be."""
    poses = Envelope().clamp(labels)
    for pose in poses:
        limit_lips(pose)
    return poses


def _filtered(run: Watched) -> Array:
    """What the supervisor's intake makes of the run's expressions."""
    intake = Intake(SupervisorSettings(), Envelope(), SmoothingSettings())
    rows: list[Array | None] = []
    for e in run.expressions:
        if e is not None:
            intake.take(e, e.t_capture_ns)
        rows.append(intake.target.copy() if e is not None else None)
    return _filled(rows)


def _filled(rows: list[Array | None]) -> Array:
    """The last pose where there is none."""
    pose, filled = NEUTRAL, []
    for row in rows:
        pose = pose if row is None else row
        filled.append(pose)
    return np.stack(filled)


def main(
    pack: str = "default",
    pipeline: str = typer.Option("single-stage", help="single-stage, direct or two-stage"),
    neutral: list[str] = typer.Option([*WAYS, STILL], help="several; 'still' never moves"),
    only: list[str] = typer.Option([], help="names of clips"),
    steps: bool = typer.Option(False, help="where r, strength and time are lost, instead"),
    controls: bool = typer.Option(False, help="every control, instead"),
    page: Path | None = typer.Option(None, help="put the table into this Markdown page"),
    folder: Path = typer.Option(default_clips(), help="the clips"),
) -> None:
    """Run and print."""
    torch.set_num_threads(1)
    clips = [clip for clip in labelled_clips(folder) if not only or clip.name in only]
    if steps:
        unseen = [clip for clip in clips if clip.split == "test"]
        header, rows = (
            ["after", "r", "error", "offset", "gain", "lag ms"],
            steps_table(unseen, pipeline, pack),
        )
        section = f"clip-steps-{pipeline}"
    elif controls:
        header = ["control", "r", "error", "offset", "gain", "depth of peaks"]
        rows = control_table(clips, pipeline, pack)
        section = f"clip-controls-{pipeline}"
    else:
        header, rows = HEADER, clip_table(clips, neutral, pipeline, pack)
        section = f"clips-{pipeline}"
    table = common.markdown_table(header, rows)
    print(table)
    if page is not None:
        command = common.command_given("tools.evaluate.clip_report")
        common.replace_section(page, section, f"`{command}`\n\n{table}")


if __name__ == "__main__":
    typer.run(main)
