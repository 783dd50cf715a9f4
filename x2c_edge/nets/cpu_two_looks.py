"""Nets that look twice as the CPU's engine runs them: patches are placed by two small matrix products.

What ``second_look`` computes point by point is linear in the landmarks, but for one sign. Every operation on
a few numbers costs the engine about as much as a small convolution, and placing the patches took ninety.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from x2c_edge.nets.second_look import EYE_SPAN, MOUTH_SPAN, cut
from x2c_edge.nets.two_looks import LEFT_CORNERS, LIPS, RIGHT_CORNERS, TwoLooks

_FRAME: Final = 6  # of a patch: its centre, half of it across, half of it down; x and y each


class CpuTwoLooks(nn.Module):
    """As ``TwoLooks.embed``, for one picture (1, 3, S, S); equal up to rounding."""

    def __init__(self, net: TwoLooks) -> None:
        super().__init__()
        self.net = net
        frames, signs, ones = _frames_of_landmarks(net.config.landmarks)
        used = frames.any(dim=1).nonzero()[:, 0]
        self.register_buffer("columns", 1 + used)  # of the face's row, which begins with the presence
        self.register_buffer("to_frames", torch.cat([frames, signs], dim=1)[used])
        self.register_buffer("ones", torch.cat([torch.zeros_like(ones), ones]))
        for name, size in (("eye", net.config.eye_patch), ("mouth", net.config.mouth_patch)):
            along, below = _rows_of_frame(*size)
            self.register_buffer(f"{name}_along", along)
            self.register_buffer(f"{name}_below", below)

    columns: Tensor
    to_frames: Tensor
    ones: Tensor
    eye_along: Tensor
    eye_below: Tensor
    mouth_along: Tensor
    mouth_below: Tensor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 1 + 2L + 3) and (1, hidden)."""
        net = self.net
        hidden = net.features(net.trunk(x))
        face = net.face(hidden)
        frames, signs = torch.addmm(self.ones, face.index_select(1, self.columns), self.to_frames).chunk(
            2, dim=1
        )
        right, left, mouth = (frames * torch.sign(signs)).reshape(3, _FRAME).chunk(3)
        height = len(self.eye_below)
        at = _places(torch.cat([right, left]), self.eye_along, self.eye_below)
        eyes = torch.cat(cut(x, at.reshape(1, 2 * height, -1, 2)).chunk(2, dim=2))
        at = _places(mouth, self.mouth_along, self.mouth_below)
        lips = cut(x, at.reshape(1, len(self.mouth_below), -1, 2))
        looks = [hidden, net.eye(eyes).reshape(1, -1), net.mouth(lips)]
        return face, net.mixed(torch.cat(looks, dim=1))


def _places(frames: Tensor, along: Tensor, below: Tensor) -> Tensor:
    """Where the pixels of patches are, (P, H, 2W). frames: (P, 6). along: (6, 4W). below: (H, 1)."""
    middle, down = (frames @ along).reshape(len(frames), 1, -1).chunk(2, dim=2)
    return middle + below * down


def _frames_of_landmarks(landmarks: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two matrices (2L, 18) and a row (18,).

    A row of landmarks (1, 2L) times the first gives the frames of the right eye, the left and the mouth,
    with "down" across turned clockwise in the picture. The second with the row added gives numbers whose
    signs, taken times that, point every "down" to the chin, as ``second_look`` has it.
    """
    frames, signs = torch.zeros(2 * landmarks, 3 * _FRAME), torch.zeros(2 * landmarks, 3 * _FRAME)
    centres: dict[str, dict[int, float]] = {
        "right": dict.fromkeys(RIGHT_CORNERS, 0.5),
        "left": dict.fromkeys(LEFT_CORNERS, 0.5),
        "lips": dict.fromkeys(LIPS, 1 / len(LIPS)),
    }
    halves = [
        {inner: EYE_SPAN / 2, outer: -EYE_SPAN / 2} for outer, inner in (RIGHT_CORNERS, LEFT_CORNERS)
    ] + [dict.fromkeys(LEFT_CORNERS, MOUTH_SPAN / 4) | dict.fromkeys(RIGHT_CORNERS, -MOUTH_SPAN / 4)]
    for patch, (centre, half) in enumerate(zip(centres.values(), halves, strict=True)):
        first = patch * _FRAME
        for point, share in centre.items():
            frames[2 * point, first] = frames[2 * point + 1, first + 1] = share
        for point, share in half.items():
            frames[2 * point, first + 2] = frames[2 * point + 1, first + 3] = share
            frames[2 * point + 1, first + 4] = -share
            frames[2 * point, first + 5] = share
            signs[2 * point, first + 4] = signs[2 * point, first + 5] = share
    ones = torch.ones(3 * _FRAME)
    ones[signs.any(dim=0)] = 0.0
    return frames, signs, ones


def _rows_of_frame(width: int, height: int) -> tuple[Tensor, Tensor]:
    """A matrix (6, 4W) from a frame to its middle row x0 y0 x1 y1 ... and to its "down" as often; and how
    much of "down" belongs to each row (H, 1)."""
    along = torch.zeros(_FRAME, 4 * width)
    across = (torch.arange(width) * 2 + 1) / width - 1
    for axis in range(2):
        middle, down = along[:, axis : 2 * width : 2], along[:, 2 * width + axis :: 2]
        middle[axis], middle[2 + axis], down[4 + axis] = 1.0, across, 1.0
    below = ((torch.arange(height) * 2 + 1) / height - 1) * (height / width)
    return along, below[:, None]
