"""3x3 convolution by Winograd's F(4x4, 3x3): a quarter of the multiplications, exact up to rounding.

Every 6x6 window of the input, step 4, gives a 4x4 tile of the output: both sides are transformed by small
constant matrices, and in between there are 36 ordinary matrix products (Lavin and Gray, "Fast algorithms
for convolutional neural networks", with the interpolation points 0, 1, -1, 1/2, -2). float32 only: in half
precision the transforms lose too many bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_TILE = 4
_WINDOW = _TILE + 2
_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)


def transforms() -> tuple[Tensor, Tensor, Tensor]:
    """A (4, 6), G (6, 3), B (6, 6), float64: for one axis, out = A [(G kernel) * (B window)].

    Toom and Cook: the product of two polynomials from its values at five points and infinity, transposed.
    """
    points = torch.tensor(_POINTS, dtype=torch.float64)

    def values(count: int) -> Tensor:
        rows = points[:, None] ** torch.arange(count, dtype=torch.float64)
        infinity = torch.zeros(1, count, dtype=torch.float64)
        infinity[0, -1] = 1
        return torch.cat([rows, infinity])

    return values(_TILE).T, values(3), torch.linalg.inv(values(_WINDOW)).T


class WinogradConv(nn.Module):
    """conv 3x3, padding 1, of (N, I, H, W), any H and W, channels last in memory."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        a, g, b = transforms()
        # A diagonal rescaling between G and B evens their magnitudes out, which keeps rounding small.
        scale = (b.abs().amax(dim=1) / g.abs().amax(dim=1)).sqrt()
        g, b = g * scale[:, None], b / scale[:, None]
        kernel = torch.einsum("ua,vb,oiab->uvio", g, g, weight.double())
        self.kernel = nn.Parameter(kernel.flatten(0, 1).float().contiguous(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.float(), requires_grad=False)
        self.register_buffer("enter", torch.kron(b, b).float())
        self.register_buffer("leave", torch.kron(a, a).float())

    enter: Tensor
    leave: Tensor

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        rows, columns = -(-height // _TILE), -(-width // _TILE)
        below, right = 1 + rows * _TILE - height, 1 + columns * _TILE - width
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, right, 1, below))
        windows = padded.unfold(1, _WINDOW, _TILE).unfold(2, _WINDOW, _TILE)
        flat = windows.permute(4, 5, 0, 1, 2, 3).reshape(_WINDOW**2, -1)
        values = (self.enter @ flat).reshape(_WINDOW**2, -1, channels)
        products = torch.bmm(values, self.kernel)
        out = (self.leave @ products.flatten(1)).reshape(_TILE, _TILE, n, rows, columns, -1)
        out = out.permute(2, 3, 0, 4, 1, 5).reshape(n, rows * _TILE, columns * _TILE, -1)
        out = out[:, :height, :width]
        if self.bias is not None:
            out += self.bias
        return out.permute(0, 3, 1, 2)
