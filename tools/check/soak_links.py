"""All transports at once for a minute, then every fault on every transport that knows it.

``python -m tools.check.soak_links [--seconds 60] [--skip-matrix] [--json FILE]``: one sender
(tests/e2e/link_driver.py, 60 commands a second) against four ``x2c-edge sim`` processes. Exit code 1 when
something was lost, violated or not recovered.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "X2C_EDGE_TRITIUM_TOKEN": "a.good.token",
}
SIM = [sys.executable, "-m", "x2c_edge.cli.main", "sim"]
DRIVER = [sys.executable, str(ROOT / "tests" / "e2e" / "link_driver.py"), "60"]
BYTES = ("serial", "udp")
ALL = ("serial", "udp", "zmq", "tritium")
MATRIX = (
    ("drop=0.05", ALL),
    ("dup=0.05", ALL),
    ("flip=1e-4", BYTES),
    ("noise=0.2", BYTES),
    ("stall=2s@4s", ALL),
    ("unplug=3s@4s", ALL),
    ("mute=2s@4s", BYTES),
    ("overheat=2s@4s", BYTES),
    ("estop=2s@4s", BYTES),
)


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def run(folder: Path, transports: tuple[str, ...], fault: str, seconds: float) -> dict[str, Any]:
    """One sender against one robot per transport; the sender's report with the robots' under ``sims``."""
    uris = {
        "serial": f"serial://{folder}/robot?settle=0",
        "udp": f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}",
        "zmq": f"zmq://127.0.0.1:{free_port(socket.SOCK_STREAM)}?variant=31",
        "tritium": f"tritium://127.0.0.1:{free_port(socket.SOCK_STREAM)}",
    }
    sims = {}
    for name in transports:
        arguments = ["--link", uris[name], "--fault", fault, "--json", str(folder / f"{name}.json")]
        sims[name] = subprocess.Popen([*SIM, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    for sim in sims.values():
        assert sim.stdout
        sim.stdout.readline()
    sender = subprocess.run(
        [*DRIVER, str(seconds), *(uris[name] for name in transports)],
        env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    report = dict(json.loads(sender.stdout.splitlines()[-1]))
    report["sims"] = {}
    for name, sim in sims.items():
        sim.send_signal(signal.SIGTERM)
        sim.communicate(timeout=30)
        link = report["links"].pop(uris[name])
        report["sims"][name] = {**json.loads((folder / f"{name}.json").read_text()), "link": link}
    return report


def complaints(report: dict[str, Any], healthy: bool) -> list[str]:
    """What should not have happened."""
    found = []
    for name, sim in report["sims"].items():
        if sim["violations"]:
            found.append(f"{name}: {sim['violations']} violations: {sim['worst']}")
        if healthy and (sim["gap"] or sim["bad"]):
            found.append(f"{name}: gap {sim['gap']}, refused {sim['bad']}")
        if sim["from_neutral"] > 0.01:
            found.append(f"{name}: ended {sim['from_neutral']} from neutral")
    return found


def line(name: str, sim: dict[str, Any]) -> str:
    link, age, jitter = sim["link"], sim["age_ms"], sim["jitter_ms"]
    return (
        f"  {name:8s} sent {link['sent']:5d} applied {sim['applied']:5d} gap {sim['gap']:3d} "
        f"refused {sum(sim['bad'].values()):4d} stale {sim['stale']:3d} dup {sim['duplicate']:3d} "
        f"limited {sim['limited']:3d} viol {sim['violations']} "
        f"jitter p99 {jitter['p99']:5.1f} age p50 {age.get('p50', 0):5.1f} p99 {age.get('p99', 0):6.1f} ms "
        f"down {link['down_s']:.1f} s reconnects {link['reconnects']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--skip-matrix", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    reports = []
    wrong = []
    cases = [("", ALL, given.seconds)]
    if not given.skip_matrix:
        cases += [(fault, transports, 9.0) for fault, transports in MATRIX]
    for fault, transports, seconds in cases:
        with tempfile.TemporaryDirectory() as folder:
            report = run(Path(folder), transports, fault, seconds)
        reports.append({"fault": fault, **report})
        jitter = report["jitter_ms"]
        print(
            f"{fault or 'healthy'}, {seconds:g} s: supervisor {report['entries']}, tick jitter "
            f"p50 {jitter['p50']:.2f} p99 {jitter['p99']:.2f} max {jitter['max']:.2f} ms",
            flush=True,
        )
        for name, sim in report["sims"].items():
            print(line(name, sim), flush=True)
        wrong += [f"{fault or 'healthy'}: {text}" for text in complaints(report, not fault)]
    if given.json is not None:
        given.json.write_text(json.dumps(reports, indent=1) + "\n")
    print("\n".join(wrong) if wrong else "nothing lost, nothing violated, everything recovered")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
