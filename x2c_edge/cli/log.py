"""``--log-level`` and ``--log-file``: where the events of a run are written, if anywhere."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Final, Literal

from x2c_edge.cli.streams import say
from x2c_edge.errors import NotFoundError

Level = Literal["debug", "info", "warning", "error"]
_FORM: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _File(logging.FileHandler):
    """Says once that the file takes no more; ``logging``'s own prints a traceback for every line."""

    lost = ""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not _File.lost:
            _File.lost = f"--log-file {self.baseFilename}: {sys.exc_info()[1]}; make room"
            say(_File.lost)


def lost() -> str:
    """Why the log is not whole; empty when it is."""
    return _File.lost


def start(level: Level | None, file: Path | None) -> None:
    """To standard error, or to the end of ``file``; "info" and worse if there is a file and no level.

    Without either nothing is written: the panel shows it all. NotFoundError for a file that takes nothing.
    """
    if level is None and file is None:
        return
    logger = logging.getLogger("x2c_edge")
    try:
        handler = logging.StreamHandler() if file is None else _File(file, encoding="utf-8")
    except OSError as error:
        raise NotFoundError(
            f"--log-file {file}: {error.strerror}; choose a file that can be written"
        ) from None
    handler.setFormatter(logging.Formatter(_FORM))
    logger.addHandler(handler)
    logger.setLevel((level or "info").upper())
