"""What a part of gpu_check is made of."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
Found = tuple[str, list[dict[str, Any]]]  # one line, and the rows of a table


class Skip(Exception):  # noqa: N818 (an outcome, not an error)
    """A part that cannot be done here, and why."""


@dataclass(frozen=True)
class Part:
    """work: what to do. limit_s: when to give it up. needs: "gpu", "torch" (one that
    sees the GPU), "jetson", or "" for any machine."""

    work: Callable[[], Found]
    limit_s: float
    needs: str = "gpu"


def run(command: list[str], allowed: tuple[int, ...] = (0,)) -> str:
    """Output of a command; AssertionError with its end if it fails."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if result.returncode not in allowed:
        raise AssertionError(
            f"{' '.join(command[:3])} gave {result.returncode}: {result.stdout[-600:].strip()}"
        )
    return result.stdout


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def cell(value: Any) -> str:
    """As it stands in a table of Markdown."""
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "/").split())
