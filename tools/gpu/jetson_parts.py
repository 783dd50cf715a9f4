"""The parts of gpu_check that need a Jetson: clocks, temperatures, a camera, and a run of ten minutes.

Not yet run on a board by its authors; tests/tools/test_gpu_check.py gives them files and lines as a board
writes them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.gpu.parts import Found, Skip, run
from tools.gpu.tegrastats import summary

SYSTEM = Path("/")
LIVE_S = 600
SAMPLE_MS = 1000


def model(system: Path = SYSTEM) -> str:
    """Of the board, as its device tree says it; empty where this is no Jetson."""
    file = system / "proc/device-tree/model"
    said = file.read_text(errors="replace").strip("\0 \n") if file.exists() else ""
    return said if (system / "etc/nv_tegra_release").exists() or "Jetson" in said else ""


def clocks(system: Path = SYSTEM) -> Found:
    """Is everything at the top, and which power mode is it? What is measured otherwise means little."""
    rows = [
        {"clock": file.parents[1].name, "MHz now": now // 1000, "MHz at most": top // 1000}
        for file in sorted(system.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
        for now, top in [(_number(file), _number(file.with_name("cpuinfo_max_freq")))]
    ]
    rows += [
        {"clock": file.parent.name, "MHz now": now // 10**6, "MHz at most": top // 10**6}
        for file in sorted(system.glob("sys/class/devfreq/*/cur_freq"))
        for now, top in [(_number(file), _number(file.with_name("max_freq")))]
    ]
    slow = [row["clock"] for row in rows if row["MHz now"] < row["MHz at most"]]
    mode = " ".join(run(["nvpmodel", "-q"]).split()) if shutil.which("nvpmodel") else "nvpmodel is not here"
    said = f"below their top: {', '.join(slow)}; sudo jetson_clocks" if slow else "all at their top"
    return f"{mode}; {said}", rows


def thermal(system: Path = SYSTEM) -> Found:
    """Every sensor, and the temperature from which the board slows down."""
    rows = []
    for zone in sorted(system.glob("sys/class/thermal/thermal_zone*"), key=lambda zone: int(zone.name[12:])):
        try:
            now = _number(zone / "temp") / 1000
        except OSError:  # a part of the chip that is switched off has no temperature
            continue
        trips = [
            _number(kind.with_name(kind.name.replace("type", "temp"))) / 1000
            for kind in zone.glob("trip_point_*_type")
            if kind.read_text().strip() == "passive"
        ]
        first = min(trips) if trips else None
        rows.append({"zone": (zone / "type").read_text().strip(), "C now": now, "C slows from": first or "-"})
    hot = [r["zone"] for r in rows if r["C slows from"] != "-" and r["C now"] >= r["C slows from"]]
    if hot:
        raise AssertionError(f"too hot, the board slows down: {', '.join(map(str, hot))}")
    return f"{len(rows)} sensors, none where it slows down", rows


def camera() -> Found:
    """What --camera 0 delivers in five seconds."""
    if not Path("/dev/video0").exists():
        raise Skip("no camera at /dev/video0")
    figures = profiled(["--camera", "0", "--duration", "5", "--link", "null:"], frames=10**6)
    return f"{figures['frames']} frames in 5 s, {figures['with_face']} with a face", []


def live(seconds: float = LIVE_S) -> Found:
    """Ten minutes as on the robot, from the camera to a link that goes nowhere, beside tegrastats.

    Without a camera the pack's own clip would end after seconds: the part is skipped.
    """
    if shutil.which("tegrastats") is None:
        raise Skip("tegrastats is not on PATH")
    if not Path("/dev/video0").exists():
        raise Skip("no camera at /dev/video0")
    arguments = ["--camera", "0", "--duration", f"{seconds:g}", "--link", "null:"]
    return watched(lambda: profiled(arguments, frames=10**9))


def watched(work: Callable[[], dict[str, Any]]) -> Found:
    """The figures of ``work()``, with what tegrastats saw meanwhile."""
    with tempfile.TemporaryFile("w+") as log:
        stats = subprocess.Popen(["tegrastats", "--interval", str(SAMPLE_MS)], stdout=log, stderr=log)
        try:
            figures = work()
        finally:
            stats.terminate()
            stats.wait(10)
        log.seek(0)
        rows = summary(log.read().splitlines())
    wire = figures["end_to_end"]["capture_to_wire"]
    said = (
        f"{figures['frames']} frames, {figures['frames_per_s']:.1f} a second; capture to wire p50 "
        f"{wire['p50']:.1f} ms, p99 {wire['p99']:.1f} ms; {figures['misses']} misses"
    )
    return said, rows


def profiled(arguments: list[str], frames: int) -> dict[str, Any]:
    """The figures that ``x2c-edge profile`` writes with --json."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "x2c_edge.cli.main", "profile", *arguments]
        run([*command, "--frames", str(frames), "--json", str(file)])
        return json.loads(file.read_text())


def _number(file: Path) -> int:
    return int(file.read_text())
