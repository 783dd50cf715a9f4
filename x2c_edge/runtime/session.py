"""From settings to a running loop: opens everything, in an order that fails early and cheaply."""

from __future__ import annotations

from collections.abc import Callable

from x2c_edge.backends.open import engines_for, open_backend
from x2c_edge.capture.base import Source
from x2c_edge.capture.images import Images
from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.capture.pacing import Paced
from x2c_edge.config import Settings
from x2c_edge.errors import BadArgumentError
from x2c_edge.face.detect import yunet_passes
from x2c_edge.face.follow import FaceFollower, FollowSettings
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.packs import open_pack
from x2c_edge.pipelines.calibration import CalibrationSettings
from x2c_edge.pipelines.neutral import Way, keeper_for
from x2c_edge.pipelines.people import people_of
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.retargeter import MotionSettings, Retargeter
from x2c_edge.runtime.gears import gears_of, open_pipeline
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.live import nothing_to_follow
from x2c_edge.runtime.steering import Outputs, Steering
from x2c_edge.runtime.telemetry import Snapshot
from x2c_edge.runtime.trace import Trace
from x2c_edge.runtime.vision import Vision

__all__ = ["Outputs", "Session"]


class Session(Steering):
    """Everything one run needs. ``run`` blocks; ``stop`` may be called from a signal handler."""

    def __init__(
        self, settings: Settings, outputs: Outputs, on_snapshot: Callable[[Snapshot], None] | None = None
    ) -> None:
        super().__init__(settings, outputs, on_snapshot)
        run = settings.run
        reference = Reference.load(settings.calibration.reference) if settings.calibration.reference else None
        self.pack = open_pack(run.pack)
        engines_for(run.backend, self.pack)  # engines that do not fit are found before any device opens
        people = people_of(self.pack)
        gears = gears_of(self.pack, run.pipeline)
        source = _source(settings, outputs.fast)
        self._pictures = isinstance(source, Images) and source.unrelated
        self.source = source if source.live or outputs.fast else Paced(source)
        try:
            # Before the network is loaded: a robot needs its time to answer, and goes to neutral meanwhile.
            self._open_links()
            backend = open_backend(
                run.backend,
                run.threads or None,
                bf16=run.precision == "bf16",
                pack=self.pack,
                per_step=outputs.per_step or outputs.trace is not None,
            )
            self.device = f"{backend.name} on {backend.device}"
            keep_face = any((outputs.save_video, outputs.record, outputs.monitor, outputs.foxglove))
            pipelines = {
                gear: open_pipeline(gear, self.pack, backend, settings.motion, keep_face) for gear in gears
            }
            top = pipelines[gears[0]]
            follower = FaceFollower(
                LANDMARK_IDS,
                FollowSettings(
                    crop_size=top.crop_size, crop_scale=top.crop_scale, lost_after=settings.face.lost_after
                ),
                yunet_passes(settings.face.detector) if settings.face.detector else None,
            )
            first = ("read",) if outputs.fast else ("queue",)
            names = dict.fromkeys(name for p in pipelines.values() for name in p.plan.names)
            book = LatencyBook((*first, "locate", *names))
            self._trace = Trace() if outputs.trace is not None else None
            calibration = settings.calibration
            # Pictures of their own are different people at different moments: nobody's neutral is learnt.
            way: Way = "average" if self._pictures and calibration.neutral == "auto" else calibration.neutral
            held = CalibrationSettings(calibration.seconds, calibration.timeout)
            self.vision = Vision(
                follower,
                pipelines,
                keeper_for(way, people, reference, held),
                # The paper's Eq. 6 to the letter has no gain of its own.
                Retargeter(
                    MotionSettings(dict(settings.motion.gain), settings.motion.mirror),
                    {} if way == "first-frame" else people.gain,
                ),
                book,
                self._trace,
                unrelated=self._pictures,
            )
            self.operator.recalibrate = self.vision.recalibrate
            facts = {"pack": self.pack.name, "pack_digest": self.pack.digest, "device": self.device}
            if self.page is not None:
                self.page.retune = self.vision.retune
            self._steer(self.vision, gears, book, generated="two-stage" in gears, facts=facts)
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
    capture = settings.capture
    spec = SourceSpec(
        camera=capture.camera,
        input=capture.input,
        width=capture.width,
        height=capture.height,
        fps=capture.fps,
        pixel_format=capture.format,
    )
    source = open_source(spec)
    if fast and source.live:
        source.close()
        raise BadArgumentError("--fast needs a file: a camera has only one speed; use --input FILE")
    return source
