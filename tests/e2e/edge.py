"""What the end-to-end tests share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from x2c_edge import packs
from x2c_edge.errors import NotFoundError

CLIPS = Path(__file__).parents[2].parent / "shared" / "data" / "clips"
EDGE = [sys.executable, "-m", "x2c_edge.cli.main"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def clip(name: str) -> Path:
    """A shared clip; skips the test when it, or the default pack, is absent."""
    try:
        packs.find("default")
    except NotFoundError as error:
        pytest.skip(str(error))
    path = CLIPS / f"{name}.mp4"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path
