"""The single-stage network: one upright face crop to presence, landmarks, pose, controls."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from x2c_edge.controls import N_CONTROLS, NEUTRAL
from x2c_edge.nets.two_looks import TwoLooks, TwoLooksConfig

ANGLE_SCALE: Final = math.radians(15.0)  # the pose head's unit
CONTROL_SCALE: Final = 0.25  # the control head's unit


@dataclass(frozen=True, slots=True)
class SingleStageConfig(TwoLooksConfig):
    """Sizes, from the pack's manifest."""


class SingleStage(TwoLooks):
    """Input (N, 3, S, S) RGB normalised as the manifest says. Output (N, 1 + 2L + 3 + 30), float32.

    Columns, in this order:
      presence   1: logit
      landmarks  2L: x0 y0 x1 y1 ... in crop pixels from the crop's centre, divided by S/2
      pose       3: yaw, pitch, roll in radians, in the crop's axes
      controls  30: paper units, absolute (the person's own neutral not removed); the head and neck
                    columns stay at the robot's neutral here, the pose gives them
    """

    neutral: Tensor

    def __init__(self, config: SingleStageConfig) -> None:
        super().__init__(config)
        self.controls = nn.Linear(config.hidden, N_CONTROLS)
        self.register_buffer("neutral", torch.tensor(NEUTRAL, dtype=torch.float32), persistent=False)

    def read(self, face: Tensor, features: Tensor) -> Tensor:
        """What ``embed`` gave to the output row."""
        pose = face[:, -3:] * ANGLE_SCALE
        controls = self.neutral + CONTROL_SCALE * self.controls(features).float()
        return torch.cat([face[:, :-3], pose, controls], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(*self.embed(x))


def folded(net: SingleStage) -> SingleStage:
    """A copy in eval mode with every batch norm folded into its convolution (exact up to rounding)."""
    net = copy.deepcopy(net).eval()
    for module in list(net.modules()):
        if isinstance(module, nn.Sequential) and len(module) >= 2 and isinstance(module[1], nn.BatchNorm2d):
            conv, norm = module[0], module[1]
            assert isinstance(conv, nn.Conv2d)
            module[0] = torch.nn.utils.fusion.fuse_conv_bn_eval(conv, norm)
            module[1] = nn.Identity()
    return net
