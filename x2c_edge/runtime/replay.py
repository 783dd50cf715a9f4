"""``replay``: what was once seen goes through a new supervisor to the links, exactly as vision's would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from x2c_edge.capture.played import Played
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.record.recorded import Recorded, RecordedFrame
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.steering import Outputs, Steering
from x2c_edge.runtime.telemetry import Snapshot
from x2c_edge.runtime.vision import Sight

GEAR = "replay"


class Replay(Steering):
    """One replay. NotFoundError when the file holds nothing to replay."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        outputs: Outputs,
        on_snapshot: Callable[[Snapshot], None] | None = None,
    ) -> None:
        super().__init__(settings, outputs, on_snapshot)
        pictures = any((outputs.save_video, outputs.monitor, outputs.foxglove))
        self.recorded = Recorded(path, pictures=pictures)
        self.recorded.open()
        self.source = self.recorded if outputs.fast else Played(self.recorded)
        if self.page is not None and isinstance(self.source, Played):
            self.page.player = self.source
        try:
            self._open_links()
            self._steer(
                RecordedVision(), (GEAR,), LatencyBook(), generated=self.recorded.has_robot_face, facts={}
            )
        except BaseException:
            self._abandon()
            raise

    def _page_snapshot(self) -> dict[str, Any]:
        played = {"position": self.recorded.progress}
        if isinstance(self.source, Played):
            played |= {"paused": self.source.paused, "speed": self.source.speed}
        return super()._page_snapshot() | played


class RecordedVision:
    """Sees in a recorded frame what was seen then (``Eyes``)."""

    def __init__(self) -> None:
        self.with_face = 0
        self.has_reference = False
        self.neutral = ""

    def process(self, frame: Frame, gear: str) -> Sight:
        """The recorded sight, with the frame's time. frame: a ``RecordedFrame``."""
        start = perf_counter_ns()
        assert isinstance(frame, RecordedFrame)
        assert frame.seen is not None
        seen = frame.seen
        expression = seen.expression
        if expression is not None:
            expression = replace(expression, t_capture_ns=frame.t_capture_ns)
        crop = None
        if seen.affine is not None:
            crop = FaceCrop(frame, seen.affine, seen.crop_size, seen.crop_score)
        self.with_face += seen.landmarks is not None
        self.has_reference = seen.has_reference
        return Sight(
            frame,
            crop,
            seen.landmarks,
            expression,
            seen.has_reference,
            seen.hint,
            perf_counter_ns() - start,
            0,
            seen.acquired,
            frame.robot_face,
        )
