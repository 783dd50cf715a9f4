"""Nets on PyTorch. The only runtime file that imports torch outside ``nets``."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from x2c_edge.errors import NotFoundError
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig, folded
from x2c_edge.packs import NetSpec

Array = NDArray[np.float32]


class TorchBackend:
    """float32 on the CPU.

    Half of the cores run the net: the rest is for the camera, the actuation tick and the links, whose
    lateness would cost more than the net's speed gains.
    """

    name = "torch"

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or max(1, (os.cpu_count() or 2) // 2)
        torch.set_num_threads(self.threads)

    @property
    def device(self) -> str:
        return f"cpu, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def buffer(self, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape, np.float32)

    def bind(self, net: NetSpec, x: Array, out: Array) -> Callable[[], None]:
        module = _single_stage(net).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        source = torch.from_numpy(x)
        target = torch.from_numpy(out)
        staged = torch.empty_like(source, memory_format=torch.channels_last)

        def run() -> None:
            with torch.inference_mode():
                target.copy_(module(staged.copy_(source)))

        run()  # the first run plans the convolutions; it must not happen on the first frame
        return run


def _single_stage(net: NetSpec) -> SingleStage:
    if net.arch != "single_stage":
        raise NotFoundError(f"{net.file}: unknown net '{net.arch}'; this program knows single_stage")
    try:
        module = SingleStage(SingleStageConfig.from_manifest(net.config))
        module.load_state_dict({k: v.float() for k, v in load_file(net.file).items()})
    except (SafetensorError, TypeError, RuntimeError, OSError) as error:
        text = str(error).strip().splitlines()
        raise NotFoundError(f"{net.file}: does not fit its manifest: {' '.join(text[:2])}") from None
    if not all(bool(torch.isfinite(p).all()) for p in module.parameters()):
        raise NotFoundError(f"{net.file}: holds weights that are not finite; get the pack again")
    return folded(module)
