"""Nets on PyTorch. The only runtime file that imports torch outside ``nets``."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from x2c_edge.backends.base import Arrays
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.nets import arch, inference
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig, folded
from x2c_edge.packs import NetSpec

Array = NDArray[np.float32]


class TorchBackend:
    """The CPU, in float32 or with the heavy convolutions in bfloat16.

    Half of the cores run the net: the rest is for the camera, the actuation tick and the links, whose
    lateness would cost more than the net's speed gains.
    """

    name = "torch"

    def __init__(self, threads: int | None = None, *, bf16: bool = False) -> None:
        """BadArgumentError if bfloat16 is asked of a processor that lacks it."""
        if bf16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise BadArgumentError("precision bf16: this processor cannot do it; use fp32")
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self.threads = threads or max(1, (os.cpu_count() or 2) // 2)
        torch.set_num_threads(self.threads)

    @property
    def device(self) -> str:
        precision = ", bf16" if self._dtype == torch.bfloat16 else ""
        return f"cpu{precision}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def buffer(self, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape, np.float32)

    def bind(self, net: NetSpec, x: Arrays, out: Arrays, part: str = "") -> Callable[[], None]:
        apply = inference.function(_opened(net), part, self._dtype)
        sources = [torch.from_numpy(array) for array in (x if isinstance(x, tuple) else (x,))]
        targets = [torch.from_numpy(array) for array in (out if isinstance(out, tuple) else (out,))]
        staged = [_staging(source) for source in sources]

        def run() -> None:
            with torch.inference_mode():
                inputs = (stage.copy_(source) for stage, source in zip(staged, sources, strict=True))
                for target, result in zip(targets, apply(*inputs), strict=True):
                    target.copy_(result)

        try:
            run()  # the first run plans the convolutions; it must not happen on the first frame
        except RuntimeError as error:
            raise NotFoundError(
                f"{net.file}: '{net.arch}' does not take {[tuple(s.shape) for s in sources]}: "
                f"{str(error).splitlines()[0]}; get the pack again"
            ) from None
        return run


def _staging(source: torch.Tensor) -> torch.Tensor:
    """Where a net's input is laid out as its convolutions like it; a view where nothing is to be gained."""
    if source.dim() == 4:
        return torch.empty_like(source, memory_format=torch.channels_last)
    return source


def _opened(net: NetSpec) -> torch.nn.Module:
    if net.arch == "single_stage":
        return _single_stage(net)
    if net.arch not in arch.ARCHS:
        known = ", ".join(("single_stage", *arch.ARCHS))
        raise NotFoundError(f"{net.file}: unknown net '{net.arch}'; this program knows {known}")
    try:
        module = arch.opened(net.arch, net.config, load_file(net.file))
    except (SafetensorError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise _misfit(net, error) from None
    _require_finite(net, module)
    return module


def _single_stage(net: NetSpec) -> SingleStage:
    try:
        module = SingleStage(SingleStageConfig.from_manifest(net.config))
        module.load_state_dict({k: v.float() for k, v in load_file(net.file).items()})
    except (SafetensorError, TypeError, RuntimeError, OSError) as error:
        raise _misfit(net, error) from None
    module = folded(module)
    _require_finite(net, module)
    return module


def _misfit(net: NetSpec, error: Exception) -> NotFoundError:
    text = str(error).strip().splitlines()
    return NotFoundError(f"{net.file}: does not fit its manifest: {' '.join(text[:2])}")


def _require_finite(net: NetSpec, module: torch.nn.Module) -> None:
    if not all(bool(torch.isfinite(t).all()) for t in module.state_dict().values()):
        raise NotFoundError(f"{net.file}: holds weights that are not finite; get the pack again")
