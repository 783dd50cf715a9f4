"""Frames on a serial line: a zero before and after, and finding them again in what arrives."""

from __future__ import annotations

from collections import Counter
from typing import Final

from x2c_edge.links.codec.cobs import cobs_decode, cobs_encode
from x2c_edge.links.codec.framing import decode
from x2c_edge.links.codec.messages import Message
from x2c_edge.links.codec.refusal import FrameError, Reason

MAX_BLOCK: Final = 178  # bytes between two zeros on a serial line; longer is rubbish (4.2 rule 1)


def to_serial(frame: bytes) -> bytes:
    """A frame as it goes over a serial line: ``00 | COBS | 00``."""
    return b"\0" + cobs_encode(frame) + b"\0"


class SerialParser:
    """Cuts a serial stream into messages; keeps one partial block and nothing else (4.2 rules 1-3).

    ok: frames accepted. bad: refused blocks by reason.
    """

    __slots__ = ("_overlong", "_partial", "bad", "ok")

    def __init__(self) -> None:
        self._partial = b""
        self._overlong = False
        self.ok = 0
        self.bad: Counter[Reason] = Counter()

    @property
    def n_bad(self) -> int:
        """Refused blocks, all reasons."""
        return self.bad.total()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes, in order."""
        messages = []
        *blocks, tail = data.split(b"\0")
        for block in blocks:
            block, self._partial = self._partial + block, b""
            if self._overlong:
                self._overlong = False
            elif len(block) > MAX_BLOCK:
                self.bad["length"] += 1
            elif block:
                try:
                    messages.append(decode(cobs_decode(block)))
                    self.ok += 1
                except FrameError as error:
                    self.bad[error.reason] += 1
        if not self._overlong:
            self._partial += tail[: MAX_BLOCK + 1]
            if len(self._partial) > MAX_BLOCK:
                self._overlong, self._partial = True, b""
                self.bad["length"] += 1
        return messages
