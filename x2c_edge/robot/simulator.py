"""The virtual Ameca: an endpoint, a receiver, telemetry, faults to order, and a report at the end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from x2c_edge.controls import NEUTRAL, to_robot
from x2c_edge.links.codec import STATES, Hello, HelloAck, Ping, Pong, Positions, Status, quantise
from x2c_edge.robot.endpoint import Arrival
from x2c_edge.robot.endpoints import make_endpoint
from x2c_edge.robot.faults import Faults
from x2c_edge.robot.receiver import Demand, Receiver, ReceiverSettings

TICK_S: Final = 1 / 60
STATUS_S: Final = 0.1
POSITIONS_S: Final = 1 / 30
_RENEW_AFTER_S: Final = 1.0  # a run's last frames (END) still count under the old challenge
_SAMPLES_MOST: Final = 1 << 20
_MAX_RATE_HZ: Final = 60


class Simulator:
    """``run`` blocks until ``stop`` or the end of ``duration_s``; ``report`` says what happened."""

    def __init__(
        self,
        uri: str,
        faults: Faults | None = None,
        settings: ReceiverSettings | None = None,
        *,
        duration_s: float | None = None,
        on_listening: Callable[[str], None] | None = None,
    ) -> None:
        self._faults = faults or Faults()
        self._settings = settings or ReceiverSettings()
        self._endpoint = make_endpoint(uri, self._faults)
        self._duration_s = duration_s
        self._on_listening = on_listening
        self._stopping = False  # no Event: its lock is not for signal handlers
        self._start = time.monotonic()
        self.receiver = Receiver(self._start, self._settings)
        self._run = secrets.randbelow((1 << 32) - 1) + 1
        self._seq = 0
        self._arrivals: list[float] = []
        self._ages: list[float] = []
        self._frames = 0
        self._status_due = self._positions_due = self._start
        self._told_state = -1
        self._over_since: float | None = None
        self._greatest_step = 0.0

    def stop(self) -> None:
        """End ``run`` soon; from any thread or a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """NotFoundError when the endpoint cannot be opened."""
        self._endpoint.open()
        plugged = True
        if self._on_listening is not None:
            self._on_listening(self._endpoint.where)
        self._start = time.monotonic()
        tick_due = self._start
        broken = ""
        try:
            while not self._stopping:
                now = time.monotonic()
                elapsed = now - self._start
                if self._duration_s is not None and elapsed >= self._duration_s:
                    break
                wanted = not self._faults.active("unplug", elapsed)
                if wanted != plugged:
                    plugged = wanted
                    if plugged:
                        self._endpoint.open()
                    else:
                        self._endpoint.close()
                stalled = self._faults.active("stall", elapsed)
                if stalled:
                    self._endpoint.be_silent(2 * TICK_S)
                if plugged and not stalled:
                    for arrival in self._endpoint.receive(max(0.0, tick_due - now)):
                        self._handle(arrival)
                else:
                    time.sleep(max(0.0, tick_due - now))
                now = time.monotonic()
                fault = self._faults.broken(now - self._start)
                if fault != broken:
                    broken = fault
                    if fault:
                        self.receiver.break_down(fault, now)
                    else:
                        self.receiver.repair(now)
                if now >= tick_due:
                    tick_due = max(tick_due + TICK_S, now)
                    self._tick(now)
                if plugged and not stalled and not self._faults.active("mute", now - self._start):
                    self._tell(now)
        finally:
            if plugged:
                self._endpoint.close()

    def _tick(self, now: float) -> None:
        before = self.receiver.pose.copy()
        self.receiver.tick(now)
        step = np.abs(to_robot(self.receiver.pose - before)).max()
        self._greatest_step = max(self._greatest_step, float(step))
        if self.receiver.alive:
            self._over_since = None
        elif self._over_since is None:
            self._over_since = now
        elif now - self._over_since > _RENEW_AFTER_S and self.receiver.run:
            self._endpoint.renew()
            self.receiver.forget_runs()
            self._over_since = float("inf")

    def _handle(self, arrival: Arrival) -> None:
        now = time.monotonic()
        if isinstance(arrival, Demand):
            self._frames += 1
            self._note(arrival, now)
            self.receiver.take(arrival, now)
            return
        self.receiver.count_frame(arrival.run, arrival.seq)
        if isinstance(arrival, Ping):
            echo = Pong(
                run=self._run,
                seq=self._next_seq(),
                t_us=_now_us(),
                nonce=arrival.nonce,
                echo_t_us=arrival.t_us,
            )
            self._endpoint.send(echo)
        elif isinstance(arrival, Hello):
            self._endpoint.send(
                HelloAck(
                    run=self._run,
                    seq=self._next_seq(),
                    t_us=_now_us(),
                    nonce=arrival.nonce,
                    challenge=self._endpoint.challenge,
                    hold_ms=round(self._settings.hold * 1000),
                    neutral_ms=round(self._settings.neutral * 1000),
                    max_rate_hz=_MAX_RATE_HZ,
                )
            )

    def _note(self, demand: Demand, now: float) -> None:
        if len(self._arrivals) < _SAMPLES_MOST:
            self._arrivals.append(now)
            if demand.t_s is not None:
                # Serial and UDP carry a monotonic clock, the others Unix time: good on one machine.
                clock = time.time() if demand.t_s > 1e9 else now
                self._ages.append(clock - demand.t_s)

    def _tell(self, now: float) -> None:
        state = self.receiver.state
        if now >= self._status_due or state != self._told_state:
            self._status_due = now + STATUS_S
            self._told_state = state
            self._endpoint.send(self._status(now))
        if now >= self._positions_due:
            self._positions_due = max(self._positions_due + POSITIONS_S, now)
            self._endpoint.send(
                Positions(
                    run=self._run,
                    seq=self._next_seq(),
                    t_us=_now_us(),
                    applied_seq=self.receiver.last_seq,
                    steps=quantise(to_robot(self.receiver.actuators.positions)),
                )
            )

    def _status(self, now: float) -> Status:
        receiver, tally = self.receiver, self.receiver.tally
        return Status(
            run=self._run,
            seq=self._next_seq(),
            t_us=_now_us(),
            ack_run=receiver.run,
            last_seq=receiver.last_seq,
            bitmap=receiver.bitmap,
            state=receiver.state,
            fault=receiver.fault,
            n_ok=self._frames,
            n_bad=self._endpoint.bad.total(),
            n_gap=tally.gap,
            n_stale=tally.stale,
            n_limited=tally.limited,
            supply_mv=24000,
            temp_centi_c=3500,
            rx_age_us=round(receiver.rx_age_s(now) * 1e6),
        )

    def _next_seq(self) -> int:
        self._seq = (self._seq + 1) & 0xFFFFFFFF
        return self._seq

    @property
    def state(self) -> str:
        """The receiver's state by name."""
        return STATES[self.receiver.state]

    @property
    def violations(self) -> int:
        """Accepted frames that no sender may send."""
        return self.receiver.tally.range + self.receiver.tally.speed

    def report(self) -> dict[str, Any]:
        """What happened, ready for JSON. Times in milliseconds, rates per second."""
        receiver = self.receiver
        tally = asdict(receiver.tally)
        transitions = [
            {"t_s": round(at - self._start, 3), "state": state} for at, state in tally.pop("transitions")
        ]
        arrivals = np.array(self._arrivals)
        gaps = np.diff(arrivals)
        flowing = gaps[gaps < 0.5]
        pose_off = np.abs(receiver.actuators.positions - NEUTRAL)
        return {
            "duration_s": round(time.monotonic() - self._start, 3),
            "frames": self._frames,
            "rate_hz": round(float(1 / flowing.mean()), 2) if len(flowing) else 0.0,
            "interval_ms": _percentiles(gaps * 1000),
            "jitter_ms": _percentiles(
                np.abs(flowing - np.median(flowing)) * 1000 if len(flowing) else flowing
            ),
            "age_ms": _percentiles(np.array(self._ages) * 1000),
            "violations": self.violations,
            "bad": dict(self._endpoint.bad),
            "skipped": self._endpoint.skipped,
            **tally,
            "state": STATES[receiver.state],
            "transitions": transitions,
            "largest_step": round(self._greatest_step, 4),
            "from_neutral": round(float(pose_off.max()), 4),
        }


def _percentiles(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    if not len(values):
        return {}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(values.max()), 3)}


def _now_us() -> int:
    return time.monotonic_ns() // 1000


def summary(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"{report['frames']} commands in {report['duration_s']:.1f} s, {report['rate_hz']:.1f} per second"
    ]
    if not report["frames"]:
        return "no command arrived"
    for name, title in (("jitter_ms", "jitter"), ("age_ms", "age")):
        if values := report[name]:
            lines.append(
                f"{title:10s} p50 {values['p50']:.1f}  p99 {values['p99']:.1f}  max {values['max']:.1f} ms"
            )
    counts = ("applied", "gap", "duplicate", "late", "stale", "foreign", "ignored", "limited", "runs", "ends")
    lines.append(" ".join(f"{name} {report[name]}" for name in counts))
    lines.append(f"refused    {sum(report['bad'].values())} {report['bad'] or ''}".rstrip())
    lines.append(f"violations {report['violations']} {report['worst']}".rstrip())
    ends = f"ended in {report['state']}, {report['from_neutral']:.3f} from neutral"
    return "\n".join([*lines, ends])
