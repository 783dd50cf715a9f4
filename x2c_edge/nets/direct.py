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
from torch.nn import functional as F  # noqa: N812

from x2c_edge.controls import N_CONTROLS
from x2c_edge.nets.second_look import conv_bn
from x2c_edge.nets.warping import DenseMotionConfig, DenseMotionNetwork, coordinate_grid

CONTROL_UNIT = 0.25  # of the last layer
SHIFT_UNIT = 0.1  # of the dense motion: a twentieth of the picture
FLOW_SIDE = 16  # of the map of the dense motion that is read as a whole


@dataclass(frozen=True, slots=True)
class DirectConfig(DenseMotionConfig):
    """Sizes. side: of the volume's planes. widths: of the predictor's maps, each half as large as the one
    before. flow: features read off the dense motion alone. hidden: of the layer before the controls."""

    side: int = 64
    widths: tuple[int, ...] = (64, 96, 128, 128)
    flow: int = 128
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
        plane = min(config.side, FLOW_SIDE)
        self.flow = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * config.depth * plane * plane, config.flow), nn.ReLU(inplace=True)
        )
        self.hidden = nn.Sequential(
            nn.Linear(last * cells * cells + config.flow, config.hidden), nn.ReLU(inplace=True)
        )
        self.controls = nn.Linear(config.hidden, config.outputs)

    def predict(self, warped: Tensor, occlusion: Tensor, deformation: Tensor) -> Tensor:
        """warped (N, channels * D, H, W), occlusion (N, 1, H, W), deformation (N, D, H, W, 3) to the controls
        (N, outputs), paper units."""
        grid = coordinate_grid(deformation.shape[1:4], deformation)
        shift = ((deformation - grid) / SHIFT_UNIT).movedim(4, 1).flatten(1, 2).to(warped.dtype)
        x = torch.cat([warped * occlusion, shift, occlusion], dim=1)
        x = self.rest(torch.relu(self.first(x) + self.appearance))
        # Where the motion goes is known to a tenth of a pixel, which strided maps lose.
        flow = self.flow(F.avg_pool2d(shift, max(1, self.config.side // FLOW_SIDE)))
        out: Tensor = self.controls(self.hidden(torch.cat([x.flatten(1), flow], dim=1)))
        return CONTROL_UNIT * out.float()
