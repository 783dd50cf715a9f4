"""Why bytes are refused."""

from __future__ import annotations

from typing import Final, Literal, get_args

Reason = Literal["crc", "version", "flags", "layout", "length", "type", "nonfinite", "cobs", "auth"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


class FrameError(Exception):
    """Bytes that are not a frame we may use; ``reason`` is the counter they belong to."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"frame refused: {reason}")
        self.reason: Reason = reason
