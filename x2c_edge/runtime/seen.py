"""From vision's sight to what a recording keeps of it."""

from __future__ import annotations

from x2c_edge.record.messages import Seen
from x2c_edge.runtime.vision import Sight


def seen_in(sight: Sight) -> Seen:
    """What vision made of one frame, without its pixels."""
    frame, crop = sight.frame, sight.crop
    return Seen(
        seq=frame.seq,
        t_capture_ns=frame.t_capture_ns,
        width=frame.width,
        height=frame.height,
        expression=sight.expression,
        landmarks=sight.landmarks,
        affine=None if crop is None else crop.affine,
        crop_size=1 if crop is None else crop.size,
        crop_score=0.0 if crop is None else crop.score,
        has_reference=sight.has_reference,
        hint=sight.hint,
        acquired=sight.acquired,
    )
