"""A second look at the eyes and the mouth: patches of a face crop, cut where its landmarks put them.

An iris moves by a pixel or so, less than its place in the crop varies, and only becomes easy to read once
that is taken out. Points are in units of half crop sides from the crop's centre, x right, y down.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

EYE_SPAN: Final = 1.6  # width of an eye's patch in eye widths
MOUTH_SPAN: Final = 1.7  # width of the mouth's patch in distances between the eyes' centres


def conv_bn(cin: int, cout: int, kernel: int, stride: int, relu: bool = True) -> nn.Sequential:
    """Convolution without bias, "same" padding, batch norm and perhaps ReLU: foldable in place."""
    layers: list[nn.Module] = [
        nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(cout),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class PatchNet(nn.Module):
    """A small convolutional net on an aligned patch: (N, 3, H, W) to (N, hidden). size: width, height."""

    def __init__(self, widths: tuple[int, ...], size: tuple[int, int], hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn(3, widths[0], 3, 1)]
        for before, after in pairwise(widths):
            layers += [conv_bn(before, after, 3, 2), conv_bn(after, after, 3, 1)]
        self.convs = nn.Sequential(*layers)
        shrink = 2 ** (len(widths) - 1)
        cells = (size[0] // shrink) * (size[1] // shrink)
        self.out = nn.Sequential(nn.Linear(widths[-1] * cells, hidden), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.out(self.convs(x).flatten(1))
        return y


def unit_grid(width: int, height: int) -> Tensor:
    """(height, width, 2) patch coordinates: x from -1 to 1, y on the same scale."""
    x = (torch.arange(width) * 2 + 1) / width - 1
    y = ((torch.arange(height) * 2 + 1) / height - 1) * (height / width)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)


def eye_patches(x: Tensor, right: Tensor, left: Tensor, grid: Tensor) -> Tensor:
    """The right eyes' patches, then the left eyes' (2N, 3, h, w). right, left: (N, 2, 2) corners, outer
    first. The left eye is cut mirrored (outer corner first), so that one net serves both."""
    # One below the other in one go: every operation on a few numbers costs an engine about as much.
    at = torch.cat([_places(*_span(right), grid), _places(*_span(left), grid)], dim=1)
    return torch.cat(cut(x, at).chunk(2, dim=2))


def mouth_patches(x: Tensor, right: Tensor, left: Tensor, lips: Tensor, grid: Tensor) -> Tensor:
    """(N, 3, h, w) round the lips' middle (N, 2), along the line between the eyes."""
    return cut(x, _places(lips, MOUTH_SPAN * (left.mean(1) - right.mean(1)), grid))


def _span(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Centre, and the vector from outer to inner corner stretched to the patch's width (N, 2) each."""
    outer, inner = corners[:, 0], corners[:, 1]
    return (outer + inner) / 2, EYE_SPAN * (inner - outer)


def _places(centre: Tensor, across: Tensor, grid: Tensor) -> Tensor:
    """Where the pixels of a patch are: (N, h, w, 2).

    centre: (N, 2). across: (N, 2), the patch's width as a vector along its x axis. The y axis is across
    turned clockwise in the picture if across points right (else mirrored), so that it always points to the
    chin.
    """
    half = across / 2
    down = torch.stack([-half[:, 1], half[:, 0]], dim=1)
    down = down * torch.sign(down[:, 1:]).detach()
    # Whole rows x0 y0 x1 y1 ... at once: a CPU engine is slow where the innermost axis has two numbers. No
    # matrix product either: in half precision it would lose the places.
    count, width = len(centre), grid.shape[1]
    centre, half, down = (
        v[:, None].expand(count, width, 2).reshape(count, 1, -1) for v in (centre, half, down)
    )
    along = grid[0, :, :1].expand(width, 2).flatten()
    at = centre + along * half + grid[:, 0, 1:] * down
    return at.reshape(count, -1, width, 2)


def cut(x: Tensor, at: Tensor) -> Tensor:
    """Patches (N, 3, h, w) of x (N, 3, S, S) at places (N, h, w, 2), bilinear, zero outside."""
    patches = nn.functional.grid_sample(x, at.to(x.dtype), mode="bilinear", align_corners=False)
    return patches.contiguous(memory_format=torch.channels_last)
