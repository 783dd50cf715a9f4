"""A virtual robot that writes down every command when it arrives: ``wire_peer.py URI FILE [FAULTS]``.

One JSON line each: monotonic time (the same clock for every process of a machine), flags, the 30 values.
Says "listening on ..." like ``x2c-edge sim``; runs until SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
import time

from x2c_edge.robot.faults import Faults
from x2c_edge.robot.receiver import Demand
from x2c_edge.robot.simulator import Simulator


class Witness(Simulator):
    """Keeps what arrives, as it arrives."""

    def _note(self, demand: Demand, now: float) -> None:
        line = {"t_ns": time.monotonic_ns(), "flags": demand.flags, "values": demand.values.tolist()}
        print(json.dumps(line), file=out, flush=True)


if __name__ == "__main__":
    out = open(sys.argv[2], "w")  # noqa: SIM115
    faults = Faults("".join(sys.argv[3:]))
    witness = Witness(
        sys.argv[1], faults, on_listening=lambda where: print(f"listening on {where}", flush=True)
    )
    signal.signal(signal.SIGTERM, lambda *_: witness.stop())
    witness.run()
