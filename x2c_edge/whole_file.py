"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from x2c_edge.errors import NotFoundError


def write_whole(path: Path, data: bytes, *, make_folder: bool = False) -> None:
    """Write a file under another name first, so that a full disk leaves the older one as it was.

    make_folder: its folder, too, where that is missing. NotFoundError when it cannot be written. What is
    there and no file (``/dev/stdout``) is written directly; of a link, the file that it leads to is replaced,
    and a file keeps its permissions.
    """
    if make_folder:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotFoundError(
                f"{path}: cannot be written: cannot make its folder ({error.strerror}); choose another"
            ) from None
    partial = path.with_name(path.name + ".partial")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        if path.is_symlink():
            path = path.resolve()
            partial = path.with_name(path.name + ".partial")
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        with partial.open("wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # some disks say only now that they are full
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise NotFoundError(
            f"{path}: cannot be written ({error.strerror}); choose another place or make room"
        ) from None
