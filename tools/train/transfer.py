"""Train the default pack's robot side: F, W and G move the virtual Ameca's picture, and "stitching".

Everything is exact: the motion's keypoints and the picture that the robot shows are rendered pairs
(``robot_pairs``). The stitching net gets a job that fits a robot: it brings keypoints of a motion that the
robot cannot do to those of the nearest that it can, so W and G only ever see what they were trained on.
The source picture is one, the robot at neutral; F is trained with the rest and then only its volume is kept.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tools.dataset.robot_motion import HEAD_HIGH, HEAD_LOW, USED_HIGH, USED_LOW, robot_motion, sample
from tools.dataset.robot_pairs import RobotPairs
from tools.train.mapping_pictures import from_bytes
from tools.train.single_stage import average_into
from tools.train.training_step import laid_out, mixed_precision
from x2c_edge.controls import NEUTRAL
from x2c_edge.nets.appearance import AppearanceConfig, AppearanceExtractor
from x2c_edge.nets.generator import Generator, GeneratorConfig
from x2c_edge.nets.layers import fold_spectral_norm
from x2c_edge.nets.stitching import KeypointMlp, KeypointMlpConfig
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork
from x2c_edge.robot.face import PORTRAIT, AmecaFace

SIZE = 128
KEYPOINTS = 21
APPEARANCE = AppearanceConfig(base=24, cap=96, downs=2, channels=16, depth=4, residual_blocks=2)
WARPING = WarpingConfig(
    channels=16, depth=4, compressed=1, base=8, cap=96, levels=4, out_channels=48, mask_kernel=3
)
GENERATOR = GeneratorConfig(in_channels=48, width=64, middle_blocks=1, up_widths=(40,), hidden=24, shuffle=2)
STITCHING = KeypointMlpConfig(6 * KEYPOINTS, (192, 192), 3 * KEYPOINTS + 2)
STITCH_STEPS, STITCH_BATCH, STITCH_UNIT = 6000, 512, 0.01
BATCH, PEAK_LR, EMA = 16, 2e-3, 0.998

Log = Callable[[str], None]


def keypoint_pairs(controls: np.ndarray, angles: np.ndarray) -> tuple[Tensor, Tensor]:
    """Driving keypoints (N, K, 3) of a motion, and those of the nearest that the robot can do."""
    motion = robot_motion()
    possible = motion.driven(np.clip(controls, USED_LOW, USED_HIGH), np.clip(angles, HEAD_LOW, HEAD_HIGH))
    return torch.tensor(motion.driven(controls, angles)).float(), torch.tensor(possible).float()


def source_keypoints() -> Tensor:
    """(1, K, 3): the robot at neutral."""
    return torch.tensor(robot_motion().driven(NEUTRAL, np.zeros(3))).float()[None]


def stitched(net: KeypointMlp, moved: Tensor) -> Tensor:
    """The pipeline's step: (N, K, 3) to (N, K, 3)."""
    source = source_keypoints().expand(len(moved), -1, -1)
    delta = net(torch.cat([source.flatten(1), moved.flatten(1)], dim=1))
    out = moved + delta[:, :-2].reshape(moved.shape)
    return torch.cat([out[..., :2] + delta[:, None, -2:], out[..., 2:]], dim=-1)


def train_stitching(seed: int, log: Log = print) -> KeypointMlp:
    """Seconds on one core; its error is what W and G are trained with, so they learn to live with it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = KeypointMlp(STITCHING)
    with torch.no_grad():
        first, last = net.mlp[0], net.mlp[-1]
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        # It starts as nothing added, and looks at how far each keypoint is from the source's.
        last.weight.mul_(0.01)
        last.bias.zero_()
        half = 3 * KEYPOINTS
        first.weight.mul_(10)
        first.weight[:, :half] = -first.weight[:, half:]
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-4)
    moved, possible = keypoint_pairs(*sample(rng, 60_000))
    error = 0.0
    for step in range(STITCH_STEPS):
        optimiser.param_groups[0]["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * step / STITCH_STEPS))
        rows = torch.from_numpy(rng.integers(0, len(moved), STITCH_BATCH))
        loss = F.smooth_l1_loss(stitched(net, moved[rows]) / STITCH_UNIT, possible[rows] / STITCH_UNIT)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        error += 0.01 * (loss.item() - error)
    fresh = keypoint_pairs(*sample(np.random.default_rng(seed + 1), 4000))
    with torch.inference_mode():
        left = (stitched(net, fresh[0]) - fresh[1]).abs().mean().item()
    before = (fresh[0] - fresh[1]).abs().mean().item()
    log(f"stitching: keypoints beyond the robot's range by {before:.4f} on average, {left:.4f} after it")
    return net.eval().requires_grad_(False)


@dataclass
class Transfer:
    """The nets of the robot's picture. Spectral norms are not used: G is trained as a pack holds it."""

    appearance: AppearanceExtractor
    warping: WarpingNetwork
    generator: Generator

    @staticmethod
    def untrained(seed: int) -> Transfer:
        torch.manual_seed(seed)
        generator = fold_spectral_norm(Generator(GENERATOR)).requires_grad_(True).train()
        return Transfer(AppearanceExtractor(APPEARANCE), WarpingNetwork(WARPING), generator)

    @property
    def parts(self) -> nn.ModuleDict:
        return nn.ModuleDict(
            {"appearance": self.appearance, "warping": self.warping, "generator": self.generator}
        )

    def __call__(self, source: Tensor, driving: Tensor) -> Tensor:
        """Source picture (1, 3, S, S) and keypoints (N, K, 3) to pictures (N, 3, S, S), RGB in 0..1."""
        feature = self.appearance(source).expand(len(driving), -1, -1, -1, -1)
        still = source_keypoints().to(driving).expand(len(driving), -1, -1)
        out: Tensor = self.generator(self.warping(feature.float(), driving, still).out)
        return out


def picture_tensor(pictures: np.ndarray) -> Tensor:
    """(N, S, S, 3) uint8 BGR to (N, 3, S, S) RGB in 0..1."""
    x = from_bytes(torch.from_numpy(pictures)).flip(1)
    return x.contiguous(memory_format=torch.channels_last)


def source_picture() -> np.ndarray:
    """(S, S, 3) uint8 BGR: the robot at rest."""
    return AmecaFace(SIZE, PORTRAIT).render(NEUTRAL)


def picture_weight(pictures: np.ndarray) -> Tensor:
    """(1, 1, S, S), mean 1: more where pictures differ from each other, which is where the face moves."""
    frontal = pictures[:400].astype(np.float32).mean(-1)
    spread = torch.from_numpy(frontal.std(0))[None, None]
    weight = 0.4 + spread / spread.mean()
    return weight / weight.mean()


def difference(made: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute difference at three scales, and that of the gradients (edges carry lids and
    irises)."""
    loss = ((made - wanted).abs() * weight).mean()
    for k in (2, 4):
        loss = (
            loss + ((F.avg_pool2d(made, k) - F.avg_pool2d(wanted, k)).abs() * F.avg_pool2d(weight, k)).mean()
        )
    for dim in (2, 3):
        slope = (made.diff(dim=dim) - wanted.diff(dim=dim)).abs()
        loss = loss + 2 * (slope * weight.narrow(dim, 0, slope.shape[dim])).mean()
    return loss


class Parts:
    """Boxes of the eyes and the mouth that follow the keypoints: small, and nearly all of the expression."""

    def __init__(self) -> None:
        names = robot_motion().names
        lids = [[names.index(f"lid {e} {s}") for e in ("upper", "lower")] for s in ("left", "right")]
        mouth = [i for i, name in enumerate(names) if name.startswith(("lip ", "mouth "))]
        self._eyes, self._mouth = lids, [mouth]
        self._eye_grid = _box(32, 20, 0.2, 0.125)
        self._mouth_grid = _box(36, 28, 0.32, 0.25)

    def eyes(self, pictures: Tensor, driving: Tensor) -> Tensor:
        """(2N, 3, 20, 32), the left ones first."""
        return _cut(pictures, driving, self._eyes, self._eye_grid)

    def mouth(self, pictures: Tensor, driving: Tensor) -> Tensor:
        """(N, 3, 28, 36)."""
        return _cut(pictures, driving, self._mouth, self._mouth_grid)


def _box(width: int, height: int, reach_x: float, reach_y: float) -> Tensor:
    x = ((torch.arange(width) + 0.5) * 2 / width - 1) * reach_x
    y = ((torch.arange(height) + 0.5) * 2 / height - 1) * reach_y
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)


def _cut(pictures: Tensor, driving: Tensor, rows: list[list[int]], grid: Tensor) -> Tensor:
    boxes = []
    for points in rows:
        centre = driving[:, points, :2].mean(1)[:, None, None]
        boxes.append(F.grid_sample(pictures, centre + grid, align_corners=True))
    return torch.cat(boxes)


def train(
    transfer: Transfer,
    stitching: KeypointMlp,
    pairs: RobotPairs,
    steps: int,
    seed: int,
    *,
    peak: float = PEAK_LR,
    watcher: Callable[[Tensor], Tensor] | None = None,
    check: RobotPairs | None = None,
    log: Log = print,
    save: Callable[[Transfer], None] | None = None,
) -> Transfer:
    """Averaged nets after ``steps`` of 16 pairs.

    watcher: a mapping net (normalised RGB in, paper units out); its reading of the made picture joins the
    loss, so that what it needs is drawn.
    """
    rng = np.random.default_rng(seed)
    with torch.inference_mode():
        driving = stitched(stitching, keypoint_pairs(pairs.controls, pairs.angles)[0])
    driving = driving.clone()
    source, weight, face = picture_tensor(source_picture()[None]), picture_weight(pairs.pictures), Parts()
    values = torch.tensor(pairs.values).float()
    parts = transfer.parts.train()
    for module in parts.modules():
        if isinstance(module, nn.Conv2d):
            laid_out(module)
    average = copy.deepcopy(transfer)
    optimiser = torch.optim.AdamW(parts.parameters(), lr=peak, weight_decay=0.01, betas=(0.9, 0.99))
    begun, running = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        warm, done = min(1.0, step / 200), step / steps
        optimiser.param_groups[0]["lr"] = peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        rows = np.sort(rng.integers(0, len(pairs.pictures), BATCH))
        wanted, at = picture_tensor(pairs.pictures[rows]), driving[rows]
        with mixed_precision():
            made = transfer(source, at)
        made = made.float()
        loss = difference(made, wanted, weight)
        for cut, weighs in ((face.eyes, 1.5), (face.mouth, 1.0)):
            loss = loss + weighs * (cut(made, at) - cut(wanted, at)).abs().mean()
        if watcher is not None:
            with mixed_precision():
                read = watcher(made)
            loss = loss + 0.5 * F.smooth_l1_loss(read.float(), values[rows], beta=0.05)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parts.parameters(), 2.0)
        optimiser.step()
        average_into(average.parts, parts, min(EMA, step / (step + 50)))
        running += 0.02 * (loss.item() - running)
        if step % 100 == 0:
            rate = step * BATCH / (time.monotonic() - begun)
            log(f"step {step}/{steps} loss {running:.4f} {rate:.0f} pictures/s")
        if check is not None and (step % 500 == 0 or step == steps):
            log(judged(average, stitching, check))
            if save is not None:
                save(average)
    average.parts.eval()
    return average


def made_pictures(transfer: Transfer, stitching: KeypointMlp, pairs: RobotPairs) -> Tensor:
    """What the pipeline's picture would be for every pair (N, 3, S, S), RGB in 0..1."""
    source = picture_tensor(source_picture()[None])
    was = transfer.warping.training
    transfer.parts.eval()
    moved = keypoint_pairs(pairs.controls, pairs.angles)[0]
    parts = []
    with torch.inference_mode():
        for i in range(0, len(moved), 32):
            driving = stitched(stitching, moved[i : i + 32])
            with mixed_precision():
                parts.append(transfer(source, driving).float().clamp(0, 1))
    transfer.parts.train(was)
    return torch.cat(parts)


def judged(transfer: Transfer, stitching: KeypointMlp, pairs: RobotPairs) -> str:
    """Mean absolute difference of held-out pairs, in grey levels."""
    made, wanted = made_pictures(transfer, stitching, pairs), picture_tensor(pairs.pictures)
    error = (made - wanted).abs()
    weight = picture_weight(pairs.pictures)
    return (
        f"held out: {255 * error.mean():.2f} grey levels, {255 * (error * weight).mean():.2f} where it moves"
    )
