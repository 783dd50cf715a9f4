"""A feature extractor of the mapping network that looks twice: at the picture, then at eyes and mouth.

Not one of the paper's. In a small picture a lid or a lip moves by a pixel or two, less than the head's turn
moves it; once the place is taken out (``second_look``), a small net reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from x2c_edge.nets.second_look import PatchNet, eye_patches, mouth_patches, unit_grid
from x2c_edge.nets.trunks import ResNetConfig

BROW_SPAN = 1.4  # an eye's patch here is so much wider than ``second_look``'s: the brow is read in it, too


@dataclass(frozen=True, slots=True)
class LookTwiceConfig:
    """A ResNet on the whole picture, side ``picture``, and small nets on patches (width, height)."""

    picture: int = 128
    stem: int = 16
    widths: tuple[int, ...] = (16, 32, 64, 64)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    pool: int = 4
    patch_widths: tuple[int, ...] = (16, 32, 48, 64)
    eye_patch: tuple[int, int] = (48, 48)
    mouth_patch: tuple[int, int] = (64, 56)
    patch_hidden: int = 80

    @property
    def first(self) -> ResNetConfig:
        """What looks at the whole picture."""
        return ResNetConfig(self.stem, self.widths, self.blocks, self.pool)

    @property
    def features(self) -> int:
        """Length of the output."""
        return self.first.features + 3 * self.patch_hidden

    def build(self) -> LookTwiceTrunk:
        """(N, 3, picture, picture) to (N, features)."""
        return LookTwiceTrunk(self)


class LookTwiceTrunk(nn.Module):
    """See the module. Float32 pictures: the patches are cut from these pixels at float32 positions."""

    eye_grid: Tensor
    mouth_grid: Tensor

    def __init__(self, config: LookTwiceConfig) -> None:
        super().__init__()
        self.first = config.first.build()
        self.points = nn.Linear(config.first.features, 10)
        self.eye = PatchNet(config.patch_widths, config.eye_patch, config.patch_hidden)
        self.mouth = PatchNet(config.patch_widths, config.mouth_patch, config.patch_hidden)
        self.register_buffer("eye_grid", BROW_SPAN * unit_grid(*config.eye_patch))
        self.register_buffer("mouth_grid", unit_grid(*config.mouth_patch))

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features (N, features), and where it looked (N, 5, 2): each eye's outer and inner corner, the
        right one's first, and the mouth's middle, in half picture sides from the centre, x right, y down."""
        first = self.first(x).flatten(1)
        points = self.points(first).float().unflatten(1, (5, 2))
        at = points.detach()
        right, left, mouth = at[:, 0:2], at[:, 2:4], at[:, 4]
        eyes = self.eye(eye_patches(x, right, left, self.eye_grid))
        lips = self.mouth(mouth_patches(x, right, left, mouth, self.mouth_grid))
        n = x.shape[0]
        return torch.cat([first, eyes[:n], eyes[n:], lips], dim=1), points

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.read(x)[0]
