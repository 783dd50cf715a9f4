"""A live run for hours with every fault in turn, two virtual robots judging every command.

    python -m tools.check.soak_faults --minutes 120 --write docs/benchmarks.md ../shared/data/clips/d6.mp4

A camera over ZeroMQ, a robot over UDP, another over a serial line, a ``jsonl:`` file on a small disk of its
own (as root; else that fault is left out). Each fault lasts 4 s, and 12 s of peace follow. Exit code 1 when a
command was refused for its range or speed, or the run did not follow again after a fault. A robot that is
killed takes its verdict with it, and one that is unplugged sees nothing: the other one judges meanwhile. The
clock that jumps is the run's own: the machine's belongs to others as well.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import typer

from tools.bench import common
from tools.check.soak_links import ENVIRONMENT, SIM, free_port
from tools.check.soak_runtime import WARM_UP_SHARE, resident_kb

LASTS_S = 4.0
PEACE_S = 12.0
START_S = 20.0
_LINE = re.compile(rb'"t_send_ns": ?(\d+).*?"state": ?"(\w+)"')
PARTS = [sys.executable, "-m", "tools.check.soak_parts"]


def burn() -> None:
    while True:
        pass


@dataclass
class Scene:
    """Everything that runs, and what the faults do to it."""

    folder: Path
    disk: Path
    clip: Path
    faults_of_udp: str
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    burners: list[multiprocessing.Process] = field(default_factory=list)
    lives: int = 0  # of the serial robot

    def start(self) -> None:
        import socket

        self.ports = {"udp": free_port(socket.SOCK_DGRAM), "camera": free_port(socket.SOCK_STREAM)}
        self.start_sim("udp", f"udp://127.0.0.1:{self.ports['udp']}", self.faults_of_udp)
        self.start_serial()
        self.start_camera()
        settings = self.folder / "soak.toml"
        links = [self.uri("udp"), self.uri("serial"), f"jsonl:{self.disk / 'out.jsonl'}"]
        settings.write_text(
            f'[run]\npipeline = "single-stage"\nlink = {json.dumps(links)}\n'
            f'[capture]\ninput = "zmq://127.0.0.1:{self.ports["camera"]}"\n'
        )
        self.processes["subject"] = subprocess.Popen(
            [*PARTS, "subject", str(settings)],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=ENVIRONMENT | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self.subject.stdout
        if "running" not in self.subject.stdout.readline():
            raise SystemExit(
                self.subject.stderr.read() if self.subject.stderr else "the subject did not start"
            )

    @property
    def subject(self) -> subprocess.Popen[str]:
        return self.processes["subject"]

    def uri(self, name: str) -> str:
        return {
            "udp": f"udp://127.0.0.1:{self.ports['udp']}",
            "serial": f"serial://{self.folder}/robot?settle=0",
        }[name]

    def start_sim(self, name: str, uri: str, fault: str = "") -> None:
        report = str(self.folder / f"{name}.json")
        sim = subprocess.Popen(
            [*SIM, "--link", uri, "--json", report, "--fault", fault],
            env=ENVIRONMENT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert sim.stdout
        sim.stdout.readline()
        self.processes[name] = sim

    def start_serial(self) -> None:
        self.lives += 1
        self.start_sim("serial", self.uri("serial") if self.ports else f"serial://{self.folder}/robot")

    def start_camera(self) -> None:
        self.processes["camera"] = subprocess.Popen(
            [*PARTS, "feed", str(self.ports["camera"]), str(self.clip)], text=True
        )

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def order(self, line: str) -> None:
        pipe: IO[str] | None = self.subject.stdin
        assert pipe
        pipe.write(line + "\n")
        pipe.flush()

    def fill_disk(self) -> None:
        with (self.disk / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
            except OSError:
                pass
            try:
                while True:
                    file.write(bytes(64))
            except OSError:
                pass

    def empty_disk(self) -> None:
        (self.disk / "filler").unlink()

    def be_busy(self) -> None:
        count = 2 * len(os.sched_getaffinity(0))
        self.burners = [multiprocessing.Process(target=burn, daemon=True) for _ in range(count)]
        for burner in self.burners:
            burner.start()

    def be_idle(self) -> None:
        for burner in self.burners:
            burner.kill()
            burner.join()

    def end(self) -> tuple[int, str]:
        """Exit code of the subject and the last line it said; ends everything."""
        self.signal("subject", signal.SIGTERM)
        _, said = self.subject.communicate(timeout=60)
        for name in ("udp", "serial"):
            self.signal(name, signal.SIGTERM)
            self.processes[name].communicate(timeout=60)
        self.kill("camera")
        return self.subject.returncode, (said.splitlines() or [""])[-1]

    def abandon(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        self.be_idle()


@dataclass
class Fault:
    """begin and end: None where the UDP robot brings it about by itself (its --fault)."""

    name: str
    begin: Callable[[], Any] | None
    end: Callable[[], Any] | None
    spans: list[tuple[int, int]] = field(default_factory=list)  # monotonic ns: the fault and its peace
    ends_ns: list[int] = field(default_factory=list)


def faults_of(scene: Scene, small_disk: bool) -> list[Fault]:
    jumps = iter(3600.0 if k % 2 == 0 else -3600.0 for k in range(10**9))
    faults = [
        Fault("camera unplugged", lambda: scene.kill("camera"), scene.start_camera),
        Fault(
            "camera stalls",
            lambda: scene.signal("camera", signal.SIGSTOP),
            lambda: scene.signal("camera", signal.SIGCONT),
        ),
        Fault("UDP robot unplugged", None, None),
        Fault("UDP robot stalls", None, None),
        Fault("serial robot killed (-9)", lambda: scene.kill("serial"), scene.start_serial),
        Fault(
            "run stopped (SIGSTOP)",
            lambda: scene.signal("subject", signal.SIGSTOP),
            lambda: scene.signal("subject", signal.SIGCONT),
        ),
        Fault(
            "wall clock jumps an hour",
            lambda: scene.order(f"clock {next(jumps)}"),
            lambda: scene.order("clock 0"),
        ),
        Fault(
            "net gives NaN, then reset",
            lambda: scene.order("net nan"),
            lambda: (scene.order("net well"), scene.order("reset")),
        ),
        Fault("net takes 0.3 s", lambda: scene.order("net slow"), lambda: scene.order("net well")),
        Fault("busy machine, 2 programs a core", scene.be_busy, scene.be_idle),
    ]
    if small_disk:
        faults.append(Fault("jsonl's disk full", scene.fill_disk, scene.empty_disk))
    return faults


def schedule_of_udp(names: list[str], cycles: int) -> str:
    """The UDP robot's ``--fault``: it starts before the subject by about ``START_S``'s slack."""
    items = []
    for cycle in range(cycles):
        for number, name in enumerate(names):
            at = START_S + (cycle * len(names) + number) * (LASTS_S + PEACE_S)
            kind = {"UDP robot unplugged": "unplug", "UDP robot stalls": "stall"}.get(name)
            if kind:
                items.append(f"{kind}={LASTS_S:g}s@{at:g}s")
    return ",".join(items)


def follow_plan(
    scene: Scene, faults: list[Fault], cycles: int, origin: float, memory: list[tuple[float, int]]
) -> None:
    """Every fault at its time, counted from ``origin`` (monotonic seconds)."""

    def wait_until(at: float) -> None:
        while (left := at - time.monotonic()) > 0:
            if scene.subject.poll() is not None:
                raise SystemExit(
                    f"the run ended by itself: {scene.subject.stderr.read() if scene.subject.stderr else ''}"
                )
            memory.append((time.monotonic() - origin, resident_kb(scene.subject.pid)))
            time.sleep(min(left, 1.0))

    for cycle in range(cycles):
        for number, fault in enumerate(faults):
            at = origin + START_S + (cycle * len(faults) + number) * (LASTS_S + PEACE_S)
            wait_until(at)
            begun = time.monotonic_ns()
            if fault.begin:
                fault.begin()
            wait_until(at + LASTS_S)
            if fault.end:
                fault.end()
            fault.ends_ns.append(time.monotonic_ns())
            fault.spans.append((begun, round((at + LASTS_S + PEACE_S) * 1e9)))
        print(f"cycle {cycle + 1} of {cycles}", flush=True)
    wait_until(origin + START_S + cycles * len(faults) * (LASTS_S + PEACE_S))


def sent(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (ns) and states of every command in the file."""
    times, states = [], []
    with path.open("rb") as file:
        for line in file:
            if match := _LINE.search(line):
                times.append(int(match[1]))
                states.append(match[2].decode())
    return np.array(times), np.array(states)


def row_of(fault: Fault, times: np.ndarray, states: np.ndarray) -> tuple[list[str], bool]:
    """The table's row, and whether the run always followed again."""
    longest, back, seen = 0.0, [], set()
    for (begin, end), over in zip(fault.spans, fault.ends_ns, strict=True):
        inside = (times >= begin - 50_000_000) & (times < end)
        if inside.sum() > 1:
            longest = max(longest, float(np.diff(times[inside]).max()) / 1e6)
        seen |= set(states[inside & (times < over + 1_000_000_000)])
        after = times[(times >= over) & (times < end) & (states == "FOLLOWING")]
        back.append((after[0] - over) / 1e9 if len(after) else float("inf"))
    order = ("FOLLOWING", "HOLDING", "RETURNING", "NEUTRAL", "FAULT")
    shown = ", ".join(state for state in order if state in seen)
    cells = [fault.name, str(len(fault.spans)), shown, f"{longest:.0f}", f"{max(back):.1f}"]
    return cells, max(back) < PEACE_S


def main(
    clip: Path,
    minutes: float = 120.0,
    write: Path | None = typer.Option(None, help="put the table into this Markdown file"),
) -> None:
    """Run, break, judge, print."""
    small_disk = os.geteuid() == 0 and shutil.which("mount") is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        disk = folder / "disk"
        disk.mkdir()
        size_mb = round(100 + minutes * 60 * 0.1)
        mounted = (
            small_disk
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", disk], check=False
            ).returncode
        )
        try:
            run(folder, disk, bool(mounted), clip, minutes, write)
        finally:
            if mounted:
                subprocess.run(["umount", "-l", disk], check=True)


def run(folder: Path, disk: Path, small_disk: bool, clip: Path, minutes: float, write: Path | None) -> None:
    scene = Scene(folder, disk, clip, "")
    faults = faults_of(scene, small_disk)
    cycles = max(1, round(minutes * 60 / (len(faults) * (LASTS_S + PEACE_S))))
    scene.faults_of_udp = schedule_of_udp([fault.name for fault in faults], cycles)
    memory: list[tuple[float, int]] = []
    origin = time.monotonic()
    try:
        scene.start()
        follow_plan(scene, faults, cycles, origin, memory)
        code, said = scene.end()
    finally:
        scene.abandon()
    times, states = sent(disk / "out.jsonl")
    reports = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("udp", "serial")}
    rows, recovered = [], True
    for fault in faults:
        cells, well = row_of(fault, times, states)
        rows.append(cells)
        recovered &= well
    violations = sum(report["violations"] for report in reports.values())
    samples = np.array([m for m in memory if m[1]])
    settled = samples[samples[:, 0] > WARM_UP_SHARE * samples[-1, 0]]
    slope = float(np.polyfit(settled[:, 0], settled[:, 1], 1)[0]) * 60 / 1024
    quiet = np.diff(times)
    table = common.markdown_table(
        [
            "fault, 4 s each",
            "times",
            "states during it",
            "longest gap between commands, ms",
            "following again after, s at most",
        ],
        rows,
    )
    judged = sum(report["applied"] for report in reports.values())
    facts = (
        f"{(times[-1] - times[0]) / 6e10:.1f} min, {len(times)} commands, {judged} judged by the two robots: "
        f"**{violations} violations**. Median gap {np.median(quiet) / 1e6:.1f} ms. Memory after warm-up "
        f"{settled[0, 1] / 1024:.1f} to {settled[-1, 1] / 1024:.1f} MiB, {slope:+.3f} MiB a minute. "
        f"Serial robot started {scene.lives} times. Exit code {code}{': ' + said if code else ''}."
    )
    if not small_disk:
        facts += " The full disk was left out: only root may mount a small one."
    print(table + "\n" + facts)
    if write is not None:
        command = f"python -m tools.check.soak_faults --minutes {minutes:g} {clip.name}"
        common.replace_section(write, "soak", f"`{command}`, {common.machine()}\n\n{table}\n{facts}")
    if violations or not recovered:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
