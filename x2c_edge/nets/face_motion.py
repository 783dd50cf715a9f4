"""M in the form of the single-stage network: a motion extractor for small pictures that looks twice.

It gives what ``motion_extractor`` gives (docs/spec/liveportrait.md section 4), so that all behind it is the
same, and starts from a single-stage net's weights: what that has learnt of people's faces is what M needs.
Scale, place and canonical keypoints are constants: the crop takes the first two out, and Eq. 6 the last.

The tracker has looked at the same face before it, and two nets that were trained apart are wrong in different
places: with ``opinions`` 2, ``exp`` is the mean of M's own and of what the tracker's controls mean. They are
wrong in more different places still when one of them sees the face's mirror image: ``mirrored``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from x2c_edge.controls import N_CONTROLS, NEUTRAL
from x2c_edge.nets.motion_extractor import RawMotion
from x2c_edge.nets.two_looks import TwoLooks, TwoLooksConfig

SHUT_BELOW: Final = 0.3  # a lid's control below which its part in ``exp`` falls faster


@dataclass(frozen=True, slots=True)
class FaceMotionConfig(TwoLooksConfig):
    """Sizes, from the pack's manifest. bins: of the angles' heads, 1 as they are degrees. opinions: 1, M's
    own, or 2, the tracker's as well. mirrored: whether it looks at the face's mirror image; its heads speak
    of the face itself."""

    keypoints: int = 21
    bins: int = 1
    opinions: int = 1
    mirrored: bool = False


class FaceMotion(TwoLooks):
    """Input (N, 3, S, S) RGB normalised as the manifest says, upright in the frame; with two opinions also
    the tracker's row (N, columns), which ends in 30 controls. Output ``RawMotion``.

    Angles are degrees (bins 1); t is 0, scale 1, kp the buffer ``kp`` (3K,), keypoint-major. Buffers of two
    opinions: ``meaning`` (30, 3K), what a unit of each control adds to ``exp``; ``falling`` (30,), how much
    more a lid has fallen when it is shut.
    """

    config: FaceMotionConfig
    kp: Tensor
    meaning: Tensor
    falling: Tensor
    neutral: Tensor

    def __init__(self, config: FaceMotionConfig) -> None:
        if config.bins != 1:
            raise ValueError(f"bins = {config.bins}: this motion extractor's angles are degrees, bins = 1")
        if config.opinions not in (1, 2):
            raise ValueError(f"opinions = {config.opinions}: there are 1, its own, or 2, the tracker's too")
        super().__init__(config)
        self.angles = nn.Linear(3 + config.hidden, 3)  # pitch, yaw, roll
        self.exp = nn.Linear(config.hidden, 3 * config.keypoints)
        self.register_buffer("kp", torch.zeros(3 * config.keypoints))
        if config.opinions == 2:
            self.register_buffer("meaning", torch.zeros(N_CONTROLS, 3 * config.keypoints))
            self.register_buffer("falling", torch.zeros(N_CONTROLS))
            neutral = torch.tensor(NEUTRAL, dtype=torch.float32)
            self.register_buffer("neutral", neutral, persistent=False)

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As ``TwoLooks``, of the picture that M looks at."""
        return super().embed(self.looked_at(x))

    def looked_at(self, x: Tensor) -> Tensor:
        """The picture (N, 3, S, S), or its mirror image."""
        return x.flip(3) if self.config.mirrored else x

    def read(self, face: Tensor, features: Tensor, row: Tensor | None = None) -> RawMotion:
        """What ``embed`` gave, and the tracker's row if it is heard, to the heads."""
        angles = self.turned(face, features)
        count = len(face)
        exp = self.exp(features).float()
        if self.config.opinions == 2:
            assert row is not None
            exp = 0.5 * (exp + self.meant(row[:, -N_CONTROLS:]))
        return RawMotion(
            pitch=angles[:, :1],
            yaw=angles[:, 1:2],
            roll=angles[:, 2:],
            t=face.new_zeros(count, 3),
            exp=exp,
            scale=face.new_ones(count, 1),
            kp=self.kp.float().expand(count, -1),
        )

    def turned(self, face: Tensor, features: Tensor) -> Tensor:
        """Pitch, yaw and roll (N, 3) from the trunk's own pose and everything else that was seen."""
        angles: Tensor = self.angles(torch.cat([face[:, -3:], features], dim=1))
        return angles.float()

    def meant(self, controls: Tensor) -> Tensor:
        """The ``exp`` (N, 3K) of controls (N, 30) in paper units."""
        shut = torch.clamp((SHUT_BELOW - controls) / SHUT_BELOW, 0.0, 1.0)
        return (controls - self.neutral - self.falling * shut) @ self.meaning

    def forward(self, image: Tensor, row: Tensor | None = None) -> RawMotion:
        """See the class."""
        face, features = self.embed(image)
        return self.read(face, features, row)
