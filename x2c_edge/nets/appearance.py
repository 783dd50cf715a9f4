"""F, the appearance feature extractor (docs/spec/liveportrait.md section 3). Runs once per source picture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, cast

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from x2c_edge.nets.layers import ConvNorm, batch_norm, conv


@dataclass(frozen=True, slots=True)
class AppearanceConfig:
    """Sizes of F; the defaults are the published ones.

    The volume has ``channels`` x ``depth`` cells over a map of input size / 2**downs.
    """

    base: int = 64
    cap: int = 512
    downs: int = 2
    channels: int = 32
    depth: int = 16
    residual_blocks: int = 6


class _Residual3d(nn.Module):
    folds: ClassVar = (("conv1", "norm2"),)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = batch_norm(3, channels)
        self.conv1 = conv(3, channels, channels, 3)
        self.norm2 = batch_norm(3, channels)
        self.conv2 = conv(3, channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return x + cast(Tensor, self.conv2(F.relu(self.norm2(y))))


class AppearanceExtractor(nn.Module):
    """Source picture to feature volume.

    Input (N, 3, H, W) float32 RGB in [0, 1], H and W multiples of 2**downs.
    Output (N, channels, depth, H / 2**downs, W / 2**downs).
    """

    def __init__(self, config: AppearanceConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AppearanceConfig()
        widths = [min(config.cap, config.base << i) for i in range(config.downs + 1)]
        self.first = ConvNorm(2, 3, widths[0])
        self.down_blocks = nn.ModuleList(ConvNorm(2, cin, cout) for cin, cout in pairwise(widths))
        self.second = nn.Conv2d(widths[-1], config.channels * config.depth, 1)
        self.resblocks_3d = nn.Sequential()
        for i in range(config.residual_blocks):
            self.resblocks_3d.add_module(f"3dr{i}", _Residual3d(config.channels))

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        x = F.relu(self.first(image))
        for block in self.down_blocks:
            x = F.avg_pool2d(F.relu(block(x)), 2)
        volume = self.second(x).unflatten(1, (self.config.channels, self.config.depth))
        return cast(Tensor, self.resblocks_3d(volume))
