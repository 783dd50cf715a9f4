"""A thinner dense motion network out of a trained one, to start training from.

Layer after layer: those channels stay that tell most about the others, as far as the next layers listen, and
the layer is fitted, by least squares, to give them from what the thinner layers before it leave. What one
layer loses, the next makes good as far as it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tools.train.slim_single_stage import most_telling
from x2c_edge.nets.layers import Conv, ConvNorm
from x2c_edge.nets.warping import DenseMotionNetwork

FIT_VOXELS = 36000  # of all examples
MOST_COLUMNS = 4096  # of a least-squares problem
SEEN_EVERY = 7  # of an example's voxels, when channels are chosen


@dataclass
class Maps:
    """One activation for every example, (channels, D, H, W) each: in the trained net and in the thinner one,
    which has ``kept`` of its channels."""

    big: list[Tensor]
    small: list[Tensor]
    kept: Tensor

    def each(self, what: Callable[[Tensor], Tensor]) -> Maps:
        return Maps([what(x) for x in self.big], [what(x) for x in self.small], self.kept)

    def beside(self, other: Maps) -> Maps:
        big = [torch.cat(pair) for pair in zip(self.big, other.big, strict=True)]
        small = [torch.cat(pair) for pair in zip(self.small, other.small, strict=True)]
        return Maps(big, small, torch.cat([self.kept, other.kept + len(self.big[0])]))


@torch.no_grad()
def slim_hourglass(
    big: DenseMotionNetwork, small: DenseMotionNetwork, fronts: Sequence[Tensor], rng: np.random.Generator
) -> None:
    """Sets the dense motion network of ``small`` to say as nearly as its widths let it what ``big``'s says.

    Neither has batch norms. fronts: what goes in, (front channels, D, H, W), a hundred or so examples.
    """
    there, here = big.dense_motion_network, small.dense_motion_network
    here.compress.load_state_dict(there.compress.state_dict())
    down, thin_down = (_convs(net.hourglass.encoder.down_blocks) for net in (there, here))
    up, thin_up = (
        [*_convs(net.hourglass.decoder.up_blocks), net.hourglass.decoder.conv] for net in (there, here)
    )
    skips = up[:0:-1]  # behind its own channels each of them reads an encoder's, the last one the input
    maps = [Maps(list(fronts), list(fronts), torch.arange(len(fronts[0])))]
    for i, (layer, thin) in enumerate(zip(down, thin_down, strict=True)):
        width = layer.out_channels
        heard = [up[0].weight] if layer is down[-1] else [down[i + 1].weight, skips[i + 1].weight[:, -width:]]
        maps.append(_slimmed(layer, thin, maps[-1], heard, rng).each(_halved))
    x = maps.pop()
    for i, (layer, thin) in enumerate(zip(up[:-1], thin_up[:-1], strict=True)):
        heard = [up[i + 1].weight[:, : layer.out_channels]]
        x = _slimmed(layer, thin, x.each(_doubled), heard, rng).beside(maps.pop())
    x = _slimmed(up[-1], thin_up[-1], x, [there.mask.weight], rng)
    here.mask.weight.copy_(there.mask.weight[:, x.kept])
    by_channel = there.occlusion.weight.unflatten(1, (len(x.big[0]), -1))
    here.occlusion.weight.copy_(by_channel[:, x.kept].flatten(1, 2))
    here.mask.bias.copy_(there.mask.bias)
    said = [there.mask(y[None])[0] for y in x.big]
    _fit(here.mask, x.small, [y - y.mean(0, keepdim=True) for y in said], rng)  # a softmax sees no more
    here.occlusion.bias.copy_(there.occlusion.bias)
    flat = x.each(lambda y: y.flatten(0, 1))
    _fit(here.occlusion, flat.small, [there.occlusion(y[None])[0] for y in flat.big], rng)


def _convs(blocks: nn.ModuleList) -> list[Conv]:
    return [cast(ConvNorm, block).conv for block in blocks]


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool3d(x, (1, 2, 2))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x[None], scale_factor=(1, 2, 2), mode="nearest")[0]


def _slimmed(layer: Conv, thin: Conv, x: Maps, heard: list[Tensor], rng: np.random.Generator) -> Maps:
    """One layer fitted; what it gives behind its ReLU. heard: the weights of those who read it."""
    said = [layer(y[None])[0] for y in x.big]
    out = [F.relu(y) for y in said]
    rows = torch.cat([y.flatten(1)[:, ::SEEN_EVERY] for y in out], dim=1)
    ears = [w.transpose(0, 1).flatten(1) for w in heard]
    listening = sum((w @ w.T for w in ears), torch.zeros(len(rows), len(rows)))
    kept = most_telling(rows @ rows.T / rows.shape[1], listening, thin.out_channels)
    thin.weight.copy_(layer.weight[kept][:, x.kept])
    assert thin.bias is not None
    assert layer.bias is not None
    thin.bias.copy_(layer.bias[kept])
    _fit(thin, x.small, [y[kept] for y in said], rng)
    return Maps(out, [F.relu(thin(y[None])[0]) for y in x.small], kept)


def _fit(layer: Conv, x: list[Tensor], wanted: list[Tensor], rng: np.random.Generator) -> None:
    """What is to be added to a layer's weights, by least squares, so that it gives from ``x`` (inputs, ...)
    what is wanted (outputs, ...). Nothing where the problem would be too large."""
    inputs, size, dims = layer.in_channels, int(layer.kernel_size[0]), len(layer.kernel_size)
    columns = inputs * size**dims + 1
    if columns > MOST_COLUMNS:
        return
    square = torch.zeros(columns, columns, dtype=torch.float64)
    product = torch.zeros(columns, layer.out_channels, dtype=torch.float64)
    for seen, said in zip(x, wanted, strict=True):
        missing = (said - layer(seen[None])[0]).flatten(1)
        patches = F.pad(seen, [size // 2] * 2 * dims)
        for axis in range(1, 1 + dims):
            patches = patches.unfold(axis, size, 1)
        some = rng.integers(0, missing.shape[1], max(1, FIT_VOXELS // len(x)))
        at = (slice(None), *(torch.from_numpy(i) for i in np.unravel_index(some, seen.shape[1:])))
        picked = patches[at].transpose(0, 1).flatten(1)
        picked = torch.cat([picked, torch.ones(len(some), 1)], dim=1)
        square += (picked.T @ picked).double()
        product += (picked.T @ missing[:, torch.from_numpy(some)].T).double()
    ridge = 1e-4 * square.diagonal().mean() * torch.eye(columns, dtype=torch.float64)
    found = torch.linalg.solve(square + ridge, product).T.float()
    assert layer.bias is not None
    layer.weight.add_(found[:, :-1].reshape(layer.weight.shape))
    layer.bias.add_(found[:, -1])
