"""What the runtime says about itself, read by the live panel, the profile report and the recorder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from x2c_edge.capture.base import SourceStatus
from x2c_edge.frames import State
from x2c_edge.links.base import LinkStatus


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The run at one moment. Times in the unit that the name says; percentiles over the whole run."""

    elapsed_s: float
    state: State
    reason: str
    gear: str  # the pipeline in use, or "hold"
    calibration: str  # what the driver should do now; empty when nothing
    neutral: str  # which neutral is in use and how sure it is; empty in a replay
    frames: int  # processed by vision
    skipped: int  # captured but too old or replaced by a newer one before vision took them
    with_face: int
    vision_fps: float  # over the last second
    commands: int
    capture_to_wire_p50_ms: float
    capture_to_wire_p99_ms: float
    misses: int  # frames whose command left later than the budget
    budget_ms: float
    tick_jitter_p99_ms: float
    source: SourceStatus
    links: tuple[LinkStatus, ...]


def as_dict(snapshot: Snapshot) -> dict[str, Any]:
    """For JSON. ``advice`` is what the person at the screen should do now."""
    links = [asdict(replace(link, robot=None)) | {"robot_fault": link.robot_fault} for link in snapshot.links]
    for link in links:
        del link["robot"]
    facts = asdict(replace(snapshot, links=())) | {"links": links}
    facts["advice"] = facts.pop("calibration")
    return facts
