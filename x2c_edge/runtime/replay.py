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
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.run import Kind, Run, beginning
from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.telemetry import Snapshot
from x2c_edge.runtime.vision import Sight

GEAR = "replay"


def open_replay(
    path: Path,
    settings: Settings,
    outputs: Outputs,
    on_snapshot: Callable[[Snapshot], None] | None = None,
) -> Run:
    """A recording's run, open and ready. NotFoundError when the file holds nothing to replay."""
    with beginning(settings, replace(outputs, reads=(*outputs.reads, path))) as begun:
        pictures = any((outputs.save_video, outputs.monitor, outputs.foxglove))
        recorded = Recorded(path, pictures=pictures)
        recorded.open()
        begun.undo.callback(recorded.close)
        player = None if outputs.fast else Played(recorded)
        begun.outlets.open_links()

        def page_facts() -> dict[str, Any]:
            paced = {} if player is None else {"paused": player.paused, "speed": player.speed}
            return {"position": recorded.progress} | paced

        kind = Kind(
            source=player or recorded,
            eyes=RecordedVision(),
            gears=(GEAR,),
            book=LatencyBook(),
            generated=recorded.has_robot_face,
            player=player,
            page_facts=page_facts,
        )
        return Run(begun, kind, on_snapshot)


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
