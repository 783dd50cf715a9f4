"""Changing a pack's manifest, for tests of what is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def edit_manifest(pack: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite the manifest of the pack folder ``pack`` after ``change`` has had its way with it."""
    path = pack / "manifest.toml"
    data = tomllib.loads(path.read_text())
    change(data)
    path.write_text(tomli_w.dumps(data))
