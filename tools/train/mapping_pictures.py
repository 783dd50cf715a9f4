"""Pictures and controls as a mapping network takes them: reading, resizing, normalising, augmenting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from x2c_edge.packs import NetInput, Resize

_LUMA = (0.114, 0.587, 0.299)  # of B, G, R
_STATISTICS_FROM = 2000  # pictures, evenly spread


class Pairs(Protocol):
    """What ``tools.dataset.pair_dataset.PairDataset`` gives."""

    @property
    def controls(self) -> NDArray[np.float32]:
        """(N, 30), paper units."""

    def __len__(self) -> int: ...

    def image(self, i: int) -> NDArray[np.uint8]:
        """(H, W, 3) BGR."""


@dataclass(frozen=True)
class ArrayPairs:
    """Pairs in memory. images: (N, H, W, 3) uint8 BGR. controls: (N, 30) float32, paper units."""

    images: NDArray[np.uint8]
    controls: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def image(self, i: int) -> NDArray[np.uint8]:
        """(H, W, 3) BGR."""
        return self.images[i]


@dataclass(frozen=True)
class SomePairs:
    """Some rows of other pairs, in the order given."""

    pairs: Pairs
    rows: NDArray[np.int64]

    @property
    def controls(self) -> NDArray[np.float32]:
        return self.pairs.controls[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, i: int) -> NDArray[np.uint8]:
        """(H, W, 3) BGR."""
        return self.pairs.image(int(self.rows[i]))


def resized(image: NDArray[np.uint8], size: int, how: Resize = "area") -> NDArray[np.uint8]:
    """(H, W, 3) to (size, size, 3). "area" enlarges cubically, as the published code does."""
    if image.shape[:2] == (size, size):
        return image
    if how == "bilinear-antialias":
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        x = F.interpolate(x, (size, size), mode="bilinear", antialias=True).round().clamp(0, 255)
        return np.ascontiguousarray(x[0].permute(1, 2, 0).byte().numpy())
    area = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
    flag = area if how == "area" else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=flag), np.uint8)


def in_memory(pairs: Pairs, size: int) -> ArrayPairs:
    """The pairs, decoded and resized once."""
    images = np.empty((len(pairs), size, size, 3), np.uint8)
    for row in range(len(pairs)):
        images[row] = resized(pairs.image(row), size)
    return ArrayPairs(images, pairs.controls)


def spread(count: int, most: int | None) -> NDArray[np.int64]:
    """At most ``most`` positions out of ``count``, evenly spread, in order."""
    if most is None or most >= count:
        return np.arange(count)
    return np.arange(most) * count // most


def statistics(pairs: Pairs, size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of R, G, B in 0..1, from at most 2,000 evenly spread pictures."""
    rows = spread(len(pairs), _STATISTICS_FROM)
    total, squares = np.zeros(3), np.zeros(3)
    for row in rows:
        pixels = resized(pairs.image(int(row)), size).reshape(-1, 3)[:, ::-1].astype(np.float64) / 255
        total += pixels.mean(0)
        squares += (pixels**2).mean(0)
    mean = total / len(rows)
    deviation = np.sqrt(np.maximum(squares / len(rows) - mean**2, 1e-4))
    return tuple(float(round(v, 4)) for v in mean), tuple(float(round(v, 4)) for v in deviation)


def normalised(x: Tensor, picture: NetInput) -> Tensor:
    """(N, 3, S, S) B, G, R in 0..1 to what the net takes: channel order, mean, std; channels last."""
    if picture.order == "RGB":
        x = x.flip(1)
    mean, std = (x.new_tensor(v).reshape(1, 3, 1, 1) for v in (picture.mean, picture.std))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def from_bytes(images: Tensor) -> Tensor:
    """(N, S, S, 3) uint8 to (N, 3, S, S) float32 in 0..1."""
    return images.permute(0, 3, 1, 2).float() / 255


def augmented(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Modest changes that leave the face readable: (N, 3, S, S) B, G, R in 0..1, same shape back, and
    by how much what is in each picture was moved: (N, 2), half picture sides, x right, y down.

    Brightness, contrast and saturation by up to 20 % (the published jitter; its turn of the hue is left
    out), a shift by up to 1 % of the side (a larger one would hide what the neck does), blur on a third of
    the pictures, noise. ``generator`` is a CPU generator, so that all but the noise's digits is the same on
    every device.
    """
    n, _, size, _ = x.shape

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(n, *shape, generator=generator)).to(x.device)

    place = (torch.arange(size, device=x.device) * 2 + 1) / size - 1  # the picture is 2 wide here
    shift = draw(-0.02, 0.02, 2, 1, 1)
    grid = torch.stack(
        [(place + shift[:, 0]).expand(n, size, size), (place[:, None] + shift[:, 1]).expand(n, size, size)], 3
    )
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    some = torch.rand(n, generator=generator).lt(1 / 3).to(x.device)
    sharp = x[some]
    soft = F.avg_pool2d(sharp, 3, stride=1, padding=1, count_include_pad=False)
    x[some] = torch.lerp(sharp, soft, draw(0, 1, 1, 1, 1)[some])
    brightness, contrast, saturation = (draw(0.8, 1.2, 1, 1, 1) for _ in range(3))
    middle = x.mean((1, 2, 3), keepdim=True)
    x.mul_(brightness * contrast).add_(middle * brightness * (1 - contrast))
    b, g, r = (weight * channel for weight, channel in zip(_LUMA, x.split(1, 1), strict=True))
    x = torch.lerp(b + g + r, x, saturation)
    seed = int(torch.randint(1 << 62, (1,), generator=generator))
    noise = torch.randn(x.shape, device=x.device, generator=torch.Generator(x.device).manual_seed(seed))
    return x.addcmul_(noise, draw(0, 0.015, 1, 1, 1)).clamp_(0, 1), -shift.flatten(1)
