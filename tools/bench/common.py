"""What every benchmark here does alike: interleaved medians, Markdown tables, sections of a page."""

from __future__ import annotations

import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from x2c_edge.whole_file import write_whole

ROOT = Path(__file__).resolve().parents[2]
_OPENS, _CLOSES = "<!-- bench:", "<!-- /bench -->"


def interleaved(
    cases: Mapping[str, Callable[[], object]], rounds: int = 200, warmup: int = 10
) -> dict[str, float]:
    """Median seconds of each case. Every round runs each case once, so that a change of the machine's
    speed or load meets all of them."""
    for _ in range(warmup):
        for run in cases.values():
            run()
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            samples[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in samples.items()}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def machine() -> str:
    """The processor and how many of its cores this process may use, for a table's caption."""
    name = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def command_given(module: str) -> str:
    """The command line of this run, as it was given: it stands above what it measured."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def replace_section(page: Path, name: str, text: str) -> None:
    """Put text between ``<!-- bench:NAME -->`` and ``<!-- /bench -->``; a page without them gets them
    at its end. Marks are lines of their own, outside of code fences. NotFoundError when the page cannot be
    written; it is as it was then."""
    opening = f"{_OPENS}{name} -->"
    section = f"{opening}\n{text.strip()}\n{_CLOSES}"
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    lines = old.split("\n")
    marks = _marks(lines)
    start = next((number for number in marks if lines[number].rstrip() == opening), None)
    if start is None:
        new = (old.rstrip() + "\n\n" if old.strip() else "") + section + "\n"
    else:
        end = next((number for number in marks if number > start), None)
        if end is None or lines[end].rstrip() != _CLOSES:
            raise SystemExit(f"{page}:{start + 1}: {opening} is never closed; add {_CLOSES} after its text")
        new = "\n".join([*lines[:start], section, *lines[end + 1 :]])
    write_whole(page, new.encode(), make_folder=True)


def _marks(lines: Sequence[str]) -> list[int]:
    """The lines that open or close a section."""
    found, fenced = [], False
    for number, line in enumerate(lines):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced and line.startswith((_OPENS, _CLOSES)):
            found.append(number)
    return found
