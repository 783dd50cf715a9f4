"""Nets as functions of tensors, arranged for speed: what a backend binds to its buffers.

``part`` names a piece of a net that a kernel comes in the middle of (docs/spec/liveportrait.md):

    warping, "dense motion"  (front,) -> (mask logits, occlusion)        section 8, steps 6, 7, 9
    warping, "tail"          (warped, occlusion) -> (generator's input,)  step 11
    direct, "dense motion"   as above
    direct, ""               (warped, occlusion, deformation, driving) -> (controls,)
    all other nets, ""       (x,) -> (out,); M gives its heads as one row, in the order of ``RawMotion``

With bfloat16 the convolutions of W and G run in it; everything that their results are summed into, M, the
stitching and the mapping network stay float32 (section 14).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from x2c_edge.nets.direct import DirectNetwork
from x2c_edge.nets.face_motion import FaceMotion
from x2c_edge.nets.generator import Generator
from x2c_edge.nets.generator_fast import FastGenerator
from x2c_edge.nets.layers import ConvNorm, conv3d
from x2c_edge.nets.motion_extractor import MotionExtractor
from x2c_edge.nets.sliced import SlicedConv3d
from x2c_edge.nets.upsampled import PhasedConv
from x2c_edge.nets.warping import DenseMotionNetwork, WarpingNetwork

TensorFunction = Callable[..., tuple[Tensor, ...]]


def function(module: nn.Module, part: str, dtype: torch.dtype) -> TensorFunction:
    """The part of a folded net as a function. It may take the module's layers over: use each part once.

    ValueError for a part that the net does not have.
    """
    if isinstance(module, DenseMotionNetwork) and part == "dense motion":
        return _DenseMotion(module, dtype)
    if isinstance(module, WarpingNetwork) and part == "tail":
        return _tail(module, dtype)
    if isinstance(module, WarpingNetwork) or part:
        raise ValueError(f"{type(module).__name__} has no part '{part}'")
    if isinstance(module, Generator):
        generator = FastGenerator(module, dtype)
        return lambda s: (generator(s),)
    if isinstance(module, DirectNetwork):
        for convolutions in (module.first, module.rest):  # its dense motion is another part, and in 3-D
            _channels_last(convolutions, torch.float32)
        predict = module.predict
        return lambda warped, occlusion, dense, sparse: (predict(warped, occlusion, dense, sparse),)
    module = _channels_last(module, torch.float32)
    if isinstance(module, MotionExtractor | FaceMotion):
        return lambda *seen: (torch.cat(tuple(module(*seen)), dim=1),)
    return lambda x: (module(x),)


class _DenseMotion:
    """The hourglass, with its upsampling folded into the convolutions after it, and its two heads."""

    def __init__(self, net: DenseMotionNetwork, dtype: torch.dtype) -> None:
        dense = net.dense_motion_network
        encoder, decoder = dense.hourglass.encoder, dense.hourglass.decoder
        self._dtype = dtype
        self._down = [_volume_conv(cast(ConvNorm, block).conv, dtype) for block in encoder.down_blocks]
        self._up = []
        for block in decoder.up_blocks:
            conv = cast(ConvNorm, block).conv
            assert conv.bias is not None
            self._up.append(PhasedConv(conv.weight.to(dtype), conv.bias.to(dtype), 2))
        self._last = _volume_conv(decoder.conv, dtype)
        assert dense.mask.bias is not None
        self._mask = SlicedConv3d(dense.mask.weight.to(dtype), dense.mask.bias.to(dtype))
        self._occlusion = dense.occlusion.to(dtype)

    def __call__(self, front: Tensor) -> tuple[Tensor, Tensor]:
        maps = [front.to(self._dtype, memory_format=torch.channels_last_3d)]
        for convolve in self._down:
            maps.append(_halved(F.relu_(_convolved(convolve, maps[-1]))))
        x = maps.pop()
        for up in self._up:
            x = torch.cat([up(x), maps.pop()], dim=1)
        hidden = F.relu_(_convolved(self._last, x))
        occlusion = self._occlusion(hidden.contiguous().flatten(1, 2))
        return self._mask(hidden).float(), torch.sigmoid(occlusion.float())


def _halved(x: Tensor) -> Tensor:
    """Average over 2 x 2 of H and W, slice by slice: 3-D pooling does not know bfloat16."""
    slices = x.movedim(2, 1).flatten(0, 1)
    small = F.avg_pool2d(slices, 2)
    return small.reshape(x.shape[0], -1, *small.shape[1:]).movedim(1, 2)


def _tail(net: WarpingNetwork, dtype: torch.dtype) -> TensorFunction:
    third = _channels_last(net.third.conv, dtype)
    fourth = _channels_last(net.fourth, dtype)

    def run(warped: Tensor, occlusion: Tensor) -> tuple[Tensor]:
        x = third(warped.to(dtype, memory_format=torch.channels_last))
        return (fourth(F.leaky_relu_(x, 0.01)).float() * occlusion,)

    return run


def _channels_last(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    return cast(nn.Module, module.to(dtype, memory_format=torch.channels_last))  # type: ignore[call-overload]


def _volume_conv(module: nn.Module, dtype: torch.dtype) -> nn.Conv3d:
    return cast(nn.Conv3d, module.to(dtype, memory_format=torch.channels_last_3d))  # type: ignore[call-overload]


def _convolved(module: nn.Conv3d, x: Tensor) -> Tensor:
    return conv3d(x, module.weight, module.bias, cast(tuple[int, ...], module.padding))
