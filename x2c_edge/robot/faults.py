"""Faults to order: ``drop=0.05,flip=1e-4,stall=2s@10s,unplug=3s@20s``.

Chances per received piece (a read from the line, a datagram, a message): ``drop`` it, ``dup``licate it,
``noise`` before it; ``flip`` per bit. Spans, ``LONG@START`` in seconds after the start: ``stall`` neither
reads nor talks, ``unplug`` is gone, ``mute`` reads but does not talk, and the robot's own ``overheat``,
``overcurrent``, ``supply`` and ``estop``. ``seed`` makes the chances others. A span may be given several
times.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Final

from x2c_edge.errors import BadArgumentError, nearest

CHANCES: Final = ("drop", "dup", "flip", "noise")
ROBOT_FAULTS: Final = {
    "overheat": "overheat", "overcurrent": "overcurrent", "supply": "supply", "estop": "e-stop",
}  # fmt: skip
SPANS: Final = ("stall", "unplug", "mute", *ROBOT_FAULTS)
_SPAN: Final = re.compile(r"(\d+\.?\d*)s?@(\d+\.?\d*)s?")


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` to ``end``, seconds after the start."""

    start: float
    end: float


class Faults:
    """The faults of one ``--fault`` option. BadArgumentError names what is wrong with it."""

    def __init__(self, text: str = "") -> None:
        self._chance = dict.fromkeys(CHANCES, 0.0)
        self._spans: dict[str, list[Span]] = {name: [] for name in SPANS}
        seed = 1
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = item.partition("=")
            if name in CHANCES:
                self._chance[name] = _chance(item, value)
            elif name in SPANS:
                self._spans[name].append(_span(item, value))
            elif name == "seed" and value.isdecimal():
                seed = int(value)
            else:
                known = (*CHANCES, *SPANS, "seed")
                raise BadArgumentError(
                    f"fault '{item}': unknown{nearest(name, known)}; use NAME=VALUE with {', '.join(known)}"
                )
        self._random = random.Random(seed)

    def active(self, name: str, elapsed_s: float) -> bool:
        """Whether a span of this name is on."""
        return any(span.start <= elapsed_s < span.end for span in self._spans[name])

    def broken(self, elapsed_s: float) -> str:
        """The robot's own fault now (as STATUS names it), or an empty string."""
        return next((ROBOT_FAULTS[name] for name in ROBOT_FAULTS if self.active(name, elapsed_s)), "")

    def refuse_damaged_bits(self, uri: str) -> None:
        """For a link on TCP. BadArgumentError when bits are to be damaged."""
        if self._chance["flip"] or self._chance["noise"]:
            raise BadArgumentError(
                f"link '{uri}': TCP carries no damaged bits; flip and noise need serial or udp"
            )

    def damage(self, piece: bytes) -> list[bytes]:
        """What arrives instead of ``piece``."""
        chance, dice = self._chance, self._random
        if dice.random() < chance["drop"]:
            return []
        if chance["flip"]:
            piece = self._flip(piece, chance["flip"])
        noise = [dice.randbytes(dice.randint(1, 200))] if dice.random() < chance["noise"] else []
        return [*noise, piece, *([piece] if dice.random() < chance["dup"] else [])]

    def passes(self) -> int:
        """How often a message arrives that cannot be damaged: 0, 1 or 2 times."""
        if self._random.random() < self._chance["drop"]:
            return 0
        return 2 if self._random.random() < self._chance["dup"] else 1

    def _flip(self, piece: bytes, chance: float) -> bytes:
        damaged = bytearray(piece)
        for bit in range(8 * len(damaged)):
            if self._random.random() < chance:
                damaged[bit // 8] ^= 1 << bit % 8
        return bytes(damaged)


def _chance(item: str, value: str) -> float:
    try:
        chance = float(value)
    except ValueError:
        chance = -1.0
    if not 0 <= chance <= 1:
        raise BadArgumentError(f"fault '{item}': a chance is a number from 0 to 1")
    return chance


def _span(item: str, value: str) -> Span:
    match = _SPAN.fullmatch(value)
    if match is None:
        raise BadArgumentError(f"fault '{item}': write LONG@START in seconds, such as 2s@10s")
    long, start = float(match[1]), float(match[2])
    return Span(start, start + long)
