"""A sender in a process of its own: ``link_driver.py RATE SECONDS URI...``; a real Supervisor, no camera.

Follows a moving pose at 30 pictures a second, sends at RATE, eases to neutral on SIGTERM or after SECONDS.
Prints one JSON object at the end: the links' counters, the supervisor's entries and the tick's jitter.
"""

from __future__ import annotations

import json
import signal
import sys
import time

import numpy as np

from x2c_edge.controls import NEUTRAL, SAFE_HIGH, SAFE_LOW, SLEW
from x2c_edge.frames import Expression
from x2c_edge.links.registry import make_link
from x2c_edge.safety.supervisor import Supervisor


def pose(t: float) -> np.ndarray:
    """A face that moves in every control, mostly within the limits and now and then beyond them."""
    swing = np.sin(t * np.linspace(0.7, 2.9, 30)) * np.minimum(0.3 * SLEW, 0.6 * (SAFE_HIGH - SAFE_LOW))
    return np.asarray(NEUTRAL + swing)


def main(rate: int, seconds: float, uris: list[str]) -> None:
    links = [make_link(uri, rate_hz=rate) for uri in uris]
    for link in links:
        link.open()
    supervisor = Supervisor()
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    start_ns = time.monotonic_ns()
    period_ns = round(1e9 / rate)
    jitter: list[int] = []
    supervisor.reference_ready(start_ns)
    worst: dict[str, float] = {}
    down_since: dict[str, float] = {}
    tick = 0
    while not supervisor.stopped:
        due_ns = start_ns + tick * period_ns
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        now_ns = time.monotonic_ns()
        jitter.append(now_ns - due_ns)
        elapsed = (now_ns - start_ns) / 1e9
        if tick % 6 == 0:
            statuses = [link.status() for link in links]
            for status in statuses:
                if status.robot_fault:
                    supervisor.robot_fault(now_ns, status.robot_fault)
                if status.state == "up":
                    since = down_since.pop(status.uri, None)
                    if since is not None:
                        worst[status.uri] = max(worst.get(status.uri, 0.0), elapsed - since)
                else:
                    down_since.setdefault(status.uri, elapsed)
            if any(status.state == "up" for status in statuses):
                supervisor.link_up(now_ns)
            else:
                supervisor.link_lost(now_ns)
            if supervisor.fault and not any(status.robot_fault for status in statuses):
                supervisor.reset(now_ns)
        if stopping or elapsed > seconds:
            supervisor.begin_stop(now_ns)
        if tick % max(rate // 30, 1) == 0:
            values = pose(elapsed)
            supervisor.offer(
                Expression(tick, now_ns - 20_000_000, "driver", values, 1.0, np.zeros((0, 2))), now_ns
            )
        command = supervisor.tick(now_ns)
        if command is not None:
            for link in links:
                link.send(command)
        if tick == 0:
            print("running", flush=True)
        tick = max(tick + 1, (time.monotonic_ns() - start_ns) // period_ns)
    report = {}
    for link in links:
        link.close(1.0)
        status = link.status()
        report[status.uri] = {
            "sent": status.sent,
            "dropped": status.dropped,
            "errors": status.errors,
            "reconnects": status.reconnects,
            "last_error": status.last_error,
            "down_s": round(worst.get(status.uri, 0.0), 2),
            "robot_ok": status.robot.n_ok if status.robot else None,
        }
    p50, p99 = np.percentile(jitter, [50, 99]) / 1e6
    print(
        json.dumps(
            {
                "links": report,
                "entries": dict(supervisor.counters.entries),
                "commands": supervisor.counters.commands,
                "faults": supervisor.counters.faults,
                "jitter_ms": {"p50": p50, "p99": p99, "max": max(jitter) / 1e6},
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
