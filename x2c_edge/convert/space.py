"""Is there room on the disk, before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from x2c_edge.errors import NotFoundError

RESERVE_BYTES = 64 << 20  # stays free


def require_space(folder: Path, needed: int) -> None:
    """NotFoundError if the disk of ``folder`` (which exists) has not ``needed`` bytes and a reserve."""
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE_BYTES:
        raise NotFoundError(
            f"{folder}: {needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free; make room there"
        )
