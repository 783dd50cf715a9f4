"""Nets as functions of tensors on a GPU: what ``inference`` is for the CPU, for PyTorch's CUDA kernels.

Products run in float16. PyTorch's own layer and instance norms and softmax compute in float32 whatever
they read. In float32 altogether stay the single-stage net and a motion extractor with a second look, which
cut patches at float32 positions, the stitching network, the response norms (sums of squares over a map),
and the last layers, whose results are coordinates, angles and controls.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from x2c_edge.nets.direct import DirectNetwork
from x2c_edge.nets.face_motion import FaceMotion
from x2c_edge.nets.generator import Generator
from x2c_edge.nets.inference import TensorFunction
from x2c_edge.nets.mapping import MappingNetwork
from x2c_edge.nets.motion_extractor import MotionExtractor, ResponseNorm
from x2c_edge.nets.warping import DenseMotionNetwork, WarpingNetwork


def function(module: nn.Module, part: str, *, half: bool) -> TensorFunction:
    """The part of a folded net as a function, as ``inference.function`` names them. It takes the module over.

    ValueError for a part that the net does not have.
    """
    if part not in _parts(module):
        raise ValueError(f"{type(module).__name__} has no part '{part}'")
    if half and _has_half_form(module):
        _halve(module)
    if isinstance(module, DenseMotionNetwork) and part == "dense motion":
        return _dense_motion(module)
    if isinstance(module, WarpingNetwork):
        return _tail(module)
    if isinstance(module, DirectNetwork):
        predict = module.predict
        return lambda warped, occlusion, dense, sparse: (predict(warped, occlusion, dense, sparse),)
    if isinstance(module, MotionExtractor | FaceMotion):
        return lambda *seen: (torch.cat([head.float() for head in module(*seen)], dim=1),)
    return lambda x: (module(x),)


def _parts(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, WarpingNetwork):
        return ("dense motion", "tail")
    return ("", "dense motion") if isinstance(module, DirectNetwork) else ("",)


def _has_half_form(module: nn.Module) -> bool:
    if isinstance(module, MappingNetwork):
        return not module.config.looks_twice
    return isinstance(module, MotionExtractor | DenseMotionNetwork | Generator)


def _dense_motion(net: DenseMotionNetwork) -> TensorFunction:
    def run(front: Tensor) -> tuple[Tensor, Tensor]:
        hidden = net.hourglass(front)
        return net.mask_logits(hidden), net.occlusion_map(hidden)

    return run


def _tail(net: WarpingNetwork) -> TensorFunction:
    return lambda warped, occlusion: (net.tail(warped, occlusion),)


def _halve(module: nn.Module) -> None:
    module.half()
    for inner in module.modules():
        if isinstance(inner, ResponseNorm):
            _keep_wide(inner, torch.float16)
    if isinstance(module, MotionExtractor):
        for name, inner in module.detector.named_children():
            if name.startswith("fc_"):
                _keep_wide(inner, torch.float32)
    if isinstance(module, MappingNetwork):
        _keep_wide(module.pos_pred_head, torch.float32)
    if isinstance(module, DirectNetwork):
        _keep_wide(module.controls, torch.float32)


def _keep_wide(module: nn.Module, out: torch.dtype) -> None:
    """float32 inside, whatever it is given, and ``out`` from it."""
    module.float()
    module.register_forward_pre_hook(lambda _, inputs: tuple(cast(Tensor, x).float() for x in inputs))

    def narrowed(_: nn.Module, inputs: Any, result: Tensor) -> Tensor:
        return result.to(out)

    module.register_forward_hook(narrowed)
