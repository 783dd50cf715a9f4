"""TOML from anybody: everything wrong with it is a ValueError, in bounded time and memory."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Final

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES: Final = 1 << 20
_LONGEST_KEY: Final = 32  # parts between dots; the parser's memory grows with their square
_TOKEN: Final = re.compile(r"""[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'|\.|[ \t]+|.""", re.DOTALL)


def from_toml(raw: bytes) -> dict[str, Any]:
    """The tables of a TOML file, UTF-8 with or without a byte-order mark (editors on Windows write one)."""
    if len(raw) > MOST_BYTES:
        raise ValueError(f"is longer than {MOST_BYTES >> 20} MiB")
    text = raw.decode("utf-8-sig")
    _require_short_keys(text)
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return tables


def _require_short_keys(text: str) -> None:
    """ValueError for a.b.c and so on without end, as a key or the name of a table."""
    dots = 0
    for token in _TOKEN.finditer(text):
        piece = token.group()
        if piece == ".":
            dots += 1
            if dots >= _LONGEST_KEY:
                raise ValueError(f"has a key of more than {_LONGEST_KEY} parts")
        elif not (piece[0] in "\"' \t" or piece[0].isalnum() or piece[0] in "_-"):
            dots = 0


def to_toml(tables: dict[str, Any]) -> str:
    """Tables of text, numbers, truth values, lists and tables as TOML; None is left out."""
    return "\n".join(_table_lines((), tables)).lstrip("\n") + "\n"


def _table_lines(path: tuple[str, ...], table: dict[str, Any]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict) and value is not None}
    lines = [f"{toml_key(key)} = {toml_value(value)}" for key, value in plain.items()]
    if path and lines:
        lines = ["", f"[{'.'.join(map(toml_key, path))}]", *lines]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _table_lines((*path, key), value)
    return lines


def toml_key(key: str) -> str:
    """A key as TOML, quoted where it must be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def toml_value(value: Any) -> str:
    """Text, a number, a truth value or a list of them as TOML; anything else as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, (int, float)):
        return repr(value)
    return _text(str(value))


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
