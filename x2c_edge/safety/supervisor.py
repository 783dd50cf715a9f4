"""The supervisor: expressions in, commands out, and what the face does when something is wrong.

The states are those of docs/safety.md. Whatever comes in, every command is finite, inside the envelope,
and no further from the command before than the slew limit allows for the time between their two
``t_send_ns`` (at most 100 ms of it, so that a gap cannot become a jump). That is held in one place,
``_step``, whose last operation clips to exactly that box. The rules on combinations (lips, lids, gaze) find
their pose inside it; those on time (extremes, a held blink) move what is aimed at.

Not thread-safe: one thread owns a supervisor, the one that ticks. It has no clock: every call is given
``now_ns``, and a time that goes back counts as no time passed.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import N_CONTROLS, indices
from x2c_edge.frames import Command, Expression, Flag, State
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.extremes import ExtremesGuard, ExtremesSettings
from x2c_edge.safety.eyelids import BlinkGuard, both_closed, limit_lids
from x2c_edge.safety.intake import Intake
from x2c_edge.safety.lip_limits import limit_lips
from x2c_edge.safety.settings import SupervisorSettings, ns
from x2c_edge.safety.smoothing import SmoothingSettings

_GAZE: Final = np.array(indices("gaze"))
_EASING: Final = frozenset(("NEUTRAL", "RETURNING", "FAULT", "STOPPED"))
_MOST_SLEW_S: Final = 0.1  # R2
_END_COMMANDS: Final = 3  # docs/spec/links.md 4.3 rule 5
_AT_REST: Final = 1e-9


@dataclass(slots=True)
class Counters:
    """What happened since the start.

    commands: sent. clamped, replaced: expressions with a value out of range, or not finite. unusable, late:
    expressions that were not used (R4; older than the newest). slewed: commands that the slew limit cut.
    faults: entries into FAULT. entries: per state. travel: (30,) paper units, how far every control has
    been moved in all (R9's duty counter).
    """

    commands: int = 0
    clamped: int = 0
    replaced: int = 0
    unusable: int = 0
    late: int = 0
    slewed: int = 0
    faults: int = 0
    entries: Counter[State] = field(default_factory=Counter)
    travel: NDArray[np.float64] = field(default_factory=lambda: np.zeros(N_CONTROLS))


class Supervisor:
    """One robot's supervisor. Tell it what happens, and ask it for a command every period.

    ``state`` and ``reason`` are those of the last tick.
    """

    def __init__(
        self,
        settings: SupervisorSettings | None = None,
        envelope: Envelope | None = None,
        smoothing: SmoothingSettings | None = None,
    ) -> None:
        self._settings = settings or SupervisorSettings()
        envelope = envelope or Envelope()
        self._low, self._high, self._slew = envelope.low, envelope.high, envelope.slew
        self._rest = envelope.rest
        self._intake = Intake(self._settings, envelope, smoothing or SmoothingSettings())
        self._extremes = ExtremesGuard(
            ExtremesSettings(self._settings.extremes_allowed, self._settings.extremes_kept), envelope
        )
        self._blinks = BlinkGuard(
            self._settings.lids_closed_below, self._settings.lids_closed_longest, self._rest
        )
        self.counters = Counters()

        # what was told
        self._seen_ns = 0
        self._connected = False
        self._ever_connected = False
        self._reference = False
        self._operator_stopped = False
        self._joining = False
        self._stopping = False
        self._fault: str | None = None
        self._face_lost_ns: int | None = None
        self._face_lost_why = ""
        self._link_errors: deque[int] = deque(maxlen=self._settings.link_errors)

        # what is done
        self._state: State = "STARTING"
        self._reason = "no link yet"
        self._last: Command | None = None
        self._pose = self._rest.copy()  # of the last command
        self._from = self._rest.copy()  # where the ease or the blend began
        self._from_ns = self._blend_ns = self._blend_left_ns = self._held_since_ns = 0
        self._soft = True
        self._ends = 0
        self._target = np.empty(N_CONTROLS)
        self._lower = np.empty(N_CONTROLS)
        self._upper = np.empty(N_CONTROLS)

    # --- what happens -----------------------------------------------------------------------------

    def link_up(self, now_ns: int) -> None:
        """A link takes commands; nothing is sent before the first time."""
        self._now(now_ns)
        if not self._stopping:
            self._connected = self._ever_connected = True

    def link_lost(self, now_ns: int) -> None:
        """No link takes commands. The robot goes to neutral by itself (R6); so do we, to meet it there."""
        self._now(now_ns)
        self._connected = False
        self._soft = True

    def robot_joined(self, now_ns: int) -> None:
        """A robot takes commands that had none, or none lately: it is at neutral, so everybody goes there
        first and starts softly from there."""
        self._now(now_ns)
        self._soft = True
        self._joining = self._last is not None

    def link_error(self, now_ns: int) -> None:
        """One failed write; too many in a short time are a fault."""
        now = self._now(now_ns)
        errors = self._link_errors
        errors.append(now)
        full = len(errors) == self._settings.link_errors
        if full and now - errors[0] <= ns(self._settings.link_errors_within):
            self._fail(f"{len(errors)} link errors within {self._settings.link_errors_within:g} s")

    def reference_ready(self, now_ns: int) -> None:
        """The driver's neutral is known: expressions mean something from now on."""
        self._now(now_ns)
        self._reference = True

    def reference_lost(self) -> None:
        """The driver's neutral is being taken again; expressions up to now are forgotten."""
        self._reference = False
        self._face_lost_ns = None
        self._intake.forget()

    def offer(self, expression: Expression, now_ns: int) -> None:
        """The newest expression. Its age counts from its capture time. Ignored without a reference."""
        now = self._now(now_ns)
        if not self._reference:
            return
        verdict = self._intake.take(expression, now)
        if verdict == "used":
            self._face_lost_ns = None
            self.counters.clamped += self._intake.clamped
            self.counters.replaced += self._intake.replaced
        elif verdict == "late":
            self.counters.late += 1
        else:
            self.counters.unusable += 1
            self._lose_face(now, "the network's values are not finite")
        bad_since = self._intake.bad_since_ns
        lasts = bad_since is not None and now - bad_since > ns(self._settings.nonfinite_fault)
        if lasts and verdict != "late":
            self._fail(f"the network's values were not finite for {self._settings.nonfinite_fault:g} s")

    def face_lost(self, now_ns: int) -> None:
        """The newest frame has no face. Ends with the next usable expression."""
        self._lose_face(self._now(now_ns), "face lost")

    def operator_stop(self, now_ns: int) -> None:
        """R13: hold within one period, then ease to neutral and stay there."""
        self._now(now_ns)
        self._operator_stopped = True
        self._soft = True

    def operator_resume(self, now_ns: int) -> None:
        """Ends ``operator_stop``."""
        self._now(now_ns)
        self._operator_stopped = False

    def robot_fault(self, now_ns: int, reason: str) -> None:
        """The robot reported a fault."""
        self._now(now_ns)
        self._fail(f"robot fault: {reason}")

    def reset(self, now_ns: int) -> None:
        """Ends FAULT. What caused it counts afresh."""
        self._now(now_ns)
        if not self._stopping:
            self._fault = None
        self._link_errors.clear()
        self._intake.forgive()

    def begin_stop(self, now_ns: int) -> None:
        """Exit, SIGINT, SIGTERM: ease to neutral, say so three times (``Flag.END``), and be ``stopped``."""
        self._now(now_ns)
        self._stopping = True

    # --- what is known ----------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def reason(self) -> str:
        """Why, in a few words; empty when following."""
        return self._reason

    @property
    def fault(self) -> str | None:
        """The fault that is in force; still there after a stop, so that a run can end in FAULT."""
        return self._fault

    @property
    def joining(self) -> bool:
        """On the way to neutral, where a robot that has joined waits."""
        return self._joining

    @property
    def rest(self) -> NDArray[np.float64]:
        """(30,) neutral, as the robot is told it."""
        return self._rest

    @property
    def last_command(self) -> Command | None:
        return self._last

    @property
    def stopped(self) -> bool:
        """Nothing more will be sent."""
        return self._stopping and (self._ends >= _END_COMMANDS or not self._ever_connected)

    # --- the tick ---------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> Command | None:
        """The command of this period; None before the first link and after the last command."""
        now = self._now(now_ns)
        state, self._reason = self._decide(now)
        entered = state != self._state
        if entered:
            self._enter(state, now)
        if not self._ever_connected or self.stopped:
            return None

        dt_s = (now - self._last.t_send_ns) * 1e-9 if self._last else 0.0
        follows = state in ("FOLLOWING", "HOLDING")
        self._aim(now)
        self._extremes.apply(self._target, self._pose, dt_s)
        self._blinks.apply(self._target, self._pose, self._intake.target if follows else self._rest, dt_s)
        limit_lids(self._target, self._low, self._high)
        values, slewed = self._step(dt_s)
        # HOLD tells the robot to ignore the values, so it is only said when they are what the robot has.
        stays = self._last is not None and bool((values == self._pose).all())
        holds = stays and (
            state == "HOLDING" or (entered and state == "RETURNING" and self._operator_stopped)
        )
        return self._send(now, values, self._flags(holds, slewed), follows)

    def _now(self, now_ns: int) -> int:
        self._seen_ns = max(self._seen_ns, now_ns)
        return self._seen_ns

    def _fail(self, reason: str) -> None:
        if self._fault is None and not self._stopping:
            self._fault = reason

    def _lose_face(self, now: int, why: str) -> None:
        if self._face_lost_ns is None:
            self._face_lost_ns = now
        self._face_lost_why = why

    def _decide(self, now: int) -> tuple[State, str]:
        """The state's table, most urgent first."""
        if self._stopping:
            return "STOPPED", "stopping"
        if self._fault is not None:
            return "FAULT", self._fault
        if not self._ever_connected:
            return "STARTING", "no link yet"
        if self._operator_stopped:
            return "RETURNING", "operator stop"
        if not self._connected:
            return "RETURNING", "link lost"
        if self._joining:
            return "RETURNING", "a robot has joined"
        if not self._reference:
            return "NEUTRAL", "no neutral of the driver yet"
        if self._intake.newest is None:
            return "NEUTRAL", self._face_lost_why if self._face_lost_ns is not None else "no expression yet"
        settings = self._settings
        held = self._state in ("FOLLOWING", "HOLDING")  # there is a pose worth holding
        if self._face_lost_ns is not None:
            if held and now - self._face_lost_ns < ns(settings.face_lost_hold):
                return "HOLDING", self._face_lost_why
            return "RETURNING", self._face_lost_why
        age = now - self._intake.t_capture_ns
        if age <= ns(settings.hold_after):
            return "FOLLOWING", ""
        if held and age <= ns(settings.neutral_after):
            return "HOLDING", "no fresh expression"
        return "RETURNING", "no fresh expression"

    def _enter(self, state: State, now: int) -> None:
        before, self._state = self._state, state
        self.counters.entries[state] += 1
        if state == "FAULT":
            self.counters.faults += 1
        if state == "FOLLOWING":
            blend = ns(self._settings.soft_start if self._soft else self._settings.blend)
            if before == "HOLDING":
                # A short hold needs a short way back, but a blend that it interrupted is still owed.
                blend = max(min(blend, now - self._held_since_ns), self._blend_left_ns)
            self._soft = False
            self._blend_ns = blend
            self._begin(now)
        elif state == "HOLDING":
            self._held_since_ns = now
            self._blend_left_ns = self._from_ns + self._blend_ns - now
        elif before not in _EASING:  # one ease goes on through FAULT, STOPPED and so on
            self._begin(now)
        if state in ("NEUTRAL", "FAULT"):
            self._soft = True

    def _begin(self, now: int) -> None:
        self._from[:] = self._pose
        self._from_ns = now

    def _aim(self, now: int) -> None:
        """Where this state wants the face, into ``_target``."""
        if self._state == "HOLDING":
            self._target[:] = self._pose
            return
        passed = now - self._from_ns
        if self._state == "FOLLOWING":
            goal = self._intake.target
            u = min(passed / self._blend_ns, 1.0) if self._blend_ns else 1.0
            way = u * u * (3 - 2 * u)
        else:
            goal = self._rest
            u = min(passed / ns(self._settings.ease), 1.0)
            way = u * u * u * (10 - 15 * u + 6 * u * u)  # minimum jerk
        np.subtract(goal, self._from, out=self._target)
        np.multiply(self._target, way, out=self._target)
        np.add(self._target, self._from, out=self._target)

    def _step(self, dt_s: float) -> tuple[NDArray[np.float64], bool]:
        """The next pose towards ``_target``, and whether the slew limit cut it short.

        The rules on combinations hold for this pose, not only for the one that is wished for: within the box
        of what range and speed allow, the part that is in the way moves first and the other waits. The pose
        before is in the box and obeys them, so there is always one that does.
        """
        reach = self._slew * min(dt_s, _MOST_SLEW_S)
        np.maximum(self._pose - reach, self._low, out=self._lower)
        np.minimum(self._pose + reach, self._high, out=self._upper)
        np.clip(self._target, self._low, self._high, out=self._target)
        values = np.clip(self._target, self._lower, self._upper)
        slewed = bool((values != self._target).any())
        limit_lids(values, self._lower, self._upper)
        limit_lips(values, self._lower, self._upper)
        if self._state == "FOLLOWING" and both_closed(values, self._settings.lids_closed_below):
            values[_GAZE] = self._pose[_GAZE]
        np.clip(values, self._lower, self._upper, out=values)
        return values, slewed

    def _flags(self, holds: bool, slewed: bool) -> int:
        state, intake = self._state, self._intake
        flags = Flag.HOLD if holds else 0
        if state in _EASING and not holds:
            flags |= Flag.NEUTRAL
        if self._face_lost_ns is not None and state in ("HOLDING", "RETURNING", "NEUTRAL"):
            flags |= Flag.FACE_LOST
        late = state == "HOLDING" and self._face_lost_ns is None
        if late or state == "FAULT" or (state != "STOPPED" and intake.bad_since_ns is not None):
            flags |= Flag.DEGRADED
        if state == "FOLLOWING" and intake.clamped:
            flags |= Flag.CLAMPED
        if slewed:
            flags |= Flag.SLEWED
        return flags

    def _send(self, now: int, values: NDArray[np.float64], flags: int, follows: bool) -> Command:
        at_rest = float(np.abs(values - self._rest).max()) <= _AT_REST
        self._joining = self._joining and not at_rest
        if self._state == "STOPPED" and at_rest:
            flags |= Flag.END
            self._ends += 1
        self.counters.commands += 1
        self.counters.slewed += bool(flags & Flag.SLEWED)
        self.counters.travel += np.abs(values - self._pose)
        self._pose[:] = values
        values.flags.writeable = False
        followed = self._intake.newest if follows else None
        self._last = Command(
            seq=0 if self._last is None else self._last.seq + 1,
            t_send_ns=now,
            state=self._state,
            flags=flags,
            values=values,
            frame_seq=followed.frame_seq if followed else None,
            t_capture_ns=self._intake.t_capture_ns if followed else None,
            pipeline=followed.pipeline if followed else None,
        )
        return self._last
