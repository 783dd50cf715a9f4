"""Two-stage (X2CNet): the driver's motion moves the robot's own picture, and a net reads the controls off it.

Follows LivePortrait and the published live system (docs/spec/liveportrait.md sections 4 to 12).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from x2c_edge import _kernels
from x2c_edge.backends.base import Backend
from x2c_edge.packs import Pack
from x2c_edge.pipelines.motion_pipeline import MotionPipeline


class TwoStagePipeline(MotionPipeline):
    """After the motion path: tail, generator, resize, mapping."""

    name: ClassVar[str] = "two-stage"
    nets: ClassVar[tuple[str, ...]] = (
        "single_stage", "motion", "warping", "generator", "stitching", "mapping",
    )  # fmt: skip
    dense: ClassVar[str] = "warping"
    reader: ClassVar[str] = "mapping"

    def _make_own_buffers(self, pack: Pack, backend: Backend) -> None:
        """``moved`` is what G sees, ``picture`` what the mapping network sees."""
        warping, generator = pack.nets["warping"].config, pack.nets["generator"].config
        self._mapping_input = pack.nets["mapping"].picture
        picture = self._mapping_input.size
        zoom = 2 ** len(generator["up_widths"]) * int(generator["shuffle"])
        height, width = self.occlusion.shape[-2:]
        self.moved = backend.buffer((1, int(warping["out_channels"]), height, width), narrow=True)
        self._image = backend.buffer((1, 3, zoom * height, zoom * width), narrow=True)
        narrow = not pack.nets["mapping"].looks_twice
        self.picture = backend.buffer((1, 3, picture, picture), narrow=narrow)

    def _add_own_steps(self, pack: Pack, backend: Backend) -> None:
        nets, plan = pack.nets, self.plan
        maps = (self.warped, self.occlusion)
        plan.add("tail", backend.bind(nets["warping"], maps, self.moved, "tail"))
        plan.add("generator", backend.bind(nets["generator"], self.moved, self._image))
        plan.add("resize", self._resize)
        self._read = backend.bind(nets["mapping"], self.picture, self._raw)
        plan.add("mapping", self._infer)

    def _resize(self) -> None:
        _kernels.face_to_mapping(
            self._image[0],
            self.picture[0],
            resize="area" if self._mapping_input.resize == "area" else "bilinear",
            order=self._mapping_input.order,
            mean=self._mapping_input.mean,
            std=self._mapping_input.std,
            threads=self._threads,
            stream=self._stream,
        )

    def _robot_face(self) -> NDArray[np.uint8]:
        """(H, W, 3) 8-bit RGB, truncated as section 10 says."""
        image = self._backend.read(self._image[0]).astype(np.float32)
        picture = np.clip(image, 0.0, 1.0).transpose(1, 2, 0) * 255
        return np.ascontiguousarray(picture.astype(np.uint8))
