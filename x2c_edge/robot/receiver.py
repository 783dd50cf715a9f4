"""What a robot's controller does with commands: the receiver rules of docs/spec/links.md section 4.2.

Pure: time is an argument, in seconds of any one clock. ``take`` is told every command that was decoded,
``tick`` moves the face.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import HIGH, LOW, NEUTRAL, SAFE_HIGH, SAFE_LOW, SLEW
from x2c_edge.errors import BadArgumentError
from x2c_edge.frames import Flag
from x2c_edge.links.codec import FAULT_FOREIGN_RUN, FAULTS, STATES, STEPS
from x2c_edge.robot.actuators import Actuators
from x2c_edge.safety.lip_limits import limit_lips

Verdict = Literal["applied", "duplicate", "late", "stale", "foreign", "ignored"]

BOOT, WAIT, ACTIVE, HOLD, NEUTRAL_STATE, FAULT, ESTOP = range(len(STATES))
_MOD: Final = 1 << 32
_MOST_SLEW_S: Final = 0.1
_OFFSET_WINDOW_S: Final = 10.0
_LEAD_S: Final = 0.1  # how far ahead of its slew limit a sender may seem, because of clocks that jitter
_KNOWN_RUNS: Final = 64
_AT_GOAL: Final = 1e-6
_SLACK: Final = (HIGH - LOW) / STEPS + 1e-5  # one step of the wire, or the fifth decimal
_E_STOP: Final = FAULTS.index("e-stop")


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """Seconds. hold, neutral, release: of silence (rule 9), release counted from reaching NEUTRAL.

    stale: rule 6. held_longest: rule 10. ease: the ramp to neutral. soft_start: rule 9.
    """

    hold: float = 0.1
    neutral: float = 0.5
    release: float = 5.0
    stale: float = 0.15
    held_longest: float = 2.0
    ease: float = 1.0
    soft_start: float = 0.6

    def __post_init__(self) -> None:
        if not 0 < self.hold <= self.neutral <= 60:
            raise BadArgumentError(
                f"watchdog: hold after {self.hold * 1000:g} ms and neutral after {self.neutral * 1000:g} ms; "
                "both are above 0, hold comes first, neutral is 60000 at most"
            )


@dataclass(frozen=True, slots=True)
class Demand:
    """One decoded command.

    values: (30,) paper units, NaN = leave this control alone. run, seq: 0 and a count of arrivals where
    the format has none. t_s: of the data, on the sender's clock; sent_s: when it was handed to the port, on
    the same clock; None where the format does not tell.
    """

    run: int
    seq: int
    values: NDArray[np.float64]
    flags: int = 0
    rate_hz: int = 60
    t_s: float | None = None
    sent_s: float | None = None


@dataclass(slots=True)
class Tally:
    """What was received. Frames: applied, duplicate, late, stale, foreign, ignored (in FAULT or ESTOP).

    gap: sequence numbers that never came. limited: frames where the robot had to clamp or slow down.
    range, speed: applied frames outside the safe ranges, or faster than the slew limits: violations.
    runs: adopted. ends: frames with END. worst: what the largest violation was.
    """

    applied: int = 0
    duplicate: int = 0
    late: int = 0
    stale: int = 0
    foreign: int = 0
    ignored: int = 0
    gap: int = 0
    limited: int = 0
    range: int = 0
    speed: int = 0
    runs: int = 0
    ends: int = 0
    worst: str = ""
    transitions: list[tuple[float, str]] = field(default_factory=list)


class Receiver:
    """One robot. state, fault: as in STATUS. pose: what its motors are told, (30,) paper units."""

    def __init__(self, now: float, settings: ReceiverSettings | None = None) -> None:
        self.settings = settings or ReceiverSettings()
        self.tally = Tally()
        self.state = WAIT
        self.fault = 0
        self.run = 0
        self.last_seq = 0
        self.bitmap = 0
        self.applied_at: float | None = None
        self.pose: NDArray[np.float64] = np.array(NEUTRAL)
        self.actuators = Actuators()
        self._known: OrderedDict[int, int] = OrderedDict()
        self._alive = False  # the run has neither ended nor fallen silent
        self._heard_at = now  # a frame of it, also one that could not be followed
        self._ended = False
        self._rate_hz = 60
        self._offsets: deque[tuple[float, float]] = deque()
        self._target = np.array(NEUTRAL)
        self._from = np.array(NEUTRAL)
        self._blend_start: float | None = None
        self._soft = True  # the next command is blended in
        self._goal = np.array(NEUTRAL)
        self._held_since: float | None = None
        self._neutral_since = now
        self._ticked_at = now
        self._commanded: NDArray[np.float64] | None = None
        self._commanded_at = 0.0
        self._lead = np.zeros(len(NEUTRAL))
        self._foreign_at: float | None = None
        self._broken = 0

    # --- commands ---------------------------------------------------------------------------------

    def take(self, demand: Demand, now: float) -> Verdict:
        """Judge one command and, when it is good, follow it from the next tick on."""
        verdict = self._judge(demand, now)
        setattr(self.tally, verdict, getattr(self.tally, verdict) + 1)
        return verdict

    def _judge(self, demand: Demand, now: float) -> Verdict:
        if self._alive and demand.run != self.run:
            self._foreign_at = now
            return "foreign"
        if self._ended and demand.run == self.run:  # END comes three times
            ahead = (demand.seq - self.last_seq) % _MOD
            if ahead == 0:
                return "duplicate"
            if not demand.flags & Flag.END or ahead >= _MOD // 2:
                return "late"
            self.tally.ends += 1
            self.last_seq = self._known[self.run] = demand.seq
            return "applied"
        if not self._alive or demand.run != self.run:
            last = self._known.get(demand.run)
            if last is not None and not 0 < (demand.seq - last) % _MOD < _MOD // 2:
                return "late"  # a recording of a run that is over
            self._adopt(demand)
        else:
            ahead = (demand.seq - self.last_seq) % _MOD
            if ahead == 0:
                return "duplicate"
            if ahead >= _MOD // 2:
                return "late"
            self.tally.gap += ahead - 1
            self.bitmap = ((self.bitmap << ahead) | (1 << (ahead - 1))) & 0xFFFFFFFF if ahead <= 32 else 0
            self.last_seq = demand.seq
        self._known[self.run] = self.last_seq
        self._heard_at = now
        if self.state in (FAULT, ESTOP):
            if demand.flags & Flag.END:
                self._ended, self._alive = True, False
            return "ignored"
        if self._is_stale(demand, now):
            return "stale"
        self._apply(demand, now)
        return "applied"

    def count_frame(self, run: int, seq: int) -> None:
        """A frame that is no command (PING, HELLO) uses a sequence number of its run too."""
        if self._alive and run == self.run:
            ahead = (seq - self.last_seq) % _MOD
            if 0 < ahead < _MOD // 2:
                self.tally.gap += ahead - 1
                self.last_seq = seq
                self._known[run] = seq
                self.bitmap = ((self.bitmap << ahead) | (1 << (ahead - 1))) & 0xFFFFFFFF if ahead <= 32 else 0

    def _adopt(self, demand: Demand) -> None:
        if demand.run != self.run or not self.tally.runs:
            self.tally.runs += 1
            self._offsets.clear()  # another sender, another clock
        self.run, self.last_seq, self.bitmap = demand.run, demand.seq, 0
        self._alive, self._ended = True, False
        self._commanded = None
        self._known[demand.run] = demand.seq
        self._known.move_to_end(demand.run)
        while len(self._known) > _KNOWN_RUNS:
            self._known.popitem(last=False)

    def forget_runs(self) -> None:
        """A new challenge makes recordings worthless, so the runs of the old one need not be remembered."""
        self._known.clear()

    def _is_stale(self, demand: Demand, now: float) -> bool:
        if demand.t_s is None or demand.sent_s is None:
            return False
        offset = now - demand.t_s
        while self._offsets and self._offsets[0][0] < now - _OFFSET_WINDOW_S:
            self._offsets.popleft()
        # Only ever-larger offsets matter for the minimum of the window.
        while self._offsets and self._offsets[-1][1] >= offset:
            self._offsets.pop()
        self._offsets.append((now, offset))
        late = offset - self._offsets[0][1] > self.settings.stale
        return late or demand.sent_s - demand.t_s > self.settings.stale

    def _apply(self, demand: Demand, now: float) -> None:
        silence = None if self.applied_at is None else now - self.applied_at
        self.applied_at = now
        self._rate_hz = max(demand.rate_hz, 1)
        values = np.where(np.isnan(demand.values), self._target, demand.values)
        inside = np.clip(values, SAFE_LOW, SAFE_HIGH)
        limited = self._check(demand, values, inside, now)
        limit_lips(inside)
        limited |= bool((np.abs(inside - values) > _SLACK).any())
        self.tally.limited += limited
        if self.state == HOLD and silence is not None and silence > self.settings.neutral:
            self._soft = True
        if demand.flags & Flag.HOLD:
            if self._held_since is None:
                self._held_since = now
        else:
            self._held_since = None
            self._target = inside
            if self._soft:
                self._soft = False
                self._start_blend(now)
        if demand.flags & Flag.END:
            self.tally.ends += 1
            self._ended, self._alive = True, False
        if self._held_since is None:
            self._enter(ACTIVE, now)
        elif self.state != NEUTRAL_STATE:
            self._enter(HOLD, now)

    def _check(
        self, demand: Demand, values: NDArray[np.float64], inside: NDArray[np.float64], now: float
    ) -> bool:
        """Count violations; whether there was one."""
        too_far = np.abs(values - inside) - _SLACK
        bad = False
        if (too_far > 0).any():
            self.tally.range += 1
            self._worst(f"control {int(too_far.argmax())} outside its range by {too_far.max():.4f}")
            bad = True
        at = demand.sent_s if demand.sent_s is not None else now
        if self._commanded is not None:
            step = np.maximum(np.abs(values - self._commanded) - _SLACK, 0)
            self._lead = np.maximum(self._lead + step / SLEW - max(at - self._commanded_at, 0.0), 0)
            if (self._lead > _LEAD_S).any():
                self.tally.speed += 1
                k = int(self._lead.argmax())
                self._worst(f"control {k} {1000 * self._lead[k]:.0f} ms ahead of its slew limit")
                self._lead[:] = 0
                bad = True
        else:
            self._lead[:] = 0
        self._commanded, self._commanded_at = values, at
        return bad

    def _worst(self, text: str) -> None:
        self.tally.worst = self.tally.worst or f"run {self.run:08x} frame {self.last_seq}: {text}"

    # --- the face ---------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Move the pose and the motors; run the watchdog."""
        dt = max(0.0, now - self._ticked_at)
        self._ticked_at = now
        self._watch(now)
        if self.state in (ACTIVE, NEUTRAL_STATE, HOLD):
            goal = self._aim(now)
            reach = SLEW * min(dt, _MOST_SLEW_S)
            pose = np.clip(np.clip(goal, SAFE_LOW, SAFE_HIGH), self.pose - reach, self.pose + reach)
            limit_lips(pose)
            self.pose = np.clip(pose, self.pose - reach, self.pose + reach)
        self.actuators.step(self.pose, dt)

    def _watch(self, now: float) -> None:
        if self._foreign_at is not None and now - self._foreign_at > 1.0:
            self._foreign_at = None
        self.fault = self._broken or (FAULT_FOREIGN_RUN if self._foreign_at is not None else 0)
        settings = self.settings
        if self.state in (FAULT, ESTOP, WAIT):
            if now - self._heard_at > settings.neutral:
                self._alive = False  # room for another run once the cause has ended
            return
        silence = np.inf if self.applied_at is None else now - self.applied_at
        if self.state == NEUTRAL_STATE:
            if now - self._neutral_since > settings.release:
                self._alive = False
                self._enter(WAIT, now)
            elif silence > settings.neutral:
                self._alive = False
        elif self._ended:
            if np.abs(self.pose - self._target).max() < _AT_GOAL or silence > settings.ease:
                self._enter(WAIT, now)
        elif silence > settings.neutral or (
            self._held_since is not None and now - self._held_since > settings.held_longest
        ):
            self._alive = silence <= settings.neutral
            self._go_to_neutral(now)
        elif silence > max(settings.hold, 3 / self._rate_hz):
            self._enter(HOLD, now)

    def _aim(self, now: float) -> NDArray[np.float64]:
        if self.state == HOLD:
            return self.pose
        goal = self._goal if self.state == NEUTRAL_STATE else self._target
        if self._blend_start is None:
            return goal
        long = self.settings.ease if self.state == NEUTRAL_STATE else self.settings.soft_start
        u = min((now - self._blend_start) / long, 1.0) if long > 0 else 1.0
        if u >= 1.0:
            self._blend_start = None
        return self._from + (goal - self._from) * (u * u * (3 - 2 * u))

    def _start_blend(self, now: float) -> None:
        """From the measured pose, because released motors may have been moved."""
        self._from = self.actuators.positions.copy()
        self.pose = self._from.copy()
        self._blend_start = now

    def _go_to_neutral(self, now: float) -> None:
        self._from, self._blend_start = self.pose.copy(), now
        self._neutral_since = now
        self._held_since = None
        self._enter(NEUTRAL_STATE, now)

    def _enter(self, state: int, now: float) -> None:
        if state != self.state:
            self.state = state
            self._soft = self._soft or state in (WAIT, NEUTRAL_STATE, FAULT, ESTOP)
            self.tally.transitions.append((now, STATES[state]))

    # --- trouble of its own -----------------------------------------------------------------------

    def break_down(self, fault: str, now: float) -> None:
        """``overheat`` and so on, or ``e-stop``: commands are ignored until ``repair``."""
        self._broken = self.fault = FAULTS.index(fault)
        self._enter(ESTOP if self._broken == _E_STOP else FAULT, now)

    def repair(self, now: float) -> None:
        """The cause has ended; the face waits for commands and starts softly."""
        self._broken = self.fault = 0
        self._enter(WAIT, now)

    def rx_age_s(self, now: float) -> float:
        """Seconds since the last applied command; a large number before the first."""
        return 4294.0 if self.applied_at is None else min(now - self.applied_at, 4294.0)

    @property
    def alive(self) -> bool:
        """Whether a run is alive."""
        return self._alive
