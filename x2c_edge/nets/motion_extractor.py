"""M, the motion extractor: a ConvNeXt V2 with seven linear heads (docs/spec/liveportrait.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

LAYER_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class MotionConfig:
    """Sizes of M; the defaults are the published ones. One entry a stage in ``depths`` and ``widths``."""

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    keypoints: int = 21
    bins: int = 66  # 1: the angle itself, degrees


class RawMotion(NamedTuple):
    """The heads as the network gives them, each (N, columns); section 5 turns them into a motion.

    pitch, yaw, roll: ``bins`` logits; t: 3; exp, kp: 3 x keypoints, keypoint-major; scale: 1.
    """

    pitch: Tensor
    yaw: Tensor
    roll: Tensor
    t: Tensor
    exp: Tensor
    scale: Tensor
    kp: Tensor


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Global response norm of (N, H, W, C), per picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        relative = norms / (norms.mean(dim=-1, keepdim=True) + 1e-6)
        return self.gamma * (x * relative) + self.beta + x


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.grn = ResponseNorm(4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.pwconv2(self.grn(F.gelu(self.pwconv1(y))))
        return x + cast(Tensor, y.permute(0, 3, 1, 2))


class _Detector(nn.Module):
    """All of M; the published keys have it one level down."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        widths = config.widths
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=4), _ChannelNorm(widths[0]))
        self.downsample_layers = nn.ModuleList([stem])
        for cin, cout in pairwise(widths):
            self.downsample_layers.append(nn.Sequential(_ChannelNorm(cin), nn.Conv2d(cin, cout, 2, stride=2)))
        self.stages = nn.ModuleList(
            nn.Sequential(*[_Block(width) for _ in range(depth)])
            for width, depth in zip(widths, config.depths, strict=True)
        )
        last = widths[-1]
        self.norm = nn.LayerNorm(last, eps=LAYER_NORM_EPS)
        self.fc_kp = nn.Linear(last, 3 * config.keypoints)
        self.fc_scale = nn.Linear(last, 1)
        self.fc_pitch = nn.Linear(last, config.bins)
        self.fc_yaw = nn.Linear(last, config.bins)
        self.fc_roll = nn.Linear(last, config.bins)
        self.fc_t = nn.Linear(last, 3)
        self.fc_exp = nn.Linear(last, 3 * config.keypoints)


class MotionExtractor(nn.Module):
    """Face picture to raw motion.

    Input (N, 3, H, W) float32 RGB, H and W multiples of 4 * 2**(stages - 1); the published one takes [0, 1],
    not normalised.
    """

    def __init__(self, config: MotionConfig | None = None) -> None:
        super().__init__()
        self.config = config or MotionConfig()
        self.detector = _Detector(self.config)

    def features(self, image: Tensor) -> Tensor:
        """The vector (N, widths[-1]) that all heads read."""
        net = self.detector
        x = image
        for down, stage in zip(net.downsample_layers, net.stages, strict=True):
            x = stage(down(x))
        return cast(Tensor, net.norm(x.mean(dim=(2, 3))))

    def heads(self, features: Tensor) -> RawMotion:
        """(N, widths[-1]) to the seven raw heads."""
        net = self.detector
        return RawMotion(
            pitch=net.fc_pitch(features),
            yaw=net.fc_yaw(features),
            roll=net.fc_roll(features),
            t=net.fc_t(features),
            exp=net.fc_exp(features),
            scale=net.fc_scale(features),
            kp=net.fc_kp(features),
        )

    def forward(self, image: Tensor) -> RawMotion:
        """See the class."""
        return self.heads(self.features(image))
