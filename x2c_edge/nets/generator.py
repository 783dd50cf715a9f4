"""G, the SPADE generator (docs/spec/liveportrait.md section 9)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from x2c_edge.nets.layers import SpectralConv2d, conv

SLOPE = 0.2


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Sizes of G; the defaults are the published ones.

    The picture's side is the input map's times 2**len(up_widths) * shuffle.
    """

    in_channels: int = 256
    width: int = 512
    middle_blocks: int = 6
    up_widths: tuple[int, ...] = (256, 64)
    hidden: int = 128
    shuffle: int = 2


class SpadeNorm(nn.Module):
    """Instance norm of x, modulated by the map s, which is resized to x's size (nearest)."""

    def __init__(self, channels: int, map_channels: int, hidden: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(conv(2, map_channels, hidden, 3), nn.ReLU())
        self.mlp_gamma = conv(2, hidden, channels, 3)
        self.mlp_beta = conv(2, hidden, channels, 3)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """x (N, channels, H, W) and s (N, map channels, h, w) to (N, channels, H, W)."""
        shared = self.mlp_shared(F.interpolate(s, size=x.shape[2:], mode="nearest"))
        gamma, beta = self.mlp_gamma(shared), self.mlp_beta(shared)
        return F.instance_norm(x, eps=1e-5) * (1 + cast(Tensor, gamma)) + cast(Tensor, beta)


class SpadeBlock(nn.Module):
    """SPADE residual block; the shortcut has its own norm and 1x1 convolution where the width changes."""

    def __init__(self, cin: int, cout: int, map_channels: int, hidden: int) -> None:
        super().__init__()
        middle = min(cin, cout)
        self.learned_shortcut = cin != cout
        self.conv_0 = SpectralConv2d(cin, middle, 3)
        self.conv_1 = SpectralConv2d(middle, cout, 3)
        self.norm_0 = SpadeNorm(cin, map_channels, hidden)
        self.norm_1 = SpadeNorm(middle, map_channels, hidden)
        if self.learned_shortcut:
            self.conv_s = SpectralConv2d(cin, cout, 1, bias=False)
            self.norm_s = SpadeNorm(cin, map_channels, hidden)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """x (N, cin, H, W) and s to (N, cout, H, W)."""
        y = self.conv_0(F.leaky_relu(self.norm_0(x, s), SLOPE))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, s), SLOPE))
        shortcut = self.conv_s(self.norm_s(x, s)) if self.learned_shortcut else x
        return cast(Tensor, shortcut + y)


class Generator(nn.Module):
    """W's output (N, in_channels, h, w) float32 to a picture (N, 3, H, W), RGB in 0..1.

    ``block_names`` are the residual blocks in order; ``forward`` is ``fc``, ``block`` for each name, and
    ``to_image``.
    """

    def __init__(self, config: GeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GeneratorConfig()
        self.fc = conv(2, config.in_channels, config.width, 3)
        self.block_names: list[str] = []
        widths = [config.width] * (config.middle_blocks + 1) + list(config.up_widths)
        for i, (cin, cout) in enumerate(pairwise(widths)):
            up = i - config.middle_blocks
            name = f"up_{up}" if up >= 0 else f"G_middle_{i}"
            self.add_module(name, SpadeBlock(cin, cout, config.in_channels, config.hidden))
            self.block_names.append(name)
        self.conv_img = nn.Sequential(conv(2, widths[-1], 3 * config.shuffle**2, 3))

    def block(self, name: str, x: Tensor, s: Tensor) -> Tensor:
        """One residual block: x from the block before (``fc(s)`` for the first), s the generator's input.

        The ``up_`` blocks double x's height and width first.
        """
        if name.startswith("up_"):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return cast(Tensor, self.get_submodule(name)(x, s))

    def to_image(self, x: Tensor) -> Tensor:
        """The last block's output to the picture."""
        y = self.conv_img(F.leaky_relu(x, SLOPE))
        return torch.sigmoid(F.pixel_shuffle(y, self.config.shuffle))

    def forward(self, s: Tensor) -> Tensor:
        """See the class."""
        x: Tensor = self.fc(s)
        for name in self.block_names:
            x = self.block(name, x, s)
        return self.to_image(x)
