"""What every benchmark here does alike: interleaved medians, Markdown tables, sections of a page."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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


def replace_section(page: Path, name: str, text: str) -> None:
    """Put text between ``<!-- bench:NAME -->`` and ``<!-- /bench -->``; a page without them gets them
    at its end."""
    opening, closing = f"<!-- bench:{name} -->", "<!-- /bench -->"
    section = f"{opening}\n{text.strip()}\n{closing}"
    old = page.read_text() if page.exists() else ""
    start = old.find(opening)
    if start < 0:
        new = (old.rstrip() + "\n\n" if old.strip() else "") + section + "\n"
    else:
        end = old.find(closing, start)
        if end < 0:
            raise SystemExit(f"{page}: {opening} is never closed; add {closing} after it")
        new = old[:start] + section + old[end + len(closing) :]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(new)
