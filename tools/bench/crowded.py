"""How much slower a frame gets, and how soon the governor reacts, beside other busy programs.

    python -m tools.bench.crowded CLIP --programs 2 --write docs/benchmarks.md

Quiet and crowded rounds take turns. The programs are processes that do nothing, busily; between the crowded
rounds they are stopped. Then the clip plays live in the gears that ``auto`` takes, and they start in the
middle of it. Until they are felt may take a second or more; from the first late frame on it is the
governor's doing.
"""

from __future__ import annotations

import contextlib
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from tools.bench.common import machine, markdown_table, replace_section
from tools.bench.default_pack import play
from x2c_edge.backends.open import open_backend
from x2c_edge.frames import Command
from x2c_edge.packs import Pack, open_pack
from x2c_edge.pipelines.base import Pipeline
from x2c_edge.pipelines.retargeter import MotionSettings
from x2c_edge.runtime import settings as config
from x2c_edge.runtime.gears import PIPELINE_NETS, gears_of, open_pipeline
from x2c_edge.runtime.open_run import open_run
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.vision import Sight

BUDGET = 1.5  # of the live runs, in quiet times of a frame in auto's first gear: enough, but not when crowded
TICK_MS = 1e3 / 60  # until a frame's controls are sent
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # also when this is killed


class Crowd:
    """Other programs that want a core each; stopped until ``working``."""

    def __init__(self, count: int) -> None:
        self._programs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
        self._tell(signal.SIGSTOP)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        self._tell(signal.SIGCONT)
        try:
            yield
        finally:
            self._tell(signal.SIGSTOP)

    def leave(self) -> None:
        for program in self._programs:
            program.kill()
            program.wait()

    def _tell(self, what: signal.Signals) -> None:
        for program in self._programs:
            program.send_signal(what)


def pipelines(pack: Pack, backends: list[str], threads: list[int]) -> dict[tuple[str, str], Pipeline]:
    """By gear, and backend with its threads."""
    made: dict[tuple[str, str], Pipeline] = {}
    for name in backends:
        for count in threads:
            backend, what = open_backend(name, count, pack=pack), f"{name}, {count} thread(s)"
            for gear, net in PIPELINE_NETS:
                if net in pack.nets:
                    made[gear, what] = open_pipeline(gear, pack, backend, MotionSettings(), False)
    return made


@dataclass
class LateFrames:
    """When a frame took longer than the budget (``RunRecorder``)."""

    budget_ns: float
    at_ns: list[int] = field(default_factory=list)
    failure: None = None

    def offer(self, sight: Sight) -> None:
        now_ns = time.monotonic_ns()
        if now_ns - sight.frame.t_capture_ns > self.budget_ns:
            self.at_ns.append(now_ns)

    def command(self, command: Command) -> None:
        """Of no interest here."""

    def close(self) -> None:
        """Nothing to close."""


def reaction(clip: Path, pack: Pack, backend: str, crowd: Crowd, threads: int, budget_ms: float) -> str:
    """One live run, crowded from its fifth second to its tenth: how soon it shifted down, in words."""
    run_settings = {"pack": str(pack.path), "backend": backend, "threads": threads, "budget_ms": budget_ms}
    settings = config.load(None, {"run": run_settings, "capture": {"input": str(clip)}})
    late = LateFrames(settings.run.budget_ms * 1e6)
    run = open_run(settings, Outputs(duration_s=11.0, watchers=(late,)))
    begun = ended = 0

    def interfere() -> None:
        nonlocal begun, ended
        time.sleep(5.0)
        begun = time.monotonic_ns()
        with crowd.working():
            time.sleep(5.0)
            ended = time.monotonic_ns()

    other = threading.Thread(target=interfere)
    other.start()
    run.run()
    other.join()
    before = [s.after for s in run.governor.shifts if s.t_ns < begun]
    down = [s for s in run.governor.shifts if begun <= s.t_ns <= ended and "miss" in s.why]
    if not down:
        return f"no shift down from {before[-1] if before else gears_of(pack, 'auto')[0]}"
    shift = down[0]
    felt = min([t for t in late.at_ns if begun <= t <= shift.t_ns], default=shift.t_ns)
    return (
        f"{shift.before} to {shift.after} {(shift.t_ns - felt) / 1e6:.0f} ms after the first late frame, "
        f"{(shift.t_ns - begun) / 1e6:.0f} ms after they started"
    )


def main(
    clip: Annotated[Path, typer.Argument(help="a video of a face, at least 11 seconds")],
    frames: int = 40,
    rounds: int = 5,
    programs: int = typer.Option(2, help="other busy programs"),
    threads: list[int] = typer.Option([1, 2], help="CPU threads of the nets; may be given several times"),
    backends: str = "cpu,torch",
    pack: str = "default",
    write: Path | None = typer.Option(None, help="a page to write the section into"),
) -> None:
    """Measure and print; optionally write."""
    opened = open_pack(pack)
    cases = pipelines(opened, backends.split(","), threads)
    first = gears_of(opened, "auto")[0]
    times: dict[tuple[str, str], tuple[list[float], list[float]]] = {case: ([], []) for case in cases}
    live: list[str] = []
    crowd = Crowd(programs)
    try:
        for pipeline in cases.values():
            play(clip, 10, pipeline)
        for _ in range(rounds):
            for case, pipeline in cases.items():
                quiet, crowded = times[case]
                quiet.append(play(clip, frames, pipeline)[0] / frames)
                with crowd.working():
                    crowded.append(play(clip, frames, pipeline)[0] / frames)
        name = backends.split(",")[0]
        for count in threads:
            quiet, _ = times[first, f"{name}, {count} thread(s)"]
            budget_ms = TICK_MS + BUDGET * 1e3 * statistics.median(quiet)
            said = reaction(clip, opened, name, crowd, count, budget_ms)
            live.append(f"{count} thread(s), {budget_ms:.0f} ms: {said}")
    finally:
        crowd.leave()
    rows = []
    for (gear, what), (quiet, crowded) in times.items():
        alone, beside = statistics.median(quiet), statistics.median(crowded)
        rows.append(
            [f"{gear}, {what}", f"{1e3 * alone:.1f}", f"{1e3 * beside:.1f}", f"**{beside / alone:.1f}**"]
        )
    text = (
        f"## Beside {programs} busy programs\n\n"
        f"{machine()}; medians of {rounds} rounds of {frames} frames of {clip.name}, quiet and crowded in "
        f"turns, `python -m tools.bench.crowded {clip.name} --programs {programs}`.\n\n"
        + markdown_table(["gear, backend", "quiet, ms", "crowded, ms", "times as long"], rows)
        + f"\nLive ({name}) under auto and a budget that {first} holds in quiet, the programs "
        "starting in the middle of a run: " + "; ".join(live) + ".\n"
    )
    print(text)
    if write is not None:
        replace_section(write, "crowded", text)


if __name__ == "__main__":
    typer.run(main)
