"""M in the form of the single-stage network: a motion extractor for small pictures that looks twice.

It gives what ``motion_extractor`` gives (docs/spec/liveportrait.md section 4), so that all behind it is the
same, and starts from a single-stage net's weights: what that has learnt of people's faces is what M needs.
Scale, place and canonical keypoints are constants: the crop takes the first two out, and Eq. 6 the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from x2c_edge.nets.motion_extractor import RawMotion
from x2c_edge.nets.two_looks import TwoLooks, TwoLooksConfig


@dataclass(frozen=True, slots=True)
class FaceMotionConfig(TwoLooksConfig):
    """Sizes, from the pack's manifest. bins: of the angles' heads, 1 as they are degrees."""

    keypoints: int = 21
    bins: int = 1


class FaceMotion(TwoLooks):
    """Input (N, 3, S, S) RGB normalised as the manifest says, upright in the frame. Output ``RawMotion``.

    Angles are degrees (bins 1); t is 0, scale 1, kp the buffer ``kp`` (3K,), keypoint-major.
    """

    config: FaceMotionConfig
    kp: Tensor

    def __init__(self, config: FaceMotionConfig) -> None:
        if config.bins != 1:
            raise ValueError(f"bins = {config.bins}: this motion extractor's angles are degrees, bins = 1")
        super().__init__(config)
        self.angles = nn.Linear(3 + config.hidden, 3)  # pitch, yaw, roll
        self.exp = nn.Linear(config.hidden, 3 * config.keypoints)
        self.register_buffer("kp", torch.zeros(3 * config.keypoints))

    def read(self, face: Tensor, features: Tensor) -> RawMotion:
        """What ``embed`` gave to the heads."""
        angles = self.turned(face, features)
        count = len(face)
        return RawMotion(
            pitch=angles[:, :1],
            yaw=angles[:, 1:2],
            roll=angles[:, 2:],
            t=face.new_zeros(count, 3),
            exp=self.exp(features).float(),
            scale=face.new_ones(count, 1),
            kp=self.kp.float().expand(count, -1),
        )

    def turned(self, face: Tensor, features: Tensor) -> Tensor:
        """Pitch, yaw and roll (N, 3) from the trunk's own pose and everything else that was seen."""
        angles: Tensor = self.angles(torch.cat([face[:, -3:], features], dim=1))
        return angles.float()

    def forward(self, image: Tensor) -> RawMotion:
        """See the class."""
        return self.read(*self.embed(image))
