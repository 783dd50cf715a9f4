"""The single-stage network (X2CNet-S): one upright face crop to presence, landmarks, pose, controls.

A plain convolutional net: 3x3 convolutions run near peak on CPUs and map onto any TensorRT version.
Batch norms fold into the convolutions for inference (``folded``).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn

from x2c_edge.controls import N_CONTROLS, NEUTRAL
from x2c_edge.nets.landmarks import LANDMARK_IDS, OUTER_LIPS

ANGLE_SCALE: Final = math.radians(15.0)  # the pose head's unit
CONTROL_SCALE: Final = 0.25  # the control head's unit
EYE_SPAN: Final = 1.6  # width of an eye's patch in eye widths
MOUTH_SPAN: Final = 1.7  # width of the mouth's patch in distances between the eyes' centres
_RIGHT_CORNERS: Final = [LANDMARK_IDS.index(i) for i in (33, 133)]  # outer, inner
_LEFT_CORNERS: Final = [LANDMARK_IDS.index(i) for i in (263, 362)]
_LIPS: Final = [LANDMARK_IDS.index(i) for i in OUTER_LIPS]


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

    @staticmethod
    def from_manifest(config: dict[str, Any]) -> SingleStageConfig:
        """TypeError for a key that is not a size of this net, and for a size that no net can have."""
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        made = SingleStageConfig(**sizes)
        for item in fields(made):
            value, usual = getattr(made, item.name), item.default
            numbers = value if isinstance(value, tuple) else (value,)
            least = 0 if item.name == "blocks" else 1
            if (
                isinstance(value, tuple) != isinstance(usual, tuple)
                or not numbers
                or not all(isinstance(n, int) and n >= least for n in numbers)
            ):
                raise TypeError(f"{item.name} = {value} is not a size such as {usual}")
        if len(made.blocks) != len(made.widths) or len(made.eye_patch) != 2 or len(made.mouth_patch) != 2:
            raise TypeError("widths and blocks go in pairs, and a patch has a width and a height")
        return made


def _conv_bn(cin: int, cout: int, kernel: int, stride: int, relu: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(cout),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _conv_bn(width, width, 3, 1)
        self.conv2 = _conv_bn(width, width, 3, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.conv2(self.conv1(x)))


class _PatchNet(nn.Module):
    """A small convolutional net on an aligned patch: (N, 3, H, W) to (N, hidden)."""

    def __init__(self, widths: tuple[int, ...], size: tuple[int, int], hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_bn(3, widths[0], 3, 1)]
        for before, after in pairwise(widths):
            layers += [_conv_bn(before, after, 3, 2), _conv_bn(after, after, 3, 1)]
        self.convs = nn.Sequential(*layers)
        shrink = 2 ** (len(widths) - 1)
        cells = (size[0] // shrink) * (size[1] // shrink)
        self.out = nn.Sequential(nn.Linear(widths[-1] * cells, hidden), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.convs(x).flatten(1))
        return y


class SingleStage(nn.Module):
    """Input (N, 3, S, S) RGB normalised as the manifest says. Output (N, 1 + 2L + 3 + 30), float32.

    Columns, in this order:
      presence   1: logit
      landmarks  2L: x0 y0 x1 y1 ... in crop pixels from the crop's centre, divided by S/2
      pose       3: yaw, pitch, roll in radians, in the crop's axes
      controls  30: paper units, absolute (the person's own neutral not removed); the head and neck
                    columns stay at the robot's neutral here, the pose gives them

    A trunk sees the whole crop. Then the eyes and the mouth are looked at again in patches cut where the
    trunk's own landmarks put them: an iris moves by a pixel or so, less than its place in the crop
    varies, and only becomes easy to read once that is taken out (gaze r 0.9 instead of 0.1).
    """

    def __init__(self, config: SingleStageConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [_conv_bn(3, config.stem, 5, 2)]
        width = config.stem
        for next_width, count in zip(config.widths, config.blocks, strict=True):
            layers.append(_conv_bn(width, next_width, 3, 2))
            layers += [_Residual(next_width) for _ in range(count)]
            width = next_width
        self.trunk = nn.Sequential(*layers)
        cells = config.input_size // 2 ** (1 + len(config.widths))
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(width * cells * cells, config.hidden), nn.ReLU(inplace=True)
        )
        self.face = nn.Linear(config.hidden, 1 + 2 * config.landmarks + 3)
        self.eye = _PatchNet(config.patch_widths, config.eye_patch, config.patch_hidden)
        self.mouth = _PatchNet(config.patch_widths, config.mouth_patch, config.patch_hidden)
        self.mixed = nn.Sequential(
            nn.Linear(config.hidden + 3 * config.patch_hidden, config.hidden), nn.ReLU(inplace=True)
        )
        self.controls = nn.Linear(config.hidden, N_CONTROLS)
        self.register_buffer("neutral", torch.tensor(NEUTRAL, dtype=torch.float32), persistent=False)
        for name, size in (("eye", config.eye_patch), ("mouth", config.mouth_patch)):
            self.register_buffer(f"{name}_grid", _unit_grid(*size), persistent=False)

    neutral: Tensor
    eye_grid: Tensor
    mouth_grid: Tensor

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Presence, landmarks and pose (N, 1 + 2L + 3), and the features (N, hidden) of the controls."""
        hidden = self.features(self.trunk(x))
        face = self.face(hidden).float()
        points = face[:, 1 : 1 + 2 * self.config.landmarks].detach().unflatten(1, (-1, 2))
        right, left = points[:, _RIGHT_CORNERS], points[:, _LEFT_CORNERS]
        # The left eye is cut mirrored (outer corner first), so that one net serves both.
        eyes = self.eye(
            torch.cat([_cut(x, *_span(right), self.eye_grid), _cut(x, *_span(left), self.eye_grid)])
        )
        eye_line = left.mean(1) - right.mean(1)
        mouth = self.mouth(_cut(x, points[:, _LIPS].mean(1), MOUTH_SPAN * eye_line, self.mouth_grid))
        n = x.shape[0]
        return face, self.mixed(torch.cat([hidden, eyes[:n], eyes[n:], mouth], dim=1))

    def read(self, face: Tensor, features: Tensor) -> Tensor:
        """What ``embed`` gave to the output row."""
        pose = face[:, -3:] * ANGLE_SCALE
        controls = self.neutral + CONTROL_SCALE * self.controls(features).float()
        return torch.cat([face[:, :-3], pose, controls], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(*self.embed(x))


def _unit_grid(width: int, height: int) -> Tensor:
    """(height, width, 2) patch coordinates: x from -1 to 1, y on the same scale."""
    x = (torch.arange(width) * 2 + 1) / width - 1
    y = ((torch.arange(height) * 2 + 1) / height - 1) * (height / width)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)


def _span(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Centre, and the vector from outer to inner corner stretched to the patch's width (N, 2) each."""
    outer, inner = corners[:, 0], corners[:, 1]
    return (outer + inner) / 2, EYE_SPAN * (inner - outer)


def _cut(x: Tensor, centre: Tensor, across: Tensor, grid: Tensor) -> Tensor:
    """Patches (N, 3, h, w) of x (N, 3, S, S), bilinear, zero outside.

    centre: (N, 2). across: (N, 2), the patch's width as a vector along its x axis. Both in the landmarks'
    unit. The y axis is across turned clockwise in the picture if across points right (else mirrored), so
    that it always points to the chin.
    """
    half = across / 2
    down = torch.stack([-half[:, 1], half[:, 0]], dim=1)
    down = down * torch.sign(down[:, 1:]).detach()
    centre, half, down = (v[:, None, None] for v in (centre, half, down))
    at = centre + grid[..., :1] * half + grid[..., 1:] * down
    patches = nn.functional.grid_sample(x, at.to(x.dtype), mode="bilinear", align_corners=False)
    return patches.contiguous(memory_format=torch.channels_last)


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
