"""W, the warping network: where each voxel comes from, what is hidden (docs/spec/liveportrait.md section 8).

The steps are separate methods with plain tensors in and out, in the order of ``forward``, so that a
caller can put a kernel in the place of ``front_end`` (``motion_volume``) or of ``deformation`` and
``warp`` (``warp_volume``). ``compress`` depends on the source alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from x2c_edge.nets.layers import ConvNorm, batch_norm, conv

HEATMAP_VARIANCE = 0.01


@dataclass(frozen=True, slots=True)
class DenseMotionConfig:
    """Sizes of the dense motion network; the defaults are the published ones.

    The volume (``channels`` x ``depth``) is F's; the map's sides must be multiples of 2**levels.
    last: channels of the hourglass's last map; 0: as many as it is given, as published.
    """

    keypoints: int = 21
    channels: int = 32
    depth: int = 16
    compressed: int = 4
    base: int = 32
    cap: int = 1024
    levels: int = 5
    mask_kernel: int = field(default=7, kw_only=True)
    last: int = field(default=0, kw_only=True)

    @property
    def front_channels(self) -> int:
        """Channels into the hourglass: heatmap and compressed features of every motion."""
        return (self.keypoints + 1) * (1 + self.compressed)


@dataclass(frozen=True, slots=True)
class WarpingConfig(DenseMotionConfig):
    """Sizes of W. out_channels: of the generator's input."""

    out_channels: int = 256


class Warped(NamedTuple):
    """out (N, out_channels, H, W); deformation (N, D, H, W, 3), x y z; occlusion (N, 1, H, W)."""

    out: Tensor
    deformation: Tensor
    occlusion: Tensor


class _Encoder(nn.Module):
    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(ConvNorm(3, cin, cout) for cin, cout in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [x]
        for block in self.down_blocks:
            maps.append(F.avg_pool3d(F.relu(block(maps[-1])), (1, 2, 2)))
        return maps


class _Decoder(nn.Module):
    folds: ClassVar = (("conv", "norm"),)

    def __init__(self, encoder_widths: list[int], base: int, last: int) -> None:
        super().__init__()
        front, *skips = encoder_widths
        outs = [*skips[-2::-1], base]
        ins = [skips[-1], *(2 * width for width in outs[:-1])]
        self.up_blocks = nn.ModuleList(ConvNorm(3, cin, cout) for cin, cout in zip(ins, outs, strict=True))
        self.out_channels = last or base + front
        self.conv = conv(3, base + front, self.out_channels, 3)
        self.norm = batch_norm(3, self.out_channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for block, skip in zip(self.up_blocks, maps[-2::-1], strict=True):
            x = F.relu(block(F.interpolate(x, scale_factor=(1, 2, 2), mode="nearest")))
            x = torch.cat([x, skip], dim=1)
        return F.relu(self.norm(self.conv(x)))


class _Hourglass(nn.Module):
    def __init__(self, config: DenseMotionConfig) -> None:
        super().__init__()
        widths = [config.front_channels]
        widths += [min(config.cap, config.base << (i + 1)) for i in range(config.levels)]
        self.encoder = _Encoder(widths)
        self.decoder = _Decoder(widths, min(config.cap, config.base), config.last)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.decoder(self.encoder(x)))


class _DenseMotion(nn.Module):
    folds: ClassVar = (("compress", "norm"),)

    def __init__(self, config: DenseMotionConfig) -> None:
        super().__init__()
        self.compress = conv(3, config.channels, config.compressed, 1)
        self.norm = batch_norm(3, config.compressed)
        self.hourglass = _Hourglass(config)
        width = self.hourglass.decoder.out_channels
        self.mask = conv(3, width, config.keypoints + 1, config.mask_kernel)
        self.occlusion = conv(2, width * config.depth, 1, 7)


class DenseMotionNetwork(nn.Module):
    """Two sets of keypoints to where each voxel comes from, and to what is hidden: steps 1 to 9.

    ``kp_driving`` and ``kp_source`` (N, K, 3), transformed keypoints x, y, z in -1..1 across the volume
    (section 1). float32.
    """

    def __init__(self, config: DenseMotionConfig) -> None:
        super().__init__()
        self.dense_motion_network = _DenseMotion(config)

    def compress(self, feature: Tensor) -> Tensor:
        """Step 1: (N, channels, D, H, W) to (N, compressed, D, H, W)."""
        net = self.dense_motion_network
        return F.relu(net.norm(net.compress(feature)))

    def front_end(self, compressed: Tensor, kp_driving: Tensor, kp_source: Tensor) -> Tensor:
        """Steps 2 to 5: (N, compressed, D, H, W) to (N, (K+1) * (1 + compressed), D, H, W).

        Keypoint-major, background first; within a keypoint the heatmap, then the deformed features.
        """
        size = compressed.shape[2:]
        grid = coordinate_grid(size, compressed)
        motions = sparse_motions(grid, kp_driving, kp_source)
        count = motions.shape[1]
        deformed = sample_volume(compressed.repeat_interleave(count, dim=0), motions.flatten(0, 1))
        heatmaps = gaussians(grid, kp_driving) - gaussians(grid, kp_source)
        heatmaps = torch.cat([torch.zeros_like(heatmaps[:, :1]), heatmaps], dim=1)
        groups = torch.cat([heatmaps.unsqueeze(2), deformed.reshape(-1, count, *compressed.shape[1:])], dim=2)
        return groups.flatten(1, 2)

    def hourglass(self, front: Tensor) -> Tensor:
        """Step 6: (N, front channels, D, H, W) to (N, base + front channels, D, H, W)."""
        return cast(Tensor, self.dense_motion_network.hourglass(front))

    def mask_logits(self, hidden: Tensor) -> Tensor:
        """Step 7 before the softmax: the hourglass output to (N, K + 1, D, H, W)."""
        return cast(Tensor, self.dense_motion_network.mask(hidden))

    def deformation(self, mask_logits: Tensor, kp_driving: Tensor, kp_source: Tensor) -> Tensor:
        """Softmax of step 7 and step 8: logits to absolute sampling positions (N, D, H, W, 3)."""
        grid = coordinate_grid(mask_logits.shape[2:], mask_logits)
        motions = sparse_motions(grid, kp_driving, kp_source)
        return (torch.softmax(mask_logits, dim=1).unsqueeze(-1) * motions).sum(dim=1)

    def occlusion_map(self, hidden: Tensor) -> Tensor:
        """Step 9: the hourglass output to (N, 1, H, W) in 0..1; 1 is visible."""
        return torch.sigmoid(self.dense_motion_network.occlusion(hidden.flatten(1, 2)))


class WarpingNetwork(DenseMotionNetwork):
    """W: feature volume and two sets of keypoints to the generator's input.

    ``feature`` (N, channels, D, H, W) from F.
    """

    def __init__(self, config: WarpingConfig | None = None) -> None:
        config = config or WarpingConfig()
        super().__init__(config)
        self.config = config
        self.third = ConvNorm(2, config.channels * config.depth, config.out_channels)
        self.fourth = nn.Conv2d(config.out_channels, config.out_channels, 1)

    def warp(self, feature: Tensor, deformation: Tensor) -> Tensor:
        """Step 10: the full volume sampled at the deformation, as (N, channels * D, H, W)."""
        return sample_volume(feature, deformation).flatten(1, 2)

    def tail(self, warped: Tensor, occlusion: Tensor) -> Tensor:
        """Step 11: (N, channels * D, H, W) to (N, out_channels, H, W)."""
        out: Tensor = self.fourth(F.leaky_relu(self.third(warped), 0.01))
        return out * occlusion

    def forward(self, feature: Tensor, kp_driving: Tensor, kp_source: Tensor) -> Warped:
        """See the class; the order of the keypoints is driving, source."""
        front = self.front_end(self.compress(feature), kp_driving, kp_source)
        hidden = self.hourglass(front)
        deformation = self.deformation(self.mask_logits(hidden), kp_driving, kp_source)
        occlusion = self.occlusion_map(hidden)
        return Warped(self.tail(self.warp(feature, deformation), occlusion), deformation, occlusion)


def coordinate_grid(size: torch.Size, like: Tensor) -> Tensor:
    """(D, H, W, 3) positions x, y, z; both ends of every axis are samples (section 1)."""
    axes = [2 * (torch.arange(n, dtype=like.dtype, device=like.device) / (n - 1)) - 1 for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)


def sparse_motions(grid: Tensor, kp_driving: Tensor, kp_source: Tensor) -> Tensor:
    """Step 2: (N, K + 1, D, H, W, 3); 0 is the grid itself, k the translation by source - driving."""
    moved = grid - kp_driving[:, :, None, None, None] + kp_source[:, :, None, None, None]
    still = grid.expand(moved.shape[0], 1, *grid.shape)
    return torch.cat([still, moved], dim=1)


def gaussians(grid: Tensor, keypoints: Tensor) -> Tensor:
    """Step 4's exponentials: (N, K, D, H, W)."""
    distances = (grid - keypoints[:, :, None, None, None]).square().sum(dim=-1)
    return torch.exp(-0.5 * distances / HEATMAP_VARIANCE)


def sample_volume(volume: Tensor, positions: Tensor) -> Tensor:
    """Trilinear, half-pixel convention, zeros outside: (N, C, D, H, W) at (N, d, h, w, 3) (section 1)."""
    return F.grid_sample(volume, positions, mode="bilinear", padding_mode="zeros", align_corners=False)
