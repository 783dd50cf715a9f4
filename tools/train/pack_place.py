"""Where a trained pack is written: nothing but a pack gives way to it, and it is whole or not there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from x2c_edge import packs
from x2c_edge.convert.replace_net import made_beside
from x2c_edge.errors import BadArgumentError, NotFoundError


def require_place(out: Path, alone: str = "") -> None:
    """Before hours of training: whether a pack can be written to ``out``, which is replaced as a whole.

    alone: the one net that a pack which is there may have. BadArgumentError for what would be lost,
    NotFoundError for a place that cannot be written.
    """
    try:
        if out.is_dir() and any(out.iterdir()):
            _require_pack(out, alone)
        elif out.exists() and not out.is_dir():
            raise BadArgumentError(f"--out {out}: is a file; give a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent):
            pass
    except OSError as error:
        raise _not_written(out, error) from None


@contextmanager
def pack_beside(out: Path, alone: str = "") -> Iterator[Path]:
    """An empty folder for a pack that takes the place of ``out`` when all went well; as ``require_place``."""
    require_place(out, alone)
    try:
        with made_beside(out) as partial:
            yield partial
    except OSError as error:
        raise _not_written(out, error) from None


def _require_pack(out: Path, alone: str) -> None:
    try:
        nets = packs.read_manifest(out).nets
    except NotFoundError:
        raise BadArgumentError(
            f"--out {out}: what is in it is no pack and would be lost; give an empty or a new folder"
        ) from None
    others = [net for net in nets if net != alone]
    if alone and others:
        raise BadArgumentError(
            f"--out {out}: a pack whose other nets ({', '.join(others)}) would be lost; give another folder"
        )


def _not_written(out: Path, error: OSError) -> NotFoundError:
    return NotFoundError(f"{out}: cannot be written ({error.strerror}); make room or give another --out")
