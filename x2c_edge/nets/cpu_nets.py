"""The nets as the CPU's engine runs them: the ports of ``engine_nets``, rearranged for its convolutions.

Exact up to rounding. The engine has fast 2-D convolutions and slow 3-D ones, and neither knows that an
upsampled map repeats itself:

* a volume is a list of its depth slices; output slice d is one 2-D convolution of the slices that it reads,
  concatenated, so that nothing is multiplied with the padding's zeros;
* convolutions of an upsampled map run at the map's own resolution (``upsampled``);
* a convolution with one output is one with many of them that are added up afterwards (``_to_one``);
* W's and G's further savings are those of ``inference`` and ``generator_fast``;
* patches of what looks twice are placed by matrix products (``cpu_two_looks``).

Every weight is computed in ``forward`` from the parameters of the pack's net, so that the exported graph
holds that arithmetic and not its results: the engine does it once, when it is loaded with the pack's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from x2c_edge.nets import engine_nets
from x2c_edge.nets.cpu_two_looks import CpuTwoLooks
from x2c_edge.nets.engine_nets import EngineNet
from x2c_edge.nets.face_motion import FaceMotion
from x2c_edge.nets.generator import SLOPE, Generator, SpadeBlock, SpadeNorm
from x2c_edge.nets.layers import Conv, ConvNorm
from x2c_edge.nets.single_stage import SingleStage
from x2c_edge.nets.upsampled import Taps, source_taps
from x2c_edge.nets.warping import DenseMotionNetwork

_EPS = 1e-5


def cpu_nets(net: nn.Module, size: int, volume: tuple[int, ...]) -> list[EngineNet]:
    """As ``engine_nets.engine_nets``, whose names and ports these have."""
    return [replace(one, module=_rearranged(one, net)) for one in engine_nets.engine_nets(net, size, volume)]


def _rearranged(one: EngineNet, net: nn.Module) -> nn.Module:
    if isinstance(net, Generator):
        return _Generator(net)
    if isinstance(net, DenseMotionNetwork) and one.name in ("dense_motion", "direct_motion"):
        return _DenseMotion(net)
    if isinstance(net, SingleStage):
        return _SingleStage(net)
    if isinstance(net, FaceMotion):
        return _FaceMotion(net)
    return one.module


class _SingleStage(nn.Module):
    def __init__(self, net: SingleStage) -> None:
        super().__init__()
        self.net, self.looks = net, CpuTwoLooks(net)

    def forward(self, x: Tensor) -> Tensor:
        return self.net.read(*self.looks(x))


class _FaceMotion(nn.Module):
    def __init__(self, net: FaceMotion) -> None:
        super().__init__()
        self.net, self.looks = net, CpuTwoLooks(net)

    def forward(self, x: Tensor, *row: Tensor) -> Tensor:
        return torch.cat(tuple(self.net.read(*self.looks(self.net.looked_at(x)), *row)), dim=1)


class _DenseMotion(nn.Module):
    """The hourglass and its two heads on lists of slices."""

    def __init__(self, net: DenseMotionNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, front: Tensor) -> tuple[Tensor, Tensor]:
        dense = self.net.dense_motion_network
        encoder, decoder = dense.hourglass.encoder, dense.hourglass.decoder
        maps = [list(front.unbind(2))]
        for block in encoder.down_blocks:
            slices = _sliced(maps[-1], cast(ConvNorm, block).conv)
            maps.append([F.avg_pool2d(F.relu(x), 2) for x in slices])
        x = maps.pop()
        for block in decoder.up_blocks:
            x = [F.relu(y) for y in _sliced(x, cast(ConvNorm, block).conv, upsampled=True)]
            x = [torch.cat(pair, dim=1) for pair in zip(x, maps.pop(), strict=True)]
        hidden = [F.relu(y) for y in _sliced(x, decoder.conv)]
        mask = torch.stack(_sliced(hidden, dense.mask), dim=2)
        weight, depth = dense.occlusion.weight, len(hidden)
        outputs, inputs, *sides = _sizes(weight)
        weight = weight.reshape(outputs, inputs // depth, depth, *sides).transpose(1, 2)
        weight = weight.reshape(outputs, inputs, *sides)
        occlusion = _to_one(torch.cat(hidden, dim=1), weight, dense.occlusion.bias)
        return mask, torch.sigmoid(occlusion)


def _sliced(slices: Sequence[Tensor], conv: Conv, *, upsampled: bool = False) -> list[Tensor]:
    """A 3-D convolution of the slices (1, I, H, W): as many (1, O, H, W), twice as large if ``upsampled``."""
    outputs, inputs, side, *sides = _sizes(conv.weight)
    reach, out = side // 2, []
    for d in range(len(slices)):
        low, high = max(0, d - reach), min(len(slices), d + reach + 1)
        x = torch.cat(list(slices[low:high]), dim=1)
        taps = conv.weight[:, :, low - d + reach : high - d + reach]
        weight = taps.transpose(1, 2).reshape(outputs, inputs * (high - low), *sides)
        if upsampled:
            out.append(_upsampled(x, weight, conv.bias))
        else:
            out.append(F.conv2d(x, weight, conv.bias, padding=reach))
    return out


def _sizes(x: Tensor) -> list[int]:
    """Plain numbers, also while the net is traced: the graph holds no arithmetic on shapes then."""
    return [int(n) for n in x.shape]


def _upsampled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """conv3x3(nearest upsampling of x by 2), x (1, I, H, W), as four 2x2 convolutions of x."""
    parts = []
    for rows, columns in product(source_taps(2), repeat=2):
        kernel = _merged(weight, rows, columns)
        padding = (-columns.start, len(columns.groups) - 1 + columns.start,
                   -rows.start, len(rows.groups) - 1 + rows.start)  # fmt: skip
        parts.append(F.conv2d(F.pad(x, padding), kernel, bias))
    outputs, (*_, height, width) = _sizes(weight)[0], _sizes(x)
    return F.pixel_shuffle(torch.stack(parts, dim=2).reshape(1, 4 * outputs, height, width), 2)


def _merged(weight: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """As ``upsampled.merged``, in the weight's own precision."""
    tall = torch.cat([weight[:, :, list(g)].sum(dim=2, keepdim=True) for g in rows.groups], dim=2)
    return torch.cat([tall[..., list(g)].sum(dim=3, keepdim=True) for g in columns.groups], dim=3)


def _to_one(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A k x k convolution, odd k, with one output. Vector units work on outputs: the k * k products of a
    pixel are the outputs here, and a transposed convolution adds them where they belong."""
    flipped = weight.flip(2, 3).transpose(0, 1)
    return F.conv_transpose2d(x, flipped, bias, padding=_sizes(weight)[-1] // 2)


class _Generator(nn.Module):
    def __init__(self, net: Generator) -> None:
        super().__init__()
        self.net = net

    def forward(self, s: Tensor) -> Tensor:
        x: Tensor = self.net.fc(s)
        for name in self.net.block_names:
            x = _block(cast(SpadeBlock, self.net.get_submodule(name)), x, s, up=name.startswith("up_"))
        return self.net.to_image(x)


def _block(block: SpadeBlock, x: Tensor, s: Tensor, *, up: bool) -> Tensor:
    """One residual block. s: the generator's input, at its own size."""
    norms = [block.norm_0, block.norm_1] + ([block.norm_s] if block.learned_shortcut else [])
    shared = [cast(nn.Conv2d, norm.mlp_shared[0]) for norm in norms]
    weight = torch.cat([conv.weight for conv in shared])
    bias = torch.cat([cast(Tensor, conv.bias) for conv in shared])
    plain = _normalised(x)  # an upsampled map has the same mean and deviation
    if up:
        x, plain = (F.interpolate(y, scale_factor=2.0, mode="nearest") for y in (x, plain))
    scale = _sizes(x)[-1] // _sizes(s)[-1]
    if scale == 2:
        hidden = F.relu(_upsampled(s, weight, bias))
    else:
        hidden = F.relu(F.conv2d(F.interpolate(s, scale_factor=float(scale)), weight, bias, padding=1))
    h_0, h_1, *h_s = torch.split(hidden, shared[0].out_channels, dim=1)
    y = cast(nn.Conv2d, block.conv_0)(F.leaky_relu(_modulated(block.norm_0, plain, h_0), SLOPE))
    y = cast(nn.Conv2d, block.conv_1)(F.leaky_relu(_modulated(block.norm_1, _normalised(y), h_1), SLOPE))
    if not block.learned_shortcut:
        return x + cast(Tensor, y)
    return _shortcut(block, plain, h_s[0]) + cast(Tensor, y)


def _modulated(norm: SpadeNorm, plain: Tensor, hidden: Tensor) -> Tensor:
    gamma, beta = norm.mlp_gamma, norm.mlp_beta
    weight = torch.cat([gamma.weight, beta.weight])
    bias = torch.cat([cast(Tensor, gamma.bias) + 1, cast(Tensor, beta.bias)])
    both = F.conv2d(hidden, weight, bias, padding=1)
    return both[:, : gamma.out_channels] * plain + both[:, gamma.out_channels :]


def _shortcut(block: SpadeBlock, plain: Tensor, hidden: Tensor) -> Tensor:
    """conv_s(plain (1 + gamma) + beta), beta's part of it done in the weights."""
    gamma, beta = block.norm_s.mlp_gamma, block.norm_s.mlp_beta
    matrix = cast(nn.Conv2d, block.conv_s).weight
    inner = matrix.flatten(1)
    weight = (inner @ beta.weight.flatten(1)).reshape(len(inner), *_sizes(beta.weight)[1:])
    both = F.conv2d(
        hidden,
        torch.cat([gamma.weight, weight]),
        torch.cat([cast(Tensor, gamma.bias) + 1, inner @ cast(Tensor, beta.bias)]),
        padding=1,
    )
    return F.conv2d(both[:, : gamma.out_channels] * plain, matrix) + both[:, gamma.out_channels :]


def _normalised(x: Tensor) -> Tensor:
    return F.instance_norm(x, eps=_EPS)
