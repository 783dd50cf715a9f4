"""The settings file that ``setup`` and ``check-robot`` write. What they do not know stays in it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any, Final

from x2c_edge import config
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.runtime.settings import Settings, load
from x2c_edge.runtime.supervision import envelope_of
from x2c_edge.toml_text import from_toml, to_toml
from x2c_edge.whole_file import write_whole

_HEAD: Final = "# Written by x2c-edge setup and check-robot; every key: docs/configuration.md\n\n"

Tables = dict[str, Any]


def tables_of(path: Path) -> Tables:
    """What a settings file says, checked; nothing where there is none."""
    if not path.exists():
        return {}
    load(path)
    return from_toml(path.read_bytes())


def with_changes(tables: Tables, changes: Tables) -> Tables:
    """``tables`` with the keys of ``changes`` in place of its own; None takes a key out."""
    merged = dict(tables)
    for key, value in changes.items():
        inner = merged.get(key)
        if isinstance(value, dict):
            merged[key] = with_changes(inner if isinstance(inner, dict) else {}, value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def checked(tables: Tables) -> str:
    """Their TOML. BadArgumentError when a run would refuse them."""
    text = _HEAD + to_toml(tables)
    try:
        text.encode()  # a path may hold bytes that are no text
        settings = config.filled(Settings, tables)
    except (ValueError, BadArgumentError) as error:
        raise BadArgumentError(f"settings: {error}") from None
    envelope_of(settings)
    return text


def write(path: Path, tables: Tables) -> Path | None:
    """Write them. What was there before is kept beside it; returns where, None when there was nothing.

    BadArgumentError when a run would refuse them, NotFoundError when they cannot be written.
    """
    text = checked(tables).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.exists() else None
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    kept = None
    if before is not None and before != text:
        kept = _free_name(path)
        write_whole(kept, before)
        kept.chmod(stat.S_IMODE(path.stat().st_mode))
    write_whole(path, text)
    return kept


def _free_name(path: Path) -> Path:
    """``config.toml.old``, ``config.toml.old2`` and so on: an older copy is not overwritten either."""
    kept, number = path.with_name(f"{path.name}.old"), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.old{number}")
    return kept
