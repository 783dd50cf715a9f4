"""M, the motion extractor: a ConvNeXt V2 with seven linear heads (docs/spec/liveportrait.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from x2c_edge.nets.second_look import PatchNet, eye_patches, mouth_patches, unit_grid

LAYER_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class MotionConfig:
    """Sizes of M; the defaults are the published ones. One entry a stage in ``depths`` and ``widths``.

    patch_widths: with any, M looks a second time at the eyes and the mouth (``second_look``), which small
    pictures need. Then the picture's side is ``picture``, patches are (width, height), and ``place`` features
    say where in the last map things are, which the pooled ones do not.
    """

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    keypoints: int = 21
    bins: int = 66  # 1: the angle itself, degrees
    patch_widths: tuple[int, ...] = ()
    eye_patch: tuple[int, int] = (48, 24)
    mouth_patch: tuple[int, int] = (64, 48)
    patch_hidden: int = 96
    picture: int = 128
    place: int = 96


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


class Look(nn.Module):
    """The second look: the last map to features that know more than the pooled ones, of the same length."""

    eye_grid: Tensor
    mouth_grid: Tensor

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        width = config.widths[-1]
        cells = config.picture // (4 << (len(config.widths) - 1))
        self.place = nn.Sequential(nn.Linear(width * cells * cells, config.place), nn.ReLU())
        self.points = nn.Linear(config.place, 10)  # each eye's outer and inner corner, right first; the lips
        self.eye = PatchNet(config.patch_widths, config.eye_patch, config.patch_hidden)
        self.mouth = PatchNet(config.patch_widths, config.mouth_patch, config.patch_hidden)
        self.mixed = nn.Sequential(
            nn.Linear(width + config.place + 3 * config.patch_hidden, width), nn.ReLU()
        )
        for name, size in (("eye", config.eye_patch), ("mouth", config.mouth_patch)):
            self.register_buffer(f"{name}_grid", unit_grid(*size))

    def forward(self, image: Tensor, last: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, S, S), (N, width, s, s), (N, width) to the new features, the points (N, 5, 2) in half
        picture sides, and the place features (N, place)."""
        place = self.place(last.flatten(1))
        points = self.points(place).float().unflatten(1, (5, 2))
        at = points.detach()
        right, left = at[:, 0:2], at[:, 2:4]
        eyes = self.eye(eye_patches(image, right, left, self.eye_grid))
        mouth = self.mouth(mouth_patches(image, right, left, at[:, 4], self.mouth_grid))
        n = image.shape[0]
        return self.mixed(torch.cat([pooled, place, eyes[:n], eyes[n:], mouth], dim=1)), points, place


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
        self.look = Look(config) if config.patch_widths else None
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
        last, pooled = self.trunk(image)
        look = self.detector.look
        return pooled if look is None else cast(Tensor, look(image, last, pooled)[0])

    def trunk(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The last map (N, widths[-1], h, w), and it pooled, then normed (N, widths[-1])."""
        net = self.detector
        x = image
        for down, stage in zip(net.downsample_layers, net.stages, strict=True):
            x = stage(down(x))
        return x, cast(Tensor, net.norm(x.mean(dim=(2, 3))))

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
