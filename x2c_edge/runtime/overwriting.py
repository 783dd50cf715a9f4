"""What a run writes must not be what it reads, nor one file twice: said before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from x2c_edge.capture.images import SUFFIXES
from x2c_edge.errors import BadArgumentError
from x2c_edge.places import expanded


def require_apart(read: Iterable[Path | None], written: Iterable[Path | None]) -> None:
    """BadArgumentError for an output that is an input, a picture in an input's folder, or another output.
    Devices and pipes may be anything."""
    sources = [path for path in read if path is not None]
    outputs = [path for path in written if path is not None and _is_or_will_be_a_file(path)]
    for number, output in enumerate(outputs):
        if any(_same(output, source) or _is_picture_in(source, output) for source in sources):
            raise BadArgumentError(f"{output}: is read, and would be overwritten; choose another file")
        if any(_same(output, other) for other in outputs[:number]):
            raise BadArgumentError(f"{output}: two outputs on one file; give each its own")


def files_of(links: Iterable[str]) -> list[Path]:
    """The files that ``jsonl:`` links write."""
    names = [uri.removeprefix("jsonl:") for uri in links if uri.startswith("jsonl:")]
    return [expanded(name) for name in names if name not in ("", "-") and "\0" not in name]


def _is_or_will_be_a_file(path: Path) -> bool:
    try:
        return path.is_file() or not path.exists()
    except OSError:  # others say what is wrong with it
        return False


def _same(a: Path, b: Path) -> bool:
    try:
        return os.path.samefile(a, b)
    except ValueError:  # no name of a file
        return False
    except OSError:
        return os.path.realpath(a) == os.path.realpath(b)


def _is_picture_in(folder: Path, output: Path) -> bool:
    try:
        inside = folder.is_dir() and output.exists() and os.path.samefile(output.parent, folder)
    except OSError:
        return False
    return inside and output.suffix.lower() in SUFFIXES
