"""A face crop seen twice: a trunk sees the whole of it, then small nets see the eyes and the mouth again.

Where these are the trunk says itself, by landmarks. A plain convolutional net: 3x3 convolutions run near peak
on CPUs and map onto any TensorRT version. Batch norms fold into the convolutions for inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from x2c_edge.nets.landmarks import LANDMARK_IDS, OUTER_LIPS
from x2c_edge.nets.second_look import PatchNet, conv_bn, eye_patches, mouth_patches, unit_grid

RIGHT_CORNERS: Final = [LANDMARK_IDS.index(i) for i in (33, 133)]  # outer, inner
LEFT_CORNERS: Final = [LANDMARK_IDS.index(i) for i in (263, 362)]
LIPS: Final = [LANDMARK_IDS.index(i) for i in OUTER_LIPS]

ConfigT = TypeVar("ConfigT", bound="TwoLooksConfig")


@dataclass(frozen=True, slots=True)
class TwoLooksConfig:
    """Sizes of the trunk and of the nets that look again; one entry a stage in ``widths`` and ``blocks``."""

    input_size: int = 128
    stem: int = 24
    widths: tuple[int, ...] = (48, 96, 192, 256)
    blocks: tuple[int, ...] = (1, 1, 1, 0)
    hidden: int = 256
    landmarks: int = len(LANDMARK_IDS)
    patch_widths: tuple[int, ...] = (16, 32, 64)
    eye_patch: tuple[int, int] = (48, 24)  # width, height
    mouth_patch: tuple[int, int] = (64, 48)
    patch_hidden: int = 96
    block_widths: tuple[int, ...] = ()  # inside a stage's residual blocks; none given: as wide as the stage

    @classmethod
    def from_manifest(cls: type[ConfigT], config: Mapping[str, Any]) -> ConfigT:
        """TypeError for a key that is not a size of this net, and for a size that no net can have."""
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        made = cls(**sizes)
        for item in fields(made):
            value, usual = getattr(made, item.name), item.default
            if isinstance(usual, bool) and isinstance(value, bool):
                continue
            numbers = value if isinstance(value, tuple) else (value,)
            least = 0 if item.name == "blocks" else 1
            if item.name == "block_widths" and value == ():
                continue
            if (
                isinstance(value, tuple) != isinstance(usual, tuple)
                or not numbers
                or not all(isinstance(n, int) and n >= least for n in numbers)
            ):
                raise TypeError(f"{item.name} = {value} is not a size such as {usual}")
        if len(made.block_widths) not in (0, len(made.widths)):
            raise TypeError("block_widths goes with widths, one for each, or is left out")
        if len(made.blocks) != len(made.widths) or len(made.eye_patch) != 2 or len(made.mouth_patch) != 2:
            raise TypeError("widths and blocks go in pairs, and a patch has a width and a height")
        return made


class _Residual(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1 = conv_bn(width, inner, 3, 1)
        self.conv2 = conv_bn(inner, width, 3, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.conv2(self.conv1(x)))


class TwoLooks(nn.Module):
    """Input (N, 3, S, S) RGB, normalised as the manifest says. What comes out is for a subclass to say.

    Without the second look at patches cut where the trunk's own landmarks put them (``second_look``), gaze
    has r 0.1 instead of 0.9.
    """

    def __init__(self, config: TwoLooksConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [conv_bn(3, config.stem, 5, 2)]
        width = config.stem
        inner_widths = config.block_widths or config.widths
        for next_width, inner, count in zip(config.widths, inner_widths, config.blocks, strict=True):
            layers.append(conv_bn(width, next_width, 3, 2))
            layers += [_Residual(next_width, inner) for _ in range(count)]
            width = next_width
        self.trunk = nn.Sequential(*layers)
        cells = config.input_size // 2 ** (1 + len(config.widths))
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(width * cells * cells, config.hidden), nn.ReLU(inplace=True)
        )
        self.face = nn.Linear(config.hidden, 1 + 2 * config.landmarks + 3)
        self.eye = PatchNet(config.patch_widths, config.eye_patch, config.patch_hidden)
        self.mouth = PatchNet(config.patch_widths, config.mouth_patch, config.patch_hidden)
        self.mixed = nn.Sequential(
            nn.Linear(config.hidden + 3 * config.patch_hidden, config.hidden), nn.ReLU(inplace=True)
        )
        for name, size in (("eye", config.eye_patch), ("mouth", config.mouth_patch)):
            self.register_buffer(f"{name}_grid", unit_grid(*size), persistent=False)
        # On the net's device: a CUDA graph cannot hold the copy that indexing with a list makes.
        for name, points in (("right", RIGHT_CORNERS), ("left", LEFT_CORNERS), ("lips", LIPS)):
            self.register_buffer(f"{name}_points", torch.tensor(points), persistent=False)

    eye_grid: Tensor
    mouth_grid: Tensor
    right_points: Tensor
    left_points: Tensor
    lips_points: Tensor

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Presence, landmarks and pose (N, 1 + 2L + 3), and the features (N, hidden) of the rest."""
        hidden = self.features(self.trunk(x))
        face = self.face(hidden).float()
        points = face[:, 1 : 1 + 2 * self.config.landmarks].detach().unflatten(1, (-1, 2))
        right, left, lips = (
            points.index_select(1, chosen)
            for chosen in (self.right_points, self.left_points, self.lips_points)
        )
        eyes = self.eye(eye_patches(x, right, left, self.eye_grid))
        mouth = self.mouth(mouth_patches(x, right, left, lips.mean(1), self.mouth_grid))
        n = x.shape[0]
        return face, self.mixed(torch.cat([hidden, eyes[:n], eyes[n:], mouth], dim=1))
