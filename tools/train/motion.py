"""Train the small motion extractor M on human faces, so that it speaks the virtual Ameca's motion.

    python -m tools.train.motion --start build/default_pack/single_stage --out build/motion
    x2c-edge packs replace-net default motion build/motion

It goes on from the wide single-stage network, with the same samples, augmentation and labels, on crops that
do not turn with the head. While it trains, M ends in plain heads (angles, controls);
``as_published`` turns them into the published ones by ``robot_motion``: exp = code(controls) @ expression,
and lets it hear the pack's tracker (``nets.face_motion``).
"""

from __future__ import annotations

import copy
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn

from tools._errors import user_errors
from tools.dataset import face_dataset as data
from tools.dataset.robot_motion import (
    FACE,
    LIDS,
    SHUT_EXTRA,
    code,
    head_angles,
    model_angles,
    robot_motion,
    row_rotation,
)
from tools.evaluate.single_stage import load_net
from tools.evaluate.single_stage_report import EXPRESSIBLE
from tools.train import single_stage as base
from tools.train.checkpoint import State, digest_of
from tools.train.mapping_pictures import from_bytes, normalised
from tools.train.one_net import write_with
from tools.train.pack_place import require_place
from tools.train.training_step import laid_out, mixed_precision
from x2c_edge import packs
from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.nets import keypoints
from x2c_edge.nets.face_motion import FaceMotion, FaceMotionConfig
from x2c_edge.nets.single_stage import ANGLE_SCALE, CONTROL_SCALE, SingleStage
from x2c_edge.pipelines.motion_crop import motion_affine, motion_square

SIZE = 128
CROP_SCALE, CROP_SHIFT = 1.63, -0.055  # as the single-stage net sees an upright head
STEPS = 1500
LR = 0.4 * base.PEAK_LR  # the weights are nearly right
ROLL_DEG = 9.0  # heads in the set are mostly upright, and M's crop is not turned with the head
CODE_UNIT = 0.25  # the control head's unit
ANGLE_UNIT = 15.0


def motion_crop(
    points: data.Array, size: int, jitter: data.Jitter, rng: np.random.Generator
) -> tuple[data.Array, float]:
    """The pipeline's crop with a follower's errors: affine, and how it is turned (radians, y down)."""
    square = motion_square(points, CROP_SCALE, CROP_SHIFT)
    dx, dy = jitter.shift * rng.standard_normal(2)
    angle = 0.0
    if jitter.scale:
        angle = math.radians(ROLL_DEG) * rng.standard_normal()
    square = square.enlarged(float(np.exp(jitter.scale * rng.standard_normal())), dx, dy).turned(angle)
    return motion_affine(square, size), angle


class Trainee(nn.Module):
    """M with the heads that training needs. code: ``robot_motion.code`` / CODE_UNIT."""

    def __init__(self, config: FaceMotionConfig, blendshapes: int) -> None:
        super().__init__()
        self.net = FaceMotion(config)
        self.code = nn.Linear(config.hidden, len(NAMES))
        self.blend = nn.Linear(config.hidden, blendshapes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """``code``, ``angles`` (pitch, yaw, roll as M's heads: degrees / ANGLE_UNIT), ``blend``, ``mesh``."""
        face, features = self.net.embed(x)
        parts = {
            "code": self.code(features),
            "angles": self.net.turned(face, features),
            "blend": self.blend(features),
            "mesh": face[:, 1:-3],
        }
        return {name: part.float() for name, part in parts.items()}


def as_published(trainee: Trainee, opinions: int = 2) -> FaceMotion:
    """M with heads that give what the plain heads said (docs/spec/liveportrait.md section 4), and with the
    tracker's opinion if 2 are asked for."""
    net = FaceMotion(replace(trainee.net.config, opinions=opinions)).train(trainee.net.training)
    net.load_state_dict(net.state_dict() | trainee.net.state_dict())
    motion = robot_motion()
    expression = torch.tensor(motion.expression.reshape(len(NAMES), -1), dtype=torch.float32)
    with torch.no_grad():
        if opinions == 2:
            face = torch.isin(torch.arange(len(NAMES)), torch.tensor(FACE))
            net.meaning.copy_(expression * face[:, None])
            net.falling[LIDS] = SHUT_EXTRA
        net.angles.weight.mul_(ANGLE_UNIT)
        net.angles.bias.mul_(ANGLE_UNIT)
        net.exp.weight.copy_(CODE_UNIT * expression.T @ trainee.code.weight)
        net.exp.bias.copy_(CODE_UNIT * expression.T @ trainee.code.bias)
        net.kp.copy_(torch.tensor(motion.kp.reshape(-1)))
    return net


class Targets:
    """A batch of ``train_single_stage`` in M's terms."""

    def __init__(self, faces: data.FaceSet) -> None:
        spread = code(faces.controls).std(0)
        self.code_unit = torch.tensor(np.maximum(spread, 0.02) / CODE_UNIT, dtype=torch.float32)
        self.active = torch.tensor(spread > 0)
        blend = faces.blendshapes.std(0)
        self.blend_unit = torch.tensor(np.maximum(blend, 0.02), dtype=torch.float32)
        self.has_signal = torch.tensor(blend > 0.002)

    def loss(self, out: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """Weighted sum; every part is in units of its own spread, so the weights are comparable."""
        huber = nn.functional.smooth_l1_loss
        target = torch.tensor(code(batch["controls"].double().numpy()), dtype=torch.float32) / CODE_UNIT
        degrees = torch.tensor(model_angles(batch["pose"].double().numpy()), dtype=torch.float32)
        unit, active, signal = self.code_unit, self.active, self.has_signal
        return (
            huber((out["code"] / unit)[:, active], (target / unit)[:, active])
            + 0.4
            * huber(
                (out["blend"] / self.blend_unit)[:, signal], (batch["blend"] / self.blend_unit)[:, signal]
            )
            + 0.4 * huber(out["mesh"] / base.POINT_UNIT, batch["points"] / base.POINT_UNIT)
            + 0.5 * huber(out["angles"] * (ANGLE_UNIT / 3), degrees / 3)
        )


def crops(faces: data.FaceSet) -> NDArray[np.uint8]:
    """Every sample's exact crop (N, S, S, 3) BGR, as the pipeline cuts it."""
    rng = np.random.default_rng(0)
    made = np.empty((len(faces.images), SIZE, SIZE, 3), np.uint8)
    for i, image in enumerate(faces.images):
        affine, _ = motion_crop(faces.points[i], SIZE, data.Jitter(), rng)
        made[i] = data.sample(image, affine, SIZE)
    return made


def summary(trainee: Trainee, pictures: NDArray[np.uint8], faces: data.FaceSet) -> str:
    """Pearson r of what M says with the labels' controls, and the angles' errors."""
    trainee.eval()
    with torch.inference_mode():
        parts = (from_bytes(torch.from_numpy(pictures[i : i + 64])) for i in range(0, len(pictures), 64))
        outs = [trainee(normalised(part, data.face_input(SIZE))) for part in parts]
    trainee.train()
    found = NEUTRAL + CODE_UNIT * torch.cat([o["code"] for o in outs]).double().numpy()
    degrees = ANGLE_UNIT * torch.cat([o["angles"] for o in outs]).double().numpy()
    truth = NEUTRAL + code(faces.controls)
    r = data.pearson(found[:, EXPRESSIBLE], truth[:, EXPRESSIBLE])
    pose = head_angles(keypoints.rotation(degrees[:, 0], degrees[:, 1], degrees[:, 2]))
    wanted = head_angles(row_rotation(data.angles_from_rotation(faces.rotation)))
    errors = np.degrees(np.abs(pose - wanted).mean(0))
    lines = ", ".join(f"{NAMES[c]} {v:.2f}" for c, v in zip(EXPRESSIBLE, r, strict=True))
    return f"mean r {r.mean():.3f}; yaw/pitch/roll {errors.round(2)} deg; {lines}"


def untrained(start: SingleStage, blendshapes: int) -> Trainee:
    """A trainee of the single-stage net's sizes."""
    sizes = {item.name: getattr(start.config, item.name) for item in fields(start.config)}
    return Trainee(FaceMotionConfig(**sizes), blendshapes)


def start_from(trainee: Trainee, reader: SingleStage) -> None:
    """Everything that a single-stage net of the same sizes has learnt."""
    own = trainee.net.state_dict()
    trainee.net.load_state_dict(
        {k: v for k, v in reader.state_dict().items() if k in own} | {k: own[k] for k in NEW}
    )
    with torch.no_grad():
        trainee.code.weight.copy_(reader.controls.weight * (CONTROL_SCALE / CODE_UNIT))
        trainee.code.bias.copy_(reader.controls.bias * (CONTROL_SCALE / CODE_UNIT))
        # Small angles add up, and M's are the head's with other signs and in another order.
        trainee.net.angles.weight.zero_()
        trainee.net.angles.bias.zero_()
        small = math.radians(1.0)
        slope = model_angles(small * np.eye(3)).T  # (pitch yaw roll, yaw pitch roll), degrees a degree
        scale = math.degrees(ANGLE_SCALE) / ANGLE_UNIT
        trainee.net.angles.weight[:, :3] = torch.tensor(slope * scale, dtype=torch.float32)


NEW = ("angles.weight", "angles.bias", "exp.weight", "exp.bias", "kp")  # what a single-stage net has not


def train(
    steps: int,
    seed: int,
    folder: Path,
    *,
    start: SingleStage,
    every: int = 200,
    state: Path | None = None,
) -> Trainee:
    """The averaged weights after ``steps`` of 64 crops, from those of a single-stage net.

    state: the file that a run which is stopped goes on from; whoever has written the result removes it.
    """
    torch.manual_seed(seed)
    train_set, val = data.load("train", folder), data.load("val", folder)
    pictures = crops(val)
    trainee = untrained(start, train_set.blendshapes.shape[1])
    start_from(trainee, start)
    trainee = laid_out(trainee)
    average = copy.deepcopy(trainee)
    print(f"as it starts: {summary(average, pictures, val)}", flush=True)
    samples = base.Batches(train_set, SIZE, seed, crop=motion_crop, negatives=0.0)
    targets = Targets(train_set)

    def loss(batch: dict[str, Tensor]) -> Tensor:
        with mixed_precision():
            out = trainee(batch["x"])
        return targets.loss(out, batch)

    options = {"steps": steps, "seed": seed, "folder": data.digest(folder)}
    options["start"] = digest_of(start.state_dict().values())
    kept = State(state, options) if state else None
    for step in base.descend(trainee, average, samples, loss, steps, peak=LR, state=kept):
        if step % every == 0 or step == steps:
            print(summary(average, pictures, val), flush=True)
    return average.eval()


def main(
    out: Path = typer.Option(Path("build/motion"), help="the pack folder to write; it holds the new net"),
    pack: str = typer.Option("default", help="the pack whose motion extractor it is to be"),
    work: Path = typer.Option(Path("build/motion_work"), help="folder for the state to go on from"),
    start: str = typer.Option(
        "build/default_pack/single_stage", help="the pack whose single-stage net M starts from"
    ),
    steps: int = typer.Option(STEPS, help="optimiser steps of 64 crops"),
    seed: int = typer.Option(1, min=0),
    threads: int = typer.Option(1, help="CPU threads"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Train and write. A run that was stopped goes on when the same command is given again."""
    with user_errors():
        torch.set_num_threads(threads)
        require_place(out)
        opened, state = packs.open_pack(pack), work / "motion.state"
        trainee = train(steps, seed, folder, start=load_net(packs.open_pack(start)), state=state)
        command = f"python -m tools.train.motion --steps {steps} --seed {seed}"
        net, crop = as_published(trainee), {"crop_scale": CROP_SCALE, "crop_shift": CROP_SHIFT}
        write_with(
            out, opened, "motion", "face_motion", net, command, picture=data.face_input(SIZE), options=crop
        )
        state.unlink(missing_ok=True)


if __name__ == "__main__":
    typer.run(main)
