"""From settings to a running loop: opens everything, in an order that fails early and cheaply."""

from __future__ import annotations

from collections.abc import Callable

from x2c_edge.capture.base import Source
from x2c_edge.capture.images import Images
from x2c_edge.capture.open import open_source
from x2c_edge.capture.pacing import Paced
from x2c_edge.errors import BadArgumentError
from x2c_edge.runtime.build_vision import build_vision, choose, open_device
from x2c_edge.runtime.live import nothing_to_follow
from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.steering import Outputs, Steering
from x2c_edge.runtime.telemetry import Snapshot
from x2c_edge.runtime.trace import Trace

__all__ = ["Outputs", "Session"]


class Session(Steering):
    """Everything one run needs. ``run`` blocks; ``stop`` may be called from a signal handler."""

    def __init__(
        self, settings: Settings, outputs: Outputs, on_snapshot: Callable[[Snapshot], None] | None = None
    ) -> None:
        super().__init__(settings, outputs, on_snapshot)
        chosen = choose(settings)  # before anything opens
        self.pack = chosen.pack
        source = _source(settings, outputs.fast)
        pictures = isinstance(source, Images) and source.unrelated
        self.source = source if source.live or outputs.fast else Paced(source)
        try:
            # Before the network is loaded: a robot needs its time to answer, and goes to neutral meanwhile.
            self._open_links()
            per_step = outputs.per_step or outputs.trace is not None
            backend = open_device(settings, self.pack, per_step=per_step)
            self.device = f"{backend.name} on {backend.device}"
            self._trace = Trace() if outputs.trace is not None else None
            seeing = build_vision(
                settings,
                chosen,
                backend,
                stages=("read",) if outputs.fast else ("queue",),
                unrelated=pictures,
                keep_face=any((outputs.save_video, outputs.record, outputs.monitor, outputs.foxglove)),
                trace=self._trace,
            )
            self.vision = seeing.vision
            self.operator.recalibrate = self.vision.recalibrate
            facts = {"pack": self.pack.name, "pack_digest": self.pack.digest, "device": self.device}
            if self.page is not None:
                self.page.retune = self.vision.retune
            generated = "two-stage" in seeing.gears
            self._steer(self.vision, seeing.gears, seeing.book, generated=generated, facts=facts)
        except BaseException:
            self._abandon()
            raise
        self._is_file = settings.capture.input is not None
        self._interrupted = False

    def stop(self) -> None:
        """Ease to neutral, then end ``run``."""
        self._interrupted = True
        super().stop()

    def run(self) -> None:
        """As ``Steering.run``; also NotFoundError when a file never showed a face."""
        try:
            self._run_loop()
        finally:
            if self._trace is not None and self._outputs.trace is not None:
                self._trace.write(self._outputs.trace)
        if self._outputs.save_reference is not None and self.vision.reference is not None:
            self.vision.reference.save(self._outputs.save_reference)
        self._judge()
        frames = self.source.status().frames
        if self._is_file and not self._interrupted and frames and not self.vision.with_face:
            raise nothing_to_follow(self.source, frames, self.vision.advice)


def _source(settings: Settings, fast: bool) -> Source:
    source = open_source(settings.capture)
    if fast and source.live:
        source.close()
        raise BadArgumentError("--fast needs a file: a camera has only one speed; use --input FILE")
    return source
