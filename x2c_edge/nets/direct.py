"""X2CNet-S in the paper's form (appendix, Figure A1): the dense motion straight to the controls, no picture.

A dense motion network of its own (W's, with a thinner last map), then a predictor that reads three things:
how the target face's appearance features look once moved, the dense motion itself, and what is hidden. The
features where they were before belong to the pack's one picture, so what a convolution makes of them is a
constant map here (``appearance``).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from x2c_edge.controls import N_CONTROLS
from x2c_edge.nets.second_look import conv_bn
from x2c_edge.nets.warping import DenseMotionConfig, DenseMotionNetwork, coordinate_grid

CONTROL_UNIT = 0.25  # of the last layer
SHIFT_UNIT = 0.1  # of the dense motion: a twentieth of the picture


@dataclass(frozen=True, slots=True)
class DirectConfig(DenseMotionConfig):
    """Sizes. side: of the volume's planes. widths: of the predictor's maps, each half as large as the one
    before. hidden: of the layer before the controls."""

    side: int = 64
    widths: tuple[int, ...] = (64, 96, 128, 128)
    hidden: int = 256
    outputs: int = N_CONTROLS


class DirectNetwork(DenseMotionNetwork):
    """``predict`` is what comes behind ``warp_volume``; what comes before it is ``DenseMotionNetwork``'s."""

    def __init__(self, config: DirectConfig | None = None) -> None:
        config = config or DirectConfig()
        super().__init__(config)
        self.config = config
        first, last, side = config.widths[0], config.widths[-1], config.side // 2
        inputs = config.channels * config.depth + 3 * config.depth + 1
        self.first = conv_bn(inputs, first, 3, 2, relu=False)
        self.appearance = nn.Parameter(torch.zeros(1, first, side, side))
        self.rest = nn.Sequential(*[conv_bn(a, b, 3, 2) for a, b in pairwise(config.widths)])
        cells = config.side >> len(config.widths)
        self.hidden = nn.Sequential(
            nn.Flatten(), nn.Linear(last * cells * cells, config.hidden), nn.ReLU(inplace=True)
        )
        self.controls = nn.Linear(config.hidden, config.outputs)

    def predict(self, warped: Tensor, occlusion: Tensor, deformation: Tensor) -> Tensor:
        """warped (N, channels * D, H, W), occlusion (N, 1, H, W), deformation (N, D, H, W, 3) to the controls
        (N, outputs), paper units."""
        grid = coordinate_grid(deformation.shape[1:4], deformation)
        shift = ((deformation - grid) / SHIFT_UNIT).movedim(4, 1).flatten(1, 2)
        x = torch.cat([warped * occlusion, shift.to(warped.dtype), occlusion], dim=1)
        x = self.rest(torch.relu(self.first(x) + self.appearance))
        out: Tensor = self.controls(self.hidden(x))
        return CONTROL_UNIT * out.float()
