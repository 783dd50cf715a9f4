"""Single-stage: one network from the human crop to controls, landmarks and pose."""

from __future__ import annotations

from x2c_edge.backends.base import Backend
from x2c_edge.frames import FaceCrop
from x2c_edge.packs import Pack
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.plan import Plan
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.tracker import Tracker


class SingleStagePipeline:
    """Steps: crop, net, decode."""

    name = "single-stage"

    def __init__(self, pack: Pack, backend: Backend, threads: int = 1) -> None:
        self._tracker = Tracker(pack, backend, threads)
        self.crop_size, self.crop_scale = self._tracker.crop_size, self._tracker.crop_scale
        self.plan = Plan(backend)
        self.plan.add("crop", self._tracker.sample)
        self.plan.add("net", self._tracker.infer)
        self.plan.add("decode", self._tracker.decode, host=True)

    def refer_to(self, reference: Reference | None) -> None:
        """Nothing to do: its measurements are absolute."""

    def glance(self, crop: FaceCrop) -> Measurement:
        """All that there is."""
        return self.measure(crop)

    def measure(self, crop: FaceCrop) -> Measurement:
        """Presence, landmarks, pose and controls of the face in ``crop``."""
        if self._tracker.show(crop):
            self.plan.forget()
        self.plan.run()
        return self._tracker.measurement
