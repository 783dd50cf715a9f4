"""A file, or a folder, that is being written belongs to one program at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from x2c_edge.errors import NotFoundError


def opened_alone(path: Path | str, flags: int = 0) -> int:
    """The file, empty, to be written; created where it is missing. The descriptor is the lock.

    OSError when it cannot be opened; NotFoundError when somebody else writes it, whose content stays.
    """
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o666)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor  # devices and pipes are for everybody
        _lock(descriptor, f"{path}: is being written by another run; choose another file")
        if _is_still(path, descriptor):
            os.ftruncate(descriptor, 0)
            return descriptor
        os.close(descriptor)  # whoever had it has just given it another name


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Nobody else who asks this way changes what is in the folder meanwhile.

    OSError when it cannot be opened; NotFoundError when somebody else is at it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _lock(descriptor, f"{folder}: another x2c-edge command is changing it; wait until it is done")
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, taken: str) -> None:
    """Until the descriptor is closed. It is, and NotFoundError says ``taken``, when somebody has the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise NotFoundError(taken) from None
    except OSError:  # a file system without locks
        pass


def _is_still(path: Path | str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False
