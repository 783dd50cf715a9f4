"""The single-stage network (X2CNet-S): one upright face crop to presence, landmarks, pose, controls.

A plain convolutional net: 3x3 convolutions run near peak on CPUs and map onto any TensorRT version.
Batch norms fold into the convolutions for inference (``folded``).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, fields
from typing import Any, Final

import torch
from torch import Tensor, nn

from x2c_edge.controls import N_CONTROLS, NEUTRAL
from x2c_edge.nets.landmarks import LANDMARK_IDS, OUTER_LIPS
from x2c_edge.nets.second_look import PatchNet, conv_bn, eye_patches, mouth_patches, unit_grid

ANGLE_SCALE: Final = math.radians(15.0)  # the pose head's unit
CONTROL_SCALE: Final = 0.25  # the control head's unit
RIGHT_CORNERS: Final = [LANDMARK_IDS.index(i) for i in (33, 133)]  # outer, inner
LEFT_CORNERS: Final = [LANDMARK_IDS.index(i) for i in (263, 362)]
LIPS: Final = [LANDMARK_IDS.index(i) for i in OUTER_LIPS]


@dataclass(frozen=True, slots=True)
class SingleStageConfig:
    """Sizes, from the pack's manifest."""

    input_size: int = 128
    stem: int = 24
    widths: tuple[int, ...] = (48, 96, 192, 256)
    blocks: tuple[int, ...] = (1, 1, 1, 0)
    hidden: int = 256
    landmarks: int = len(LANDMARK_IDS)
    patch_widths: tuple[int, ...] = (16, 32, 64)
    eye_patch: tuple[int, int] = (48, 24)  # width, height
    mouth_patch: tuple[int, int] = (64, 48)
    patch_hidden: int = 96
    block_widths: tuple[int, ...] = ()  # inside a stage's residual blocks; none given: as wide as the stage

    @staticmethod
    def from_manifest(config: dict[str, Any]) -> SingleStageConfig:
        """TypeError for a key that is not a size of this net, and for a size that no net can have."""
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        made = SingleStageConfig(**sizes)
        for item in fields(made):
            value, usual = getattr(made, item.name), item.default
            numbers = value if isinstance(value, tuple) else (value,)
            least = 0 if item.name == "blocks" else 1
            if item.name == "block_widths" and value == ():
                continue
            if (
                isinstance(value, tuple) != isinstance(usual, tuple)
                or not numbers
                or not all(isinstance(n, int) and n >= least for n in numbers)
            ):
                raise TypeError(f"{item.name} = {value} is not a size such as {usual}")
        if len(made.block_widths) not in (0, len(made.widths)):
            raise TypeError("block_widths goes with widths, one for each, or is left out")
        if len(made.blocks) != len(made.widths) or len(made.eye_patch) != 2 or len(made.mouth_patch) != 2:
            raise TypeError("widths and blocks go in pairs, and a patch has a width and a height")
        return made


class _Residual(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1 = conv_bn(width, inner, 3, 1)
        self.conv2 = conv_bn(inner, width, 3, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.conv2(self.conv1(x)))


class SingleStage(nn.Module):
    """Input (N, 3, S, S) RGB normalised as the manifest says. Output (N, 1 + 2L + 3 + 30), float32.

    Columns, in this order:
      presence   1: logit
      landmarks  2L: x0 y0 x1 y1 ... in crop pixels from the crop's centre, divided by S/2
      pose       3: yaw, pitch, roll in radians, in the crop's axes
      controls  30: paper units, absolute (the person's own neutral not removed); the head and neck
                    columns stay at the robot's neutral here, the pose gives them

    A trunk sees the whole crop. Then the eyes and the mouth are looked at again in patches cut where the
    trunk's own landmarks put them (``second_look``): gaze r 0.9 instead of 0.1.
    """

    def __init__(self, config: SingleStageConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [conv_bn(3, config.stem, 5, 2)]
        width = config.stem
        inner_widths = config.block_widths or config.widths
        for next_width, inner, count in zip(config.widths, inner_widths, config.blocks, strict=True):
            layers.append(conv_bn(width, next_width, 3, 2))
            layers += [_Residual(next_width, inner) for _ in range(count)]
            width = next_width
        self.trunk = nn.Sequential(*layers)
        cells = config.input_size // 2 ** (1 + len(config.widths))
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(width * cells * cells, config.hidden), nn.ReLU(inplace=True)
        )
        self.face = nn.Linear(config.hidden, 1 + 2 * config.landmarks + 3)
        self.eye = PatchNet(config.patch_widths, config.eye_patch, config.patch_hidden)
        self.mouth = PatchNet(config.patch_widths, config.mouth_patch, config.patch_hidden)
        self.mixed = nn.Sequential(
            nn.Linear(config.hidden + 3 * config.patch_hidden, config.hidden), nn.ReLU(inplace=True)
        )
        self.controls = nn.Linear(config.hidden, N_CONTROLS)
        self.register_buffer("neutral", torch.tensor(NEUTRAL, dtype=torch.float32), persistent=False)
        for name, size in (("eye", config.eye_patch), ("mouth", config.mouth_patch)):
            self.register_buffer(f"{name}_grid", unit_grid(*size), persistent=False)
        # On the net's device: a CUDA graph cannot hold the copy that indexing with a list makes.
        for name, points in (("right", RIGHT_CORNERS), ("left", LEFT_CORNERS), ("lips", LIPS)):
            self.register_buffer(f"{name}_points", torch.tensor(points), persistent=False)

    neutral: Tensor
    eye_grid: Tensor
    mouth_grid: Tensor
    right_points: Tensor
    left_points: Tensor
    lips_points: Tensor

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Presence, landmarks and pose (N, 1 + 2L + 3), and the features (N, hidden) of the controls."""
        hidden = self.features(self.trunk(x))
        face = self.face(hidden).float()
        points = face[:, 1 : 1 + 2 * self.config.landmarks].detach().unflatten(1, (-1, 2))
        right, left, lips = (
            points.index_select(1, chosen)
            for chosen in (self.right_points, self.left_points, self.lips_points)
        )
        eyes = self.eye(eye_patches(x, right, left, self.eye_grid))
        mouth = self.mouth(mouth_patches(x, right, left, lips.mean(1), self.mouth_grid))
        n = x.shape[0]
        return face, self.mixed(torch.cat([hidden, eyes[:n], eyes[n:], mouth], dim=1))

    def read(self, face: Tensor, features: Tensor) -> Tensor:
        """What ``embed`` gave to the output row."""
        pose = face[:, -3:] * ANGLE_SCALE
        controls = self.neutral + CONTROL_SCALE * self.controls(features).float()
        return torch.cat([face[:, :-3], pose, controls], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(*self.embed(x))


def folded(net: SingleStage) -> SingleStage:
    """A copy in eval mode with every batch norm folded into its convolution (exact up to rounding)."""
    net = copy.deepcopy(net).eval()
    for module in list(net.modules()):
        if isinstance(module, nn.Sequential) and len(module) >= 2 and isinstance(module[1], nn.BatchNorm2d):
            conv, norm = module[0], module[1]
            assert isinstance(conv, nn.Conv2d)
            module[0] = torch.nn.utils.fusion.fuse_conv_bn_eval(conv, norm)
            module[1] = nn.Identity()
    return net
