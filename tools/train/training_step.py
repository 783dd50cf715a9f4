"""Rate, precision and memory layout of a training step: what a processor computes fast, and without dying."""

from __future__ import annotations

import math
from typing import Final, TypeVar

import torch
from torch import nn

from x2c_edge import processor
from x2c_edge.errors import BadArgumentError

NetT = TypeVar("NetT", bound=nn.Module)
# PyTorch 2.13's oneDNN writes past its buffers in the gradient of a strided 1x1 convolution that has fewer
# input channels than this, if the memory is channels-last and the processor has no AVX-512: the process
# dies, sometimes later. (Found with 2 to 6 channels; 7 and 8 ran. Larger kernels and stride 1 are sound.)
_FEWEST_CHANNELS: Final = 8


def require_learning_rate(lr: float) -> None:
    """Before hours of training. BadArgumentError for what is no step forward."""
    if not 0 < lr < math.inf:
        raise BadArgumentError(f"--lr {lr:g}: give a number above 0")


def mixed_precision(device: str = "cpu", *, bf16: bool | None = None) -> torch.autocast:
    """Autocast to bfloat16 where the hardware computes in it, and float32 elsewhere.

    device: "cpu", "cuda" or "cuda:N". bf16: decide by hand.
    """
    kind = device.split(":")[0]
    return torch.autocast(kind, torch.bfloat16, enabled=has_bfloat16(device) if bf16 is None else bf16)


def has_bfloat16(device: str = "cpu") -> bool:
    """Whether ``device`` computes in bfloat16 itself."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    return processor.computes_bfloat16()


def laid_out(net: NetT) -> NetT:
    """``net`` with its convolutions in the layout that trains fastest: channels-last, unless that dies."""
    return net.to(memory_format=layout_of(net))  # type: ignore[call-overload, no-any-return]


def layout_of(net: nn.Module) -> torch.memory_format:
    """The layout that ``net`` and its input should have in training."""
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    dies = any(
        max(c.kernel_size) == 1 and max(c.stride) > 1 and c.in_channels < _FEWEST_CHANNELS
        for c in convolutions
    )
    return torch.contiguous_format if dies else torch.channels_last
