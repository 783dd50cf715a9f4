"""Train the small motion extractor M on human faces, so that it speaks the virtual Ameca's motion.

    python -m tools.train.motion --out /tmp/motion.safetensors

Samples, augmentation and labels are those of the single-stage network (``train_single_stage``), whose eye
and mouth nets are the start of M's second look. While it trains, M ends in plain heads (angles, controls);
``as_published`` turns them into the published ones by ``robot_motion``: exp = code(controls) @ expression.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from tools.dataset import face_dataset as data
from tools.dataset.robot_motion import code, head_angles, model_angles, robot_motion, row_rotation
from tools.evaluate.single_stage import load_net
from tools.evaluate.single_stage_report import EXPRESSIBLE
from tools.train import single_stage as base
from tools.train.mapping_pictures import from_bytes, normalised
from tools.train.training_step import laid_out, mixed_precision
from x2c_edge import packs
from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.nets import keypoints
from x2c_edge.nets.landmarks import OUTER_LIPS
from x2c_edge.nets.motion_extractor import MotionConfig, MotionExtractor
from x2c_edge.pipelines.two_stage import motion_affine, motion_square

SIZE = 128
CROP_SCALE, CROP_SHIFT = 1.6, 0.0  # as close as a rolled head allows: the pictures are small
CONFIG = MotionConfig(
    depths=(1, 2, 4, 2), widths=(24, 56, 112, 192), bins=1, patch_widths=(16, 32, 64), mouth_patch=(48, 36)
)
ROLL_DEG = 9.0  # heads in the set are mostly upright, and M's crop is not turned with the head
CODE_UNIT = 0.25  # the control head's unit
LOOK_POINTS = [data.IDS.index(i) for i in (33, 133, 263, 362)]
LIPS = [data.IDS.index(i) for i in OUTER_LIPS]


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

    def __init__(self, config: MotionConfig, blendshapes: int) -> None:
        super().__init__()
        self.net = MotionExtractor(config)
        width = config.widths[-1]
        self.code = nn.Linear(width, len(NAMES))
        self.angles = nn.Linear(width, 3)  # pitch, yaw, roll as M's heads: degrees / 15
        self.blend = nn.Linear(width, blendshapes)
        self.mesh = nn.Linear(config.place, 2 * len(data.IDS))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        last, pooled = self.net.trunk(x)
        look = self.net.detector.look
        assert look is not None
        features, points, place = look(x, last, pooled)
        parts = {
            "code": self.code(features),
            "angles": self.angles(features),
            "blend": self.blend(features),
            "mesh": self.mesh(place),
            "points": points.flatten(1),
        }
        return {name: part.float() for name, part in parts.items()}


ANGLE_UNIT = 15.0


def as_published(trainee: Trainee) -> MotionExtractor:
    """A copy of M whose seven heads give what the plain heads said (docs/spec/liveportrait.md section 4)."""
    net = copy.deepcopy(trainee.net)
    motion, detector = robot_motion(), net.detector
    expression = torch.tensor(motion.expression.reshape(len(NAMES), -1), dtype=torch.float32)
    with torch.no_grad():
        for i, head in enumerate((detector.fc_pitch, detector.fc_yaw, detector.fc_roll)):
            head.weight.copy_(trainee.angles.weight[i : i + 1] * ANGLE_UNIT)
            head.bias.copy_(trainee.angles.bias[i : i + 1] * ANGLE_UNIT)
        detector.fc_exp.weight.copy_(CODE_UNIT * expression.T @ trainee.code.weight)
        detector.fc_exp.bias.copy_(CODE_UNIT * expression.T @ trainee.code.bias)
        # The crop takes out place and size, and the robot has none to follow with.
        for head in (detector.fc_kp, detector.fc_t, detector.fc_scale):
            head.weight.zero_()
        detector.fc_kp.bias.copy_(torch.tensor(motion.kp.reshape(-1)))
        detector.fc_t.bias.zero_()
        detector.fc_scale.bias.fill_(1.0)
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
        mesh = batch["points"].unflatten(1, (-1, 2))
        look = torch.cat([mesh[:, LOOK_POINTS], mesh[:, LIPS].mean(1, keepdim=True)], dim=1).flatten(1)
        unit, active, signal = self.code_unit, self.active, self.has_signal
        return (
            huber((out["code"] / unit)[:, active], (target / unit)[:, active])
            + 0.4
            * huber(
                (out["blend"] / self.blend_unit)[:, signal], (batch["blend"] / self.blend_unit)[:, signal]
            )
            + 0.4 * huber(out["mesh"] / base.POINT_UNIT, batch["points"] / base.POINT_UNIT)
            + 0.3 * huber(out["points"] / base.POINT_UNIT, look / base.POINT_UNIT)
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


def start_from(trainee: Trainee, pack: str) -> None:
    """The second look's nets from a pack's single-stage net, if that one's are as wide."""
    net = load_net(packs.open_pack(pack))
    look = trainee.net.detector.look
    assert look is not None
    if net.config.patch_widths != CONFIG.patch_widths:
        print(f"M starts from random weights: the single-stage net of {pack} looks with thinner nets")
        return
    look.eye.load_state_dict(net.eye.state_dict())
    look.mouth.convs.load_state_dict(net.mouth.convs.state_dict())  # our patch is smaller: another last layer


def train(
    steps: int,
    seed: int,
    folder: Path,
    *,
    start: str | None,
    every: int = 1000,
    checkpoint: Path | None = None,
) -> Trainee:
    """The averaged weights after ``steps`` of 64 crops."""
    torch.manual_seed(seed)
    train_set, val = data.load("train", folder), data.load("val", folder)
    pictures = crops(val)
    trainee = Trainee(CONFIG, train_set.blendshapes.shape[1])
    if start:
        start_from(trainee, start)
    trainee = laid_out(trainee)
    average = copy.deepcopy(trainee)
    samples = base.Batches(train_set, SIZE, seed, crop=motion_crop, negatives=0.0)
    targets = Targets(train_set)

    def loss(batch: dict[str, Tensor]) -> Tensor:
        with mixed_precision():
            out = trainee(batch["x"])
        return targets.loss(out, batch)

    for step in base.descend(trainee, average, samples, loss, steps):
        if step % every == 0 or step == steps:
            print(summary(average, pictures, val), flush=True)
            if checkpoint is not None:
                save_file({k: v.contiguous() for k, v in average.state_dict().items()}, checkpoint)
    return average.eval()


def main(
    out: Path = typer.Option(..., help="file of the trained net with its training heads (safetensors)"),
    steps: int = typer.Option(12000, help="optimiser steps of 64 crops"),
    seed: int = 1,
    threads: int = typer.Option(2, help="CPU threads"),
    start: str = typer.Option(
        "default", help="pack whose single-stage net the second look starts from; '' none"
    ),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Train and write."""
    torch.set_num_threads(threads)
    train(steps, seed, folder, start=start or None, checkpoint=out)


if __name__ == "__main__":
    typer.run(main)
