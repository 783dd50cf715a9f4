"""A file that is being written belongs to one program at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from x2c_edge.errors import NotFoundError


def opened_alone(path: Path | str, flags: int = 0) -> int:
    """The file to be written, created where it is missing; its content is the caller's to drop, until when
    another program's stays. The descriptor is the lock.

    OSError when it cannot be opened, NotFoundError when somebody else writes it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise NotFoundError(f"{path}: is being written by another run; choose another file") from None
    except OSError:  # a file system, or a pipe, without locks
        return descriptor
    return descriptor
