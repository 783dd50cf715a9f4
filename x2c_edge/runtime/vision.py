"""Frame in, what was seen out: locate, measure, follow, compare with the neutral, express."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter_ns
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import GROUPS, Group
from x2c_edge.face.follow import FaceFollower
from x2c_edge.frames import Expression, FaceCrop, Frame
from x2c_edge.pipelines.base import Pipeline
from x2c_edge.pipelines.neutral import Keeper
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.retargeter import MotionSettings, Retargeter
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.trace import Trace

NO_FACE: Final = "no face in view"


@dataclass(frozen=True, slots=True)
class Sight:
    """What vision made of one frame. ``expression`` is None without a face or a reference."""

    frame: Frame
    crop: FaceCrop | None
    landmarks: NDArray[np.float64] | None
    expression: Expression | None
    has_reference: bool
    hint: str
    total_ns: int  # from taking the frame to this
    steps_ns: int  # the part of it inside named steps
    acquired: bool = False  # the face was found in this frame: its time says nothing about the next
    robot_face: NDArray[np.uint8] | None = None  # (H, W, 3) RGB, when the pipeline makes one and was asked


class Eyes(Protocol):
    """What the loops need of vision."""

    with_face: int  # frames with a face so far

    @property
    def has_reference(self) -> bool:
        """Whether the driver's neutral is known."""

    @property
    def neutral(self) -> str:
        """Which neutral is in use and how sure it is; empty when it is not ours to say."""

    def process(self, frame: Frame, gear: str) -> Sight:
        """Run the pipeline called ``gear`` on the face in ``frame``."""


class Vision:
    """One thread's work. Not thread-safe, except ``recalibrate`` and ``retune``."""

    def __init__(
        self,
        follower: FaceFollower,
        pipelines: dict[str, Pipeline],
        keeper: Keeper,
        retargeter: Retargeter,
        book: LatencyBook,
        trace: Trace | None = None,
        *,
        unrelated: bool = False,
    ) -> None:
        """unrelated: the frames are pictures of their own; nothing is followed from one to the next."""
        self._follower = follower
        self._pipelines = pipelines
        self._keeper = keeper
        self._retargeter = retargeter
        self._book = book
        self._trace = trace
        self._unrelated = unrelated
        self._picture: NDArray[np.uint8] | None = None
        self._anchor: Reference | None = None
        self._refer()
        self._recalibrate = False
        self._retune: MotionSettings | None = None
        self._steps_ns = 0
        self.with_face = 0

    @property
    def reference(self) -> Reference | None:
        """The driver at rest, as far as is known."""
        neutral = self._keeper.neutral
        return neutral.rest if neutral is not None else None

    @property
    def neutral(self) -> str:
        """Which neutral is in use and how sure it is."""
        return self._keeper.says

    @property
    def has_reference(self) -> bool:
        return self._keeper.neutral is not None

    @property
    def advice(self) -> str:
        """What to change so that the face can be seen; empty when nothing is known to be wrong."""
        return self._follower.advice

    def recalibrate(self) -> None:
        """Take the driver's neutral anew, from the next frame on."""
        self._recalibrate = True

    def retune(self, gain: dict[str, float], mirror: bool) -> None:
        """Other gains and mirror, from the next frame on."""
        groups: dict[Group, float] = {group: gain.get(group, 1.0) for group in GROUPS}
        self._retune = MotionSettings(groups, mirror)

    def process(self, frame: Frame, gear: str) -> Sight:
        """Run the pipeline called ``gear`` on the face in ``frame``."""
        if self._retune is not None:
            self._retargeter.tune(self._retune)
            self._retune = None
        if self._recalibrate:
            self._recalibrate = False
            self._keeper.retake()
            self._refer()
        if self._unrelated and frame.image is not self._picture:
            self._follower.reset()
            self._retargeter.forget()
            self._picture = frame.image
        start = perf_counter_ns()
        crop = self._follower.locate(frame)
        self._steps_ns = perf_counter_ns() - start
        self._book.stage("locate").add(self._steps_ns)
        if crop is None:
            return self._sight(start, frame, None)
        # A reference serves every gear if the two-stage one takes it.
        used = gear if self.has_reference else next(iter(self._pipelines))
        pipeline = self._pipelines[used]
        # A detector's box is rough: a glance, then again where the landmarks say the face is.
        m = pipeline.measure(crop) if self._follower.following else pipeline.glance(crop)
        self._account(pipeline)
        if not self._follower.update(crop, m.landmarks, m.presence):
            return self._sight(start, frame, crop)
        acquired = self._follower.needs_refine
        if acquired:
            crop = self._follower.locate(frame) or crop
            m = pipeline.measure(crop)
            self._account(pipeline)
            if not self._follower.update(crop, m.landmarks, m.presence):
                return self._sight(start, frame, crop)
        self.with_face += 1
        self._keeper.see(frame.t_capture_ns, m)
        neutral = self._keeper.neutral
        if neutral is not None and m.relative:  # what it was measured from, before that may change
            neutral = replace(neutral, anchor=self._anchor)
        begins = self._anchor is None
        begins = self._refer() and begins and m.motion is not None
        if begins:  # its motion now has something to start from
            m = pipeline.measure(crop)
            self._account(pipeline)
            neutral = self._keeper.neutral
        expression = None
        if neutral is not None:
            at_ns = frame.t_capture_ns
            expression = self._retargeter.expression(m, neutral, frame.seq, at_ns, pipeline.name)
        one_off = acquired or begins or used != gear
        return self._sight(start, frame, crop, m.landmarks, expression, one_off, m.robot_face)

    def _refer(self) -> bool:
        """Tell every pipeline what motion starts from; whether that is another face than before.

        UserError if one of them cannot use it.
        """
        neutral = self._keeper.neutral
        anchor = neutral.anchor if neutral is not None else None
        if anchor is self._anchor:
            return False
        for pipeline in self._pipelines.values():
            pipeline.refer_to(anchor)
        self._anchor = anchor
        return True

    def _sight(
        self,
        start: int,
        frame: Frame,
        crop: FaceCrop | None,
        landmarks: NDArray[np.float64] | None = None,
        expression: Expression | None = None,
        acquired: bool = False,
        robot_face: NDArray[np.uint8] | None = None,
    ) -> Sight:
        if landmarks is None:
            self._keeper.face_lost()
        hint = self._keeper.hint
        if landmarks is None and self.has_reference:
            hint = NO_FACE
        hint = self._follower.advice or hint
        done = perf_counter_ns()
        if self._trace is not None:
            self._trace.span("frame", start, done, frame.seq)
        return Sight(
            frame,
            crop,
            landmarks,
            expression,
            self.has_reference,
            hint,
            done - start,
            self._steps_ns,
            acquired,
            robot_face,
        )

    def _account(self, pipeline: Pipeline) -> None:
        plan = pipeline.plan
        durations = plan.durations_ns.tolist()
        self._steps_ns += sum(durations)
        for name, duration in zip(plan.names, durations, strict=True):
            if duration:  # a plan may end early
                self._book.stage(name).add(duration)
        if self._trace is not None:
            start = perf_counter_ns() - sum(durations)
            for name, duration in zip(plan.names, durations, strict=True):
                self._trace.span(name, start, start + duration)
                start += duration
