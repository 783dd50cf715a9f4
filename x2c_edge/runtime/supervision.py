"""The supervisor of a run: made from the settings, and told what was seen."""

from __future__ import annotations

from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.vision import Sight
from x2c_edge.safety.correction import Correction
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.supervisor import Supervisor


def envelope_of(settings: Settings) -> Envelope:
    """Ranges and speeds after the settings, and how the robot differs. BadArgumentError names the control."""
    controls = settings.robot.controls
    envelope = Envelope(
        correction=Correction.of(
            {name: control.sign for name, control in controls.items()},
            {name: control.offset for name, control in controls.items()},
        )
    )
    for name, limit in settings.safety.limits.items():
        envelope = envelope.narrowed(name, low=limit.low, high=limit.high, slew=limit.slew)
    return envelope


def supervisor_of(settings: Settings) -> Supervisor:
    """The one supervisor of a run, whose commands go to every link."""
    return Supervisor(settings.safety, envelope_of(settings), settings.safety.smoothing)


class Informant:
    """Tells a supervisor what vision saw, sight by sight."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._had_reference = False

    def tell(self, sight: Sight, now_ns: int) -> None:
        """The sight that followed the one before."""
        supervisor = self._supervisor
        if sight.has_reference and not self._had_reference:
            supervisor.reference_ready(now_ns)
        elif self._had_reference and not sight.has_reference:
            supervisor.reference_lost()
        self._had_reference = sight.has_reference
        if sight.expression is not None:
            supervisor.offer(sight.expression, now_ns)
        elif sight.landmarks is None:
            supervisor.face_lost(now_ns)
