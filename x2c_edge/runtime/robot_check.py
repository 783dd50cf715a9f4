"""``check-robot``: one control after the other, small and slow, through the run's own loop and supervisor.

A pose takes the place of what vision would see. So range, speed and combination rules, operator stop, FAULT
and the end at neutral are those of every run; here the speed limits are lowered further.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.capture.base import SourceStatus
from x2c_edge.controls import CONTROLS, INDEX, NAMES
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Expression, Frame
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.recorder import RunRecorder
from x2c_edge.runtime.robot_motions import seen
from x2c_edge.runtime.run import Kind, Run, beginning
from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.supervision import envelope_of
from x2c_edge.runtime.telemetry import Snapshot
from x2c_edge.runtime.vision import Sight
from x2c_edge.safety.correction import Correction
from x2c_edge.safety.envelope import Limit
from x2c_edge.safety.eyelids import limit_lids
from x2c_edge.safety.lip_limits import limit_lips

GEAR: Final = "check-robot"
MOTION: Final = 0.15  # of a control's safe range
SLOW: Final = 0.15  # of a control's safe range, per second
NUDGE: Final = 0.02  # of a control's safe range
STRIDES: Final = 5  # from rest to the end of a range
ARRIVE_S: Final = 15.0  # at SLOW every way is over by then, and R8 has let go
LIDS_CLOSED_S: Final = 10.0  # R14's longest: at SLOW the way of a closed lid alone takes seconds
ANSWERS: Final = "y yes | o the opposite | x nothing, or something else | a again | n its rest | l its limits"
_FRAME_S: Final = 1 / 60

Ask = Callable[[str, str], str]  # a question and the keys that answer it; the key, "" when it is over


@dataclass(slots=True)
class Found:
    """What was found of one control, in the values that the robot is told (paper units).

    moved: what was seen; "" when it was not asked. offset: added to its rest. low, high: a narrower range.
    """

    moved: str = ""
    offset: float = 0.0
    low: float | None = None
    high: float | None = None


class PoseSource:
    """A source of empty frames at 60 a second, for a run without a camera."""

    name = "check-robot"
    live = True
    nominal_fps = 1 / _FRAME_S

    def __init__(self) -> None:
        self._seq = 0
        self._image = np.zeros((1, 1, 3), np.uint8)

    def open(self) -> None:
        """Nothing to open."""

    def read(self, timeout_s: float) -> Frame | None:
        time.sleep(min(timeout_s, _FRAME_S))
        self._seq += 1
        return Frame(self._seq, time.monotonic_ns(), self._image)

    def close(self) -> None:
        """Nothing to close."""

    def status(self) -> SourceStatus:
        return SourceStatus("up", frames=self._seq)


class PoseEyes:
    """Sees in every frame the pose that it was told (``Eyes``). ``aim`` may be called by another thread."""

    has_reference = True
    neutral = ""

    def __init__(self, correction: Correction, pose: NDArray[np.float64]) -> None:
        self.with_face = 0
        self._correction = correction
        self.aim(pose)

    def aim(self, pose: NDArray[np.float64]) -> None:
        """pose: (30,), as the robot is to be told it."""
        self._values = self._correction.undone(pose)

    def process(self, frame: Frame, gear: str) -> Sight:
        values = self._values
        expression = Expression(frame.seq, frame.t_capture_ns, gear, values, 1.0, np.zeros((0, 2)))
        return Sight(frame, None, None, expression, True, "", 0, 0)


def slowed(settings: Settings) -> Settings:
    """The settings with every control's speed limit lowered to ``SLOW``, if it was not lower. Lids may stay
    closed for as long as that takes.
    """
    limits = dict(settings.safety.limits)
    for control in CONTROLS:
        limit = limits.get(control.name, Limit())
        slow = SLOW * (control.safe_high - control.safe_low)
        slew = min(slow, control.slew if limit.slew is None else limit.slew)
        limits[control.name] = replace(limit, slew=slew)
    safety = replace(settings.safety, limits=limits, hold_to_run=False, lids_closed_longest=LIDS_CLOSED_S)
    return replace(settings, safety=safety)


class RobotCheck:
    """``run`` drives the links until ``stop``; ``check`` asks, from another thread.

    found: by control name, whatever way it ended.
    """

    def __init__(
        self, settings: Settings, names: Sequence[str] = NAMES, watchers: tuple[RunRecorder, ...] = ()
    ) -> None:
        slow = slowed(settings)
        self._names = names
        self._envelope = envelope_of(slow)
        self._range = self._envelope.high - self._envelope.low
        self._base = self._envelope.rest.copy()  # with the rests found so far
        self._pose = self._base.copy()
        self.found: dict[str, Found] = {}
        self._over = False
        self._eyes = PoseEyes(self._envelope.correction, self._base)
        with beginning(slow, Outputs(watchers=watchers)) as begun:
            begun.outlets.open_links()
            self._run = Run(begun, Kind(PoseSource(), self._eyes, (GEAR,), LatencyBook(("queue",))))
        self.supervisor, self.operator = self._run.supervisor, self._run.operator

    def run(self) -> None:
        """Drive the links until ``stop``; errors as ``Run.run``'s."""
        self._run.run()

    def snapshot(self) -> Snapshot:
        """The run now; callable from any thread."""
        return self._run.snapshot()

    # --- the dialogue -----------------------------------------------------------------------------

    def check(self, ask: Ask) -> None:
        """Every control in turn. Ends early when ``ask`` answers with q or nothing.

        NotFoundError when no command could leave.
        """
        self._go(self._base)
        if self.supervisor.last_command is None and not self._over:
            status = self._run.outlets.links[0].status()
            raise NotFoundError(
                status.last_error or f"link {status.uri}: takes no commands; is the robot on?"
            )
        for number, name in enumerate(self._names, 1):
            if not self._one(f"{number}/{len(self._names)} {name}", name, ask):
                break
        self._go(self._base)

    def _one(self, title: str, name: str, ask: Ask) -> bool:
        """One control; whether to go on with the next."""
        found = self.found[name] = Found()
        k = INDEX[name]
        while not self._over:
            step, others = self._step_of(k)
            if step == 0:
                found.moved = "has no room to move"
                return True
            self._go(self._base)
            pose = self._base.copy()
            pose[k] += step
            self._go(pose)
            others = f" ({others} goes with it)" if others else ""
            grows = step * float(self._envelope.correction.sign[k]) > 0
            key = self._ask(
                f"{title}: {seen(name, grows=grows)}{others}?  {ANSWERS} | s skip | space stop | q end",
                "yoxanls",
                ask,
            )
            if key in ("y", "o", "x"):
                found.moved = {"y": "as described", "o": "the opposite way", "x": "not as described"}[key]
            if key == "n":
                self._find_rest(title, k, found, ask)
            elif key == "l":
                self._find_limits(title, k, found, ask)
            elif key != "a":
                self._go(self._base)
                return key in ("y", "o", "x", "s")
        return False

    def _find_rest(self, title: str, k: int, found: Found, ask: Ask) -> None:
        while True:
            self._go(self._base)
            key = self._ask(f"{title}, at rest: + more | - less | d good", "+-d", ask)
            if key not in ("+", "-"):
                return
            wish = self._base[k] + (NUDGE if key == "+" else -NUDGE) * self._range[k]
            wish = min(max(wish, self._envelope.low[k]), self._envelope.high[k])
            found.offset += float(wish - self._base[k])
            self._base[k] = wish

    def _find_limits(self, title: str, k: int, found: Found, ask: Ask) -> None:
        ends = (("largest", float(self._envelope.high[k])), ("smallest", float(self._envelope.low[k])))
        for which, end in ends:
            strides = 0
            while True:
                pose = self._base.copy()
                pose[k] += (end - pose[k]) * strides / STRIDES
                shown = self._show(pose)
                where = f"{title}, {which} value, {strides} of {STRIDES}"
                if shown:
                    question, keys = "+ further | - back | a again | d good up to here", "+-ade"
                else:
                    question, keys = "not shown, the safety rules keep it back: - back | a again", "-ae"
                key = self._ask(f"{where}: {question} | e leave as it is", keys, ask)
                if key not in ("+", "-", "a"):
                    break
                strides = min(max(strides + {"+": 1, "-": -1, "a": 0}[key], 0), STRIDES)
            reached = float(self._allowed(pose)[k])
            self._go(self._base)
            if key == "":
                return
            if key == "d" and abs(reached - end) > 1e-5:
                if which == "largest":
                    found.high = reached
                else:
                    found.low = reached

    def _show(self, pose: NDArray[np.float64]) -> bool:
        """Go there, from rest where the pose before was not kept; whether the robot is there now.

        An end may be held for a second only (R8), and an eye that was opened again stays open until it was
        meant to be (R14): so the question comes as soon as the pose is reached.
        """
        if not self._is_at(self._pose):
            self._go(self._base)
        self._go(pose)
        return self._is_at(pose)

    def _ask(self, question: str, keys: str, ask: Ask) -> str:
        """The answer; a stop or a fault is lived through first, and then asked again."""
        while not self._over:
            halted = self.halted
            key = ask(f"{halted}: r go on | q end" if halted else question, " rq" if halted else f"{keys} q")
            if key == " ":
                self.operator.stop("check-robot")
                self._wait_for(lambda: bool(self.halted))
            elif key == "r":
                self.operator.reset("check-robot")
                self.operator.resume("check-robot")
                self._wait_for(lambda: not self.halted)
                self._go(self._pose)
            elif key in ("", "q"):
                self._over = True
            elif not self.halted:  # it may have been stopped from elsewhere meanwhile
                return key
        return ""

    # --- the motion -------------------------------------------------------------------------------

    @property
    def halted(self) -> str:
        """Why the robot does not follow now, in a few words; empty when it does."""
        return self.supervisor.fault or self.operator.halted

    def stop(self) -> None:
        """Ease to neutral, then end ``run``."""
        self._over = True
        self._run.stop()

    def _step_of(self, k: int) -> tuple[float, str]:
        """The motion that shows this control, and the others that the combination rules move with it.

        Upwards, unless the way down is longer or moves less of the rest.
        """
        envelope = self._envelope
        best, best_others, best_score = 0.0, "", 0.0
        for direction in (1.0, -1.0):
            pose = self._base.copy()
            pose[k] += direction * MOTION * self._range[k]
            pose = envelope.clamp(pose)
            limit_lids(pose, envelope.low, envelope.high)
            limit_lips(pose, envelope.low, envelope.high)
            step = float(pose[k] - self._base[k])
            others = [NAMES[i] for i in np.flatnonzero(np.abs(pose - self._base) > 1e-9) if i != k]
            score = abs(step) * (0.5 if others else 1.0)
            if score > best_score + 1e-9:
                best, best_others, best_score = step, ", ".join(others), score
        return best, best_others

    def _go(self, pose: NDArray[np.float64]) -> None:
        """Aim there and wait until the commands have arrived, or the robot is stopped."""
        self._pose = pose
        self._eyes.aim(pose)
        self._wait_for(lambda: bool(self.halted) or self._is_at(pose))

    def _is_at(self, pose: NDArray[np.float64]) -> bool:
        last, allowed = self.supervisor.last_command, self._allowed(pose)
        # The dead band of head and neck is left over.
        return last is not None and bool((np.abs(last.values - allowed) <= 0.01 * self._range + 0.006).all())

    def _allowed(self, pose: NDArray[np.float64]) -> NDArray[np.float64]:
        """The pose as far as lips and lids may go there."""
        allowed: NDArray[np.float64] = pose.copy()
        limit_lids(allowed, self._envelope.low, self._envelope.high)
        limit_lips(allowed, self._envelope.low, self._envelope.high)
        return allowed

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + ARRIVE_S
        while not condition() and time.monotonic() < until and not self._over:
            time.sleep(_FRAME_S)


def changes(settings: Settings, found: dict[str, Found]) -> dict[str, Any]:
    """What the settings must say after a check that was made with ``settings``; empty when nothing."""
    controls: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name, one in found.items():
        before = settings.robot.controls.get(name)
        sign, offset = (1, 0.0) if before is None else (before.sign, before.offset)
        if one.moved == "the opposite way":
            sign = -sign
        offset = math.trunc((offset + one.offset) * 1e6) / 1e6  # not beyond the range by rounding
        if before is None or (sign, offset) != (before.sign, before.offset):
            controls[name] = {"sign": sign, "offset": offset}
        if before is None and (sign, offset) == (1, 0.0):
            del controls[name]
        ends = {key: round(end, 6) for key, end in (("low", one.low), ("high", one.high)) if end is not None}
        if ends:
            limits[name] = ends
    parts: dict[str, Any] = {}
    if controls:
        parts["robot"] = {"controls": controls}
    if limits:
        parts["safety"] = {"limits": limits}
    return parts
