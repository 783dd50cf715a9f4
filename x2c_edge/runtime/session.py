"""From settings to a running loop: opens everything, in an order that fails early and cheaply."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from x2c_edge.backends.base import Backend
from x2c_edge.backends.open import engines_for, open_backend
from x2c_edge.capture.base import Source
from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.capture.pacing import Paced
from x2c_edge.config import Motion, Safety, Settings
from x2c_edge.controls import GROUPS
from x2c_edge.errors import BadArgumentError, FaultError, NotFoundError
from x2c_edge.face.detect import yunet_passes
from x2c_edge.face.follow import FaceFollower, FollowSettings
from x2c_edge.links.base import Link
from x2c_edge.links.registry import make_link
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.packs import Pack, open_pack
from x2c_edge.pipelines.base import Pipeline
from x2c_edge.pipelines.reference import CalibrationSettings, MotionSettings, Reference
from x2c_edge.runtime.fast import FastRun
from x2c_edge.runtime.governor import HOLD, Governor
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.live import LiveRun, nothing_to_follow
from x2c_edge.runtime.recorder import Recorder
from x2c_edge.runtime.telemetry import Snapshot
from x2c_edge.runtime.trace import Trace
from x2c_edge.runtime.vision import Vision
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.one_euro import OneEuroSettings, SmoothingSettings
from x2c_edge.safety.settings import SupervisorSettings
from x2c_edge.safety.supervisor import Supervisor

# Best first: what a pack must hold for a pipeline to be one of its gears.
PIPELINE_NETS: Final = (("two-stage", "generator"), ("single-stage", "single_stage"))


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run writes besides its links, and when it ends by itself."""

    fast: bool = False
    save_video: Path | None = None
    save_reference: Path | None = None
    trace: Path | None = None
    per_step: bool = False  # a GPU times every step by itself, as it does for a trace
    duration_s: float | None = None
    max_frames: int | None = None
    later: tuple[Path | None, ...] = ()  # what the caller writes afterwards; checked before anything starts


class Session:
    """Everything one run needs. ``run`` blocks; ``stop`` may be called from a signal handler."""

    def __init__(
        self, settings: Settings, outputs: Outputs, on_snapshot: Callable[[Snapshot], None] | None = None
    ) -> None:
        self._outputs = outputs
        for path in (outputs.trace, outputs.save_reference, *outputs.later):
            _require_writable(path)
        run = settings.run
        self.supervisor = _supervisor(settings.safety)
        links = [make_link(uri, rate_hz=run.rate, lossless=outputs.fast) for uri in (run.link or ("null:",))]
        reference = Reference.load(settings.calibration.reference) if settings.calibration.reference else None
        self.pack = open_pack(run.pack)
        engines_for(run.backend, self.pack)  # engines that do not fit are found before any device opens
        gears = _gears(self.pack, run.pipeline)
        self.source = _source(settings, outputs.fast)
        self._links: list[Link] = []
        self._recorder: Recorder | None = None
        try:
            # Before the network is loaded: a robot needs its time to answer, and goes to neutral meanwhile.
            for link in links:
                link.open()
                self._links.append(link)
            backend = open_backend(
                run.backend,
                run.threads or None,
                bf16=run.precision == "bf16",
                pack=self.pack,
                per_step=outputs.per_step or outputs.trace is not None,
            )
            self.device = f"{backend.name} on {backend.device}"
            pipelines = {
                gear: _pipeline(gear, self.pack, backend, settings.motion, outputs.save_video is not None)
                for gear in gears
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
            self.book = LatencyBook((*first, "locate", *names))
            self._trace = Trace() if outputs.trace is not None else None
            self.vision = Vision(
                follower,
                pipelines,
                MotionSettings(dict(settings.motion.gain), settings.motion.mirror),
                CalibrationSettings(settings.calibration.seconds, settings.calibration.timeout),
                self.book,
                self._trace,
                reference,
            )
            if outputs.save_video is not None:
                fps = self.source.nominal_fps or 30.0
                self._recorder = Recorder(
                    outputs.save_video, fps, lossless=outputs.fast, generated="two-stage" in gears
                )
        except BaseException:
            self._abandon()
            raise
        self._budget_ms = run.budget_ms
        budget_ns = round(run.budget_ms * 1e6)
        self.governor = Governor(gears, budget_ns, round(1e9 / run.rate))
        tell = None if on_snapshot is None else lambda: on_snapshot(self.snapshot())
        self.loop: LiveRun | FastRun
        if outputs.fast:
            self.loop = FastRun(
                self.source,
                self.vision,
                gears[0],
                self.supervisor,
                self._links,
                self.book,
                rate_hz=run.rate,
                recorder=self._recorder,
                on_telemetry=tell,
                duration_s=outputs.duration_s,
                max_frames=outputs.max_frames,
            )
        else:
            self.loop = LiveRun(
                self.source,
                self.vision,
                self.governor,
                self.supervisor,
                self._links,
                self.book,
                budget_ns=budget_ns,
                rate_hz=run.rate,
                recorder=self._recorder,
                on_telemetry=tell,
                duration_s=outputs.duration_s,
                max_frames=outputs.max_frames,
            )
        self._is_file = settings.capture.input is not None
        self._interrupted = False

    def stop(self) -> None:
        """Ease to neutral, then end ``run``."""
        self._interrupted = True
        self.loop.stop()

    def run(self) -> None:
        """NotFoundError when a file never showed a face; FaultError when the run ended in FAULT."""
        try:
            self.loop.run()
        finally:
            if self._recorder is not None:
                self._recorder.close()
            if self._trace is not None and self._outputs.trace is not None:
                self._trace.write(self._outputs.trace)
        if self._outputs.save_reference is not None and self.vision.reference is not None:
            self.vision.reference.save(self._outputs.save_reference)
        if self.supervisor.fault is not None:
            raise FaultError(
                f"the run ended in FAULT: {self.supervisor.fault}; see the link's and camera's state"
            )
        frames = self.source.status().frames
        if self._is_file and not self._interrupted and frames and not self.vision.with_face:
            raise nothing_to_follow(self.source, frames)

    def snapshot(self) -> Snapshot:
        """The run now; callable from any thread."""
        book, loop = self.book, self.loop
        p50, p99 = book.capture_to_wire.percentiles(50, 99)
        return Snapshot(
            elapsed_s=loop.elapsed_s,
            state=self.supervisor.state,
            reason=self.supervisor.reason,
            gear=self.governor.gear,
            calibration=self._advice(),
            frames=loop.processed,
            skipped=loop.skipped,
            with_face=self.vision.with_face,
            vision_fps=loop.recent_fps(),
            commands=self.supervisor.counters.commands,
            capture_to_wire_p50_ms=p50 / 1e6,
            capture_to_wire_p99_ms=p99 / 1e6,
            misses=book.misses,
            budget_ms=self._budget_ms,
            tick_jitter_p99_ms=book.tick_jitter.percentile(99) / 1e6,
            source=self.source.status(),
            links=tuple(link.status() for link in self._links),
        )

    def _advice(self) -> str:
        """What the person at the screen should do now; empty when all is well."""
        if self.governor.gear == HOLD and self.governor.shifts:
            return f"too slow: {self.governor.shifts[-1].why}; raise --budget-ms or give it more CPU"
        return self.loop.hint if self.vision.reference is None else ""

    def _abandon(self) -> None:
        self.source.close()
        for link in self._links:
            link.close(0.0)
        if self._recorder is not None:
            self._recorder.close()


def _require_writable(path: Path | None) -> None:
    """NotFoundError if a file could not be written there; found now rather than after the run."""
    if path is not None and not (
        path.parent.is_dir() and os.access(path.parent, os.W_OK) and not path.is_dir()
    ):
        raise NotFoundError(f"{path}: cannot be written; choose a file in a folder that exists and is yours")


def _gears(pack: Pack, pipeline: str) -> tuple[str, ...]:
    """The pipelines to use, best first."""
    available = [name for name, net in PIPELINE_NETS if net in pack.nets]
    if pipeline == "auto":
        return tuple(available)
    if pipeline not in available:
        raise NotFoundError(
            f"pack '{pack.name}' has no {pipeline} pipeline; it has {', '.join(available) or 'none'}"
        )
    return (pipeline,)


def _pipeline(gear: str, pack: Pack, backend: Backend, motion: Motion, keep_face: bool) -> Pipeline:
    if gear == "two-stage":
        from x2c_edge.pipelines.two_stage import TwoStagePipeline

        two_stage = TwoStagePipeline(pack, backend, multiplier=motion.multiplier)
        two_stage.keep_face = keep_face
        return two_stage
    from x2c_edge.pipelines.single_stage import SingleStagePipeline

    return SingleStagePipeline(pack, backend)


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
    if not fast:
        return source if source.live else Paced(source)
    if source.live:
        source.close()
        raise BadArgumentError("--fast needs a file: a camera has only one speed; use --input FILE")
    return source


def _supervisor(safety: Safety) -> Supervisor:
    envelope = Envelope()
    for name, limit in safety.limits.items():
        envelope = envelope.narrowed(name, low=limit.low, high=limit.high, slew=limit.slew)
    default = SmoothingSettings()
    filters = {group: getattr(default, group) for group in GROUPS}
    for group, f in safety.smoothing.items():
        filters[group] = OneEuroSettings(f.min_cutoff, f.beta, f.d_cutoff)
    return Supervisor(
        SupervisorSettings(
            hold_after=safety.hold_after, neutral_after=safety.neutral_after, ease=safety.ease
        ),
        envelope,
        SmoothingSettings(**filters),
    )
