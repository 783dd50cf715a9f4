"""The two-stage system with the published arithmetic, written plainly in torch ops: the yardstick.

No rewrites: coordinate grids as tensors, the volume repeated for every keypoint, grid_sample, softmax and
sum, batch norms beside their convolutions, spectral norms divided out on every frame, modulation at full
resolution. float32 (docs/spec/liveportrait.md sections 4 to 12). The nets are those of ``x2c_edge.nets``,
whose ``forward`` is written that way.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from x2c_edge.controls import from_robot
from x2c_edge.nets import keypoints
from x2c_edge.nets.layers import SpectralConv2d
from x2c_edge.packs import NetInput

STEPS = (
    "motion", "keypoints", "stitch", "volume", "dense motion", "warp", "tail", "generator", "resize",
    "mapping", "decode",
)  # fmt: skip


class _SpectralConv(nn.Module):
    """As torch's own spectral norm does it in eval mode: divided out in float32 at every call."""

    def __init__(self, conv: SpectralConv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        c = self.conv
        sigma = torch.dot(c.weight_u, torch.mv(c.weight_orig.flatten(1), c.weight_v))
        return F.conv2d(x, c.weight_orig / sigma, c.bias, padding=c.weight_orig.shape[-1] // 2)


class PlainTwoStage:
    """nets: ``appearance motion warping generator stitching mapping``, unfolded. picture: RGB, 8 bits.

    Call ``refer_to`` with the driver's neutral, then ``measure`` with each face; both are (1, 3, S, S) RGB
    in 0..1. ``steps`` are the parts of ``measure`` by name, in order.
    """

    def __init__(self, nets: Mapping[str, nn.Module], picture: np.ndarray, mapping_input: NetInput) -> None:
        self.nets = nets
        for parent in list(nets["generator"].modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, SpectralConv2d):
                    setattr(parent, name, _SpectralConv(child))
        self._input = mapping_input
        with torch.inference_mode():
            image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
            self._feature = nets["appearance"](image)
            self._source = self._motion(image)
        self._x_source = keypoints.transformed(self._source)
        self.steps = {name: getattr(self, f"_{name.replace(' ', '_')}_step") for name in STEPS}

    def refer_to(self, face: Tensor) -> None:
        with torch.inference_mode():
            self._reference = self._motion(face)
        self._x_reference = keypoints.transformed(
            keypoints.relative_motion(self._source, self._reference, self._reference)
        )

    def measure(self, face: Tensor) -> np.ndarray:
        """The 30 controls, paper units."""
        self.face = face
        for step in self.steps.values():
            step()
        return self.controls

    def _motion(self, image: Tensor) -> keypoints.Motion:
        heads = self.nets["motion"](image)
        return keypoints.motion_from_heads(**{k: v.numpy() for k, v in heads._asdict().items()})

    def _motion_step(self) -> None:
        with torch.inference_mode():
            self._current = self._motion(self.face)

    def _keypoints_step(self) -> None:
        moved = keypoints.relative_motion(self._source, self._current, self._reference)
        self._driving = keypoints.driving_keypoints(
            self._x_source, keypoints.transformed(moved), self._x_reference, 1.0
        )

    def _stitch_step(self) -> None:
        with torch.inference_mode():
            row = torch.from_numpy(keypoints.stitching_input(self._x_source, self._driving))
            delta = self.nets["stitching"](row).numpy()
        stitched = keypoints.stitched(self._driving, delta)
        self._points = torch.from_numpy(stitched), torch.from_numpy(self._x_source)

    def _volume_step(self) -> None:
        with torch.inference_mode():
            net = self.nets["warping"]
            self._front = net.front_end(net.compress(self._feature), *self._points)

    def _dense_motion_step(self) -> None:
        with torch.inference_mode():
            net = self.nets["warping"]
            hidden = net.hourglass(self._front)
            self._logits, self._occlusion = net.mask_logits(hidden), net.occlusion_map(hidden)

    def _warp_step(self) -> None:
        with torch.inference_mode():
            net = self.nets["warping"]
            self._warped = net.warp(self._feature, net.deformation(self._logits, *self._points))

    def _tail_step(self) -> None:
        with torch.inference_mode():
            self._moved = self.nets["warping"].tail(self._warped, self._occlusion)

    def _generator_step(self) -> None:
        with torch.inference_mode():
            self.image = self.nets["generator"](self._moved)

    def _resize_step(self) -> None:
        size, facts = self._input.size, self._input
        with torch.inference_mode():
            if facts.resize == "area":
                small = self._area(size)
            else:
                small = F.interpolate(
                    self.image, (size, size), mode="bilinear", align_corners=False, antialias=True
                )
            if facts.order == "BGR":
                small = small.flip(1)
            mean, std = (torch.tensor(v)[:, None, None] for v in (facts.mean, facts.std))
            self._picture = (small - mean) / std

    def _area(self, size: int) -> Tensor:
        picture = self.image[0].permute(1, 2, 0).numpy()
        small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(small).permute(2, 0, 1)[None]

    def _mapping_step(self) -> None:
        with torch.inference_mode():
            self._raw = self.nets["mapping"](self._picture)

    def _decode_step(self) -> None:
        self.controls = from_robot(self._raw[0].numpy())
