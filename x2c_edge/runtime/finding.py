"""One thing that ``x2c-edge doctor`` looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """needed: without it ``run`` cannot work at all."""

    what: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = False
