"""G for inference: the same numbers as ``Generator`` up to rounding, with fewer operations.

Five exact rewrites (docs/spec/liveportrait.md section 16 has the first four):

* ``mlp_shared`` of all norms of a block is one convolution, at the map's own resolution (``upsampled``);
* gamma and beta of a norm are one convolution; where the map is upsampled by 4, what they read repeats
  too, and 100 taps do the work of 144;
* the shortcut's beta goes through its 1x1 convolution at load time: conv_s(a gamma + beta) needs only
  as many channels of beta as the block has outputs;
* norm_0 and norm_s share their statistics, taken before the upsampling;
* in float32 the wide convolutions of the middle blocks need a quarter of the products (``winograd``).

Statistics, modulation and the residual stream are float32 also when the convolutions are bfloat16.
"""

from __future__ import annotations

from itertools import product
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from x2c_edge.nets.generator import SLOPE, Generator, SpadeBlock, SpadeNorm
from x2c_edge.nets.upsampled import PhasedConv, compact_taps, distinct, merged
from x2c_edge.nets.winograd import WinogradConv

_EPS = 1e-5
_WINOGRAD_FROM = 384  # channels


class FastGenerator(nn.Module):
    """Made from a generator whose spectral norms are folded (``layers.fold_spectral_norm``), whose
    convolutions it takes over."""

    def __init__(self, generator: Generator, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self._dtype = dtype
        self._shuffle = generator.config.shuffle
        self._names = generator.block_names
        scale = 1
        self.fc = _prepared(generator.fc, dtype)
        self.blocks = nn.ModuleList()
        for name in self._names:
            up = 2 if name.startswith("up_") else 1
            scale *= up
            self.blocks.append(_FastBlock(cast(SpadeBlock, generator.get_submodule(name)), scale, up, dtype))
        self.conv_img = _prepared(generator.conv_img[0], dtype)
        self.eval().requires_grad_(False)

    def forward(self, s: Tensor) -> Tensor:
        """W's output (N, in_channels, h, w) float32 to the picture (N, 3, H, W) float32, RGB in 0..1."""
        s = s.to(self._dtype, memory_format=torch.channels_last)
        x: Tensor = self.fc(s).float()
        for block in self.blocks:
            x = block(x, s)
        y = self.conv_img(F.leaky_relu(x, SLOPE).to(self._dtype)).float()
        return torch.sigmoid(F.pixel_shuffle(y, self._shuffle))


class _FastBlock(nn.Module):
    def __init__(self, block: SpadeBlock, scale: int, up: int, dtype: torch.dtype) -> None:
        super().__init__()
        self._up = up
        self._dtype = dtype
        norms = [block.norm_0, block.norm_1] + ([block.norm_s] if block.learned_shortcut else [])
        shared = [cast(nn.Conv2d, norm.mlp_shared[0]) for norm in norms]
        self.shared = PhasedConv(
            torch.cat([conv.weight for conv in shared]).to(dtype),
            torch.cat([cast(Tensor, conv.bias) for conv in shared]).to(dtype),
            scale,
        )
        self._hidden = shared[0].out_channels
        self.modulate_0 = _Modulation(block.norm_0, scale, dtype)
        self.modulate_1 = _Modulation(block.norm_1, scale, dtype)
        prepare = _winograd if scale <= 2 and dtype == torch.float32 else _prepared
        self.conv_0 = prepare(block.conv_0, dtype)
        self.conv_1 = prepare(block.conv_1, dtype)
        self.shortcut = (
            _Modulation(block.norm_s, scale, dtype, cast(nn.Conv2d, block.conv_s))
            if block.learned_shortcut
            else None
        )

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        a = self.shared(s)
        a_0, a_1, *a_s = a.split(self._hidden, dim=1)
        plain = _normalised(x)
        y = self.conv_0(self.modulate_0(plain, self._up, a_0)).float()
        y = self.conv_1(self.modulate_1(_normalised(y), 1, a_1))
        if self.shortcut is not None:
            return cast(Tensor, self.shortcut(plain, self._up, a_s[0]) + y)
        shortcut = x if self._up == 1 else F.interpolate(x, scale_factor=self._up, mode="nearest")
        return shortcut + cast(Tensor, y)


class _Modulation(nn.Module):
    """x (1 + gamma) + beta, then leaky ReLU; or, given the shortcut's convolution, that of it instead.

    Up to scale 2 the gamma-beta convolution reads the full map; above, it reads the distinct positions
    with one merged kernel for each of the scale x scale positions.
    """

    def __init__(
        self, norm: SpadeNorm, scale: int, dtype: torch.dtype, shortcut: nn.Conv2d | None = None
    ) -> None:
        super().__init__()
        gamma, beta = norm.mlp_gamma, norm.mlp_beta
        beta_weight, beta_bias = beta.weight.double(), cast(Tensor, beta.bias).double()
        self._channels = gamma.out_channels
        self.project: Tensor | None = None
        if shortcut is not None:
            matrix = shortcut.weight.flatten(1).double()
            beta_weight = (matrix @ beta_weight.flatten(1)).reshape(-1, *beta_weight.shape[1:])
            beta_bias = matrix @ beta_bias
            self.project = shortcut.weight.flatten(1).to(dtype)
        weight = torch.cat([gamma.weight.double(), beta_weight]).float()
        bias = torch.cat([cast(Tensor, gamma.bias).double() + 1, beta_bias]).to(dtype)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self._dtype = dtype
        self._scale = scale if scale > 2 else 1
        self._stride = distinct(scale) if scale > 2 else 1
        self.taps = list(product(compact_taps(self._scale), repeat=2))
        self.kernels = nn.ParameterList(
            nn.Parameter(_layout(merged(weight, *taps).to(dtype)), requires_grad=False) for taps in self.taps
        )

    def forward(self, plain: Tensor, up: int, a: Tensor) -> Tensor:
        """plain: normalised x (N, C, h, w) before the upsampling by ``up``; a: ReLU(mlp_shared)."""
        size, step = self._scale, self._stride
        rows, columns = a.shape[2] // step, a.shape[3] // step
        padded = F.pad(a, (1, 1, 1, 1))
        if up > size:  # one kernel position for the whole map: it needs x at the map's size
            plain, up = F.interpolate(plain, scale_factor=up, mode="nearest"), 1
        out: Tensor | None = None
        for i, (taps, kernel) in enumerate(zip(self.taps, self.kernels, strict=True)):
            window = padded
            for axis, t, count in ((2, taps[0], rows), (3, taps[1], columns)):
                window = window.narrow(axis, 1 + t.start, step * (count - 1) + len(t.groups))
            both = F.conv2d(window, kernel, self.bias, stride=step)
            row, column = divmod(i, size)
            part = plain[:, :, row // up :: size // up, column // up :: size // up]
            value = self._modulated(part, both)
            if size == 1:
                return value
            if out is None:
                out = value.new_empty((value.shape[0], rows, size, columns, size, value.shape[1]))
            out[:, :, row, :, column].copy_(value.permute(0, 2, 3, 1))
        assert out is not None
        return out.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)

    def _modulated(self, plain: Tensor, both: Tensor) -> Tensor:
        gamma, beta = both[:, : self._channels], both[:, self._channels :]
        if self.project is None:
            return F.leaky_relu_(torch.addcmul(beta.float(), plain, gamma.float()), SLOPE).to(self._dtype)
        projected = F.linear((plain * gamma).to(self._dtype).permute(0, 2, 3, 1), self.project)
        return projected.permute(0, 3, 1, 2) + beta.float()


def _normalised(x: Tensor) -> Tensor:
    """Instance norm, float32; the sums over H x W as products with a row of ones."""
    rows = x.permute(0, 2, 3, 1).flatten(1, 2)
    mean = x.new_full((1, rows.shape[1]), 1 / rows.shape[1])
    centred = rows - mean @ rows
    centred *= torch.rsqrt(mean @ centred.square() + _EPS)
    return centred.reshape(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)


def _layout(weight: Tensor) -> Tensor:
    return weight.contiguous(memory_format=torch.channels_last)


def _winograd(conv: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Pays where the channels are many and the map is small (512 channels at 64 x 64: 1.5 times faster)."""
    conv = cast(nn.Conv2d, conv)
    if min(conv.in_channels, conv.out_channels) < _WINOGRAD_FROM:
        return _prepared(conv, dtype)
    return WinogradConv(conv.weight, conv.bias)


def _prepared(conv: nn.Module, dtype: torch.dtype) -> nn.Conv2d:
    return cast(nn.Conv2d, conv.to(dtype, memory_format=torch.channels_last))  # type: ignore[call-overload]
