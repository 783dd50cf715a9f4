"""A 3-D convolution with few outputs, as one 2-D convolution of all depth slices. Exact up to rounding.

Vector units work on blocks of 16 output channels; 22 of them (the masks of the dense-motion network) leave a
third of two blocks idle. Here the kernel's depth joins the outputs (7 x 22 = 154 channels fill ten blocks
but for six), every slice is convolved once, and the seven parts are added at their depths.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class SlicedConv3d(nn.Module):
    """conv k x k x k, odd k, padding k // 2, of (1, I, D, H, W) to (1, O, D, H, W), the input's dtype."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self._outputs, self._depth = weight.shape[0], weight.shape[2]
        slices = weight.permute(2, 0, 1, 3, 4).flatten(0, 1)
        self.weight = nn.Parameter(slices.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        reach, depth = self._depth // 2, x.shape[2]
        slices = x[0].transpose(0, 1).contiguous(memory_format=torch.channels_last)
        parts = F.conv2d(slices, self.weight, padding=self.weight.shape[2] // 2)
        parts = parts.reshape(depth, self._depth, self._outputs, *x.shape[3:])
        out = self.bias.view(1, -1, 1, 1).repeat(depth, 1, *x.shape[3:])
        for tap in range(self._depth):
            shift = tap - reach  # output slice d reads input slice d + shift
            low, high = max(0, -shift), min(depth, depth - shift)
            if low < high:
                out[low:high] += parts[low + shift : high + shift, tap]
        return out.transpose(0, 1)[None]
