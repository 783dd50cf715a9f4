"""Direct (X2CNet-S, the paper's Figure A1): the motion path, and the controls from its warped features."""

from __future__ import annotations

from typing import ClassVar

from x2c_edge.backends.base import Backend
from x2c_edge.packs import Pack
from x2c_edge.pipelines.motion_pipeline import MotionPipeline


class DirectPipeline(MotionPipeline):
    """After the motion path: predict. Tail, generator, resize and mapping are what it does without."""

    name: ClassVar[str] = "direct"
    nets: ClassVar[tuple[str, ...]] = ("single_stage", "motion", "stitching", "direct")
    dense: ClassVar[str] = "direct"
    reader: ClassVar[str] = "direct"

    def _make_own_buffers(self, pack: Pack, backend: Backend) -> None:
        self.deformation = backend.buffer((*self._logits.shape[2:], 3))

    def _add_own_steps(self, pack: Pack, backend: Backend) -> None:
        assert self.deformation is not None
        dense, sparse = (motion.reshape(1, *motion.shape) for motion in (self.deformation, self.kp_driving))
        seen = (self.warped, self.occlusion, dense, sparse)
        self._read = backend.bind(pack.nets["direct"], seen, self._raw)
        self.plan.add("predict", self._infer)
