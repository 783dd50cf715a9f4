"""X2CNet-S in the paper's form (appendix, Figure A1): the dense motion straight to the controls, no picture.

A dense motion network of its own (W's, with a thinner last map), then a predictor that reads four things:
how the target face's appearance features look once moved, the dense motion itself, what is hidden, and the
sparse motion that the dense one came from (the keypoints, exact where maps of a few dozen cells are not).
Features and keypoints where they were before belong to the pack's one picture, so they are constants here:
of the features what a convolution makes of them (``appearance``), the keypoints as they are (``still``).
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
    before. hidden: of the layer before the controls. sparse: of the layer that reads the keypoints."""

    side: int = 64
    widths: tuple[int, ...] = (64, 96, 128, 128)
    hidden: int = 256
    sparse: int = 256
    outputs: int = N_CONTROLS


class DirectNetwork(DenseMotionNetwork):
    """``predict`` is what comes behind ``warp_volume``; what comes before it is ``DenseMotionNetwork``'s."""

    still: Tensor

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
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(last * cells * cells, config.hidden))
        self.register_buffer("still", torch.zeros(1, config.keypoints, 3))
        self.sparse = nn.Sequential(
            nn.Flatten(),
            nn.Linear(3 * config.keypoints, config.sparse),
            nn.ReLU(inplace=True),
            nn.Linear(config.sparse, config.hidden),
        )
        self.controls = nn.Linear(config.hidden, config.outputs)

    def predict(self, warped: Tensor, occlusion: Tensor, deformation: Tensor, driving: Tensor) -> Tensor:
        """warped (N, channels * D, H, W), occlusion (N, 1, H, W), deformation (N, D, H, W, 3), driving
        keypoints (N, K, 3) to the controls (N, outputs), paper units."""
        grid = coordinate_grid(deformation.shape[1:4], deformation)
        shift = ((deformation - grid) / SHIFT_UNIT).movedim(4, 1).flatten(1, 2)
        x = torch.cat([warped * occlusion, shift.to(warped.dtype), occlusion], dim=1)
        x = self.hidden(self.rest(torch.relu(self.first(x) + self.appearance)))
        return self.said(x + self.moved(driving).to(x.dtype))

    def moved(self, driving: Tensor) -> Tensor:
        """What keypoints (N, K, 3) add to the last hidden layer (N, hidden)."""
        shift = (driving - self.still) / SHIFT_UNIT
        out: Tensor = self.sparse(shift.to(self.still.dtype))
        return out

    def said(self, hidden: Tensor) -> Tensor:
        """The controls (N, outputs) that the last hidden layer says."""
        out: Tensor = self.controls(torch.relu(hidden))
        return CONTROL_UNIT * out.float()
