"""Convolutions of a nearest-upsampled map at the map's own resolution (docs/spec/liveportrait.md section 16).

Upsampled by r, a cell of the map becomes r x r equal values. A 3x3 kernel that lies on them reads at most
two different cells along each axis, so its taps on one cell merge into their sum, and the outputs of a
cell take only min(r, 3) different values along each axis: first, middle, last ("distinct positions").
Exact up to float rounding; zero padding carries over unchanged.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from x2c_edge.nets.layers import conv3d


class Taps(NamedTuple):
    """Where one output position reads along an axis: from ``start`` on, one merged tap a group."""

    start: int
    groups: tuple[tuple[int, ...], ...]


def distinct(r: int) -> int:
    """How many different outputs a cell has along an axis."""
    return min(r, 3)


def source_taps(r: int) -> list[Taps]:
    """For each distinct position: the cells it reads, relative to its own."""
    positions = range(r) if r < 3 else (0, 1, r - 1)
    return [_grouped([(p + tap - 1) // r for tap in range(3)]) for p in positions]


def compact_taps(r: int) -> list[Taps]:
    """For each of the r positions: what a *second* 3x3 convolution reads of the distinct positions.

    Their index counts from the own cell's first one; a cell has ``distinct(r)`` of them.
    """
    n = distinct(r)

    def index(p: int) -> int:
        cell, p = divmod(p, r)
        return cell * n + (p if r < 3 else 0 if p == 0 else 2 if p == r - 1 else 1)

    return [_grouped([index(p + tap - 1) for tap in range(3)]) for p in range(r)]


def _grouped(cells: list[int]) -> Taps:
    groups: list[tuple[int, ...]] = []
    for tap, cell in enumerate(cells):
        if groups and cell == cells[tap - 1]:
            groups[-1] += (tap,)
        else:
            groups.append((tap,))
    return Taps(cells[0], tuple(groups))


def merged(weight: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """Kernel (O, I, ..., 3, 3) with the taps of every group summed: (O, I, ..., len(rows), len(columns))."""
    wide = weight.double()
    wide = torch.stack([wide[..., list(group), :].sum(dim=-2) for group in rows.groups], dim=-2)
    wide = torch.stack([wide[..., list(group)].sum(dim=-1) for group in columns.groups], dim=-1)
    return wide.to(weight.dtype)


class PhasedConv(nn.Module):
    """conv3x3(upsample_nearest(x, r)) with ReLU, at the distinct positions, for maps (2-D) and volumes.

    In a volume (N, C, D, H, W) only H and W are upsampled, and the kernel is 3 along D.
    """

    def __init__(self, weight: Tensor, bias: Tensor, r: int) -> None:
        super().__init__()
        self.n = distinct(r)
        self.dims = weight.dim() - 2
        self.taps = list(product(source_taps(r), repeat=2))
        layout = torch.channels_last if self.dims == 2 else torch.channels_last_3d
        self.kernels = nn.ParameterList(
            nn.Parameter(merged(weight, *taps).contiguous(memory_format=layout), requires_grad=False)
            for taps in self.taps
        )
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, [D,] H, W) to (N, O, [D,] n H, n W), channels last in memory."""
        height, width = x.shape[-2:]
        padded = F.pad(x, (1, 1, 1, 1))
        n = self.n
        out: Tensor | None = None
        for i, (taps, kernel) in enumerate(zip(self.taps, self.kernels, strict=True)):
            window = padded
            for axis, t, size in ((-2, taps[0], height), (-1, taps[1], width)):
                window = window.narrow(axis, 1 + t.start, size + len(t.groups) - 1)
            if self.dims == 2:
                value = F.conv2d(window, kernel, self.bias).relu_()
            else:
                value = conv3d(window, kernel, self.bias, (1, 0, 0)).relu_()
            if out is None:
                shape = (x.shape[0], *x.shape[2:-2], height, n, width, n, value.shape[1])
                out = value.new_empty(shape)
            row, column = divmod(i, n)
            out.narrow(-4, row, 1).narrow(-2, column, 1).squeeze(-4).squeeze(-2).copy_(value.movedim(1, -1))
        assert out is not None
        return out.flatten(-3, -2).flatten(-4, -3).movedim(-1, 1)
