"""What the live loop and the one of ``--fast`` are both made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from x2c_edge.capture.base import Source
from x2c_edge.links.base import Link
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.operator import Operator
from x2c_edge.runtime.recorder import RunRecorder
from x2c_edge.runtime.service_manager import ServiceManager
from x2c_edge.runtime.vision import Eyes
from x2c_edge.safety.supervisor import Supervisor

TELEMETRY_PERIOD_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class LoopParts:
    """links: the open ones; the loop closes them, and the source. rate_hz: of the commands.

    service: told by the live loop that it is up, ticks and ends. on_telemetry: called four times a second.
    duration_s, max_frames: when to end, unless the source does.
    """

    source: Source
    eyes: Eyes
    supervisor: Supervisor
    links: Sequence[Link]
    book: LatencyBook
    rate_hz: int
    operator: Operator = field(default_factory=Operator)
    recorders: Sequence[RunRecorder] = ()
    service: ServiceManager | None = None
    on_telemetry: Callable[[], None] | None = None
    duration_s: float | None = None
    max_frames: int | None = None

    @property
    def period_ns(self) -> int:
        """From one command to the next."""
        return round(1e9 / self.rate_hz)
