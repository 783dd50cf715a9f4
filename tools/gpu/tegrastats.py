"""What lines of NVIDIA's tegrastats say about a run: a row for each figure, with its mean and its worst.

Format: "Tegrastats" in NVIDIA's Jetson Linux developer guide. Names of rails and sensors differ between
boards and releases, so every ``NAME@..C`` and ``NAME ..mW/..mW`` is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
_GPU = re.compile(r"\bGR3D_FREQ (\d+)%(?:@\[?(\d+))?")
_MEMORY = re.compile(r"\bEMC_FREQ (\d+)%(?:@(\d+))?")
_CPU = re.compile(r"\bCPU \[([^\]]*)\]")
_CORE = re.compile(r"(\d+)%@(\d+)")
_HEAT = re.compile(r"\b([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C\b")
_POWER = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)mW/\d+mW")
_ABSENT_C = -200.0  # a sensor of a part that is switched off says -256


def readings(line: str) -> dict[str, float]:
    """The figures of one line, by name and unit; those that it does not have are left out."""
    found: dict[str, float] = {}
    if ram := _RAM.search(line):
        found["RAM MB"] = float(ram[1])
    if cores := _CPU.search(line):
        busy = [(float(share), float(clock)) for share, clock in _CORE.findall(cores[1])]
        if busy:
            found["CPU %"] = sum(share for share, _ in busy) / len(busy)
            found["CPU MHz"] = max(clock for _, clock in busy)
    for name, pattern in (("GPU", _GPU), ("memory", _MEMORY)):
        if match := pattern.search(line):
            found[f"{name} %"] = float(match[1])
            if match[2] is not None:
                found[f"{name} MHz"] = float(match[2])
    found |= {f"{name} C": float(value) for name, value in _HEAT.findall(line) if float(value) > _ABSENT_C}
    found |= {f"{name} mW": float(value) for name, value in _POWER.findall(line) if name != "NC"}
    return found


def summary(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Rows ``{"figure", "mean", "least", "most"}`` over all lines; none for lines that say nothing."""
    series: dict[str, list[float]] = {}
    for line in lines:
        for name, value in readings(line).items():
            series.setdefault(name, []).append(value)
    return [
        {"figure": name, "mean": sum(values) / len(values), "least": min(values), "most": max(values)}
        for name, values in series.items()
    ]
