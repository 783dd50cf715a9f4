"""The supervisor's numbers, all with defaults; the configuration fills them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated

from x2c_edge.errors import BadArgumentError
from x2c_edge.within import Within


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """What a settings file may say only makes the robot calmer, or tells a fault sooner. Three are for the
    operator to widen too: how patient a run is with its camera (hold_after, neutral_after), and a held
    blink (R14).

    Times in seconds; what they are for is in docs/spec/safety.md (R numbers).

    hold_after, neutral_after: age of the newest expression at which the pose is held, and left.
    face_lost_hold: how long the pose is held when the face is lost (R5).
    ease: duration of every way back to neutral. blend: of the way from a held or returning pose back to
    following (R5). soft_start: the same after neutral, a fault, a stop or a lost link (R10).
    replace_at_most, replace_for: non-finite controls that the last good value stands in for, and how long;
    more counts as a lost face (R4). nonfinite_fault: how long a stream of non-finite values may last.
    link_errors, link_errors_within: that many errors in that time are a fault.
    dead_band_deg: head and neck follow only beyond it (R9), degrees.
    lids_closed_below: upper lids at or below are closed: gaze is held (2.3), and R14's clock runs.
    lids_closed_longest: R14. extremes_allowed, extremes_kept: R8.
    """

    hold_after: Annotated[float, Within(0, 5, above=True)] = 0.15
    neutral_after: Annotated[float, Within(0, 60, above=True)] = 1.5
    face_lost_hold: Annotated[float, Within(0, 0.3)] = 0.3
    ease: Annotated[float, Within(0.1, 10)] = 1.0
    blend: Annotated[float, Within(0.3, 10)] = 0.3
    soft_start: Annotated[float, Within(0.6, 10)] = 0.6
    replace_at_most: Annotated[int, Within(0, 3)] = 3
    replace_for: Annotated[float, Within(0, 0.2)] = 0.2
    nonfinite_fault: Annotated[float, Within(0, 1)] = 1.0
    link_errors: Annotated[int, Within(1, 5)] = 5
    link_errors_within: Annotated[float, Within(2, 600)] = 2.0
    dead_band_deg: Annotated[float, Within(0.3, 10)] = 0.3
    lids_closed_below: Annotated[float, Within(0.05, 0.5)] = 0.05
    lids_closed_longest: Annotated[float, Within(0.2, 10)] = 1.5
    extremes_allowed: Annotated[float, Within(0, 1)] = 1.0
    extremes_kept: Annotated[float, Within(5, 600)] = 5.0

    def __post_init__(self) -> None:
        for item in fields(SupervisorSettings):
            value = getattr(self, item.name)
            if not math.isfinite(value) or value < 0:
                raise BadArgumentError(f"safety {item.name}: {value} is not allowed; use a number from 0 up")
        if self.ease < 0.1:
            raise BadArgumentError(f"safety ease: {self.ease:g} s is too abrupt; use 0.1 or more")
        if self.link_errors < 1:
            raise BadArgumentError(f"safety link_errors: {self.link_errors} is not allowed; use 1 or more")
        if self.neutral_after < self.hold_after:
            raise BadArgumentError(
                f"safety neutral_after: {self.neutral_after:g} s is shorter than hold_after "
                f"({self.hold_after:g} s); use at least that"
            )


def ns(seconds: float) -> int:
    """Seconds to nanoseconds."""
    return round(seconds * 1e9)
