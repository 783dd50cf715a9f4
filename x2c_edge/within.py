"""What numbers a setting may have, said where the setting is defined."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Within:
    """``rate: Annotated[int, Within(1, 120)]``: from ``low`` to ``high``; ``low`` itself not if ``above``.

    A settings file may say nothing else (``config.py``). The class itself checks only what makes sense, so
    that a test or a tool can go further.
    """

    low: float
    high: float
    above: bool = False
