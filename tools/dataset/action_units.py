"""How often action units show in a set of pairs, counted from the controls: the paper's Table A.1 for it.

The paper ran OpenFace over its pictures. On our robot the controls are the truth, so a table says which of
them make which unit. A unit shows where a control has gone at least ``SHOWS`` of the way from its neutral to
the end that makes it; of left and right one is enough, as for OpenFace, which knows no sides. What OpenFace
counts and what this counts are two different things: an order of size can be compared, no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import HIGH, INDEX, LOW, NEUTRAL, SAFE_LOW

SHOWS: Final = 0.25
PAPER_PAIRS: Final = 100_000


@dataclass(frozen=True)
class ActionUnit:
    """ways: (control, "up" or "down" from its neutral); any one makes the unit, "*" stands for both sides.
    paper: of 100,000 pictures (its Table A.1). Without ways the robot has no actuator for it: ``why``."""

    number: int
    name: str
    paper: int
    ways: tuple[tuple[str, str], ...] = ()
    shows: float = SHOWS
    why: str = ""


UNITS: Final = (
    ActionUnit(1, "inner brow raiser", 38_672, (("Brow Inner *", "up"),)),
    ActionUnit(2, "outer brow raiser", 37_652, (("Brow Outer *", "up"),)),
    ActionUnit(4, "brow lowerer", 9_310, (("Brow Inner *", "down"),)),
    ActionUnit(5, "upper lid raiser", 61_602, (("Eyelid Upper *", "up"),)),
    ActionUnit(6, "cheek raiser", 17_551, why="no motor lifts the cheek; a smile carries it along"),
    ActionUnit(7, "lid tightener", 26_926, (("Eyelid Lower *", "down"),)),
    ActionUnit(9, "nose wrinkler", 8_427, (("Nose Wrinkle", "up"),)),
    ActionUnit(10, "upper lip raiser", 31_231, (("Lip Top Raise *", "up"), ("Lip Top Raise Middle", "up"))),
    ActionUnit(12, "lip corner puller", 11_065, (("Lip Corner Raise *", "up"),)),
    ActionUnit(14, "dimpler", 95_297, why="no motor; OpenFace saw it in the robot's resting mouth"),
    ActionUnit(15, "lip corner depressor", 4_670, (("Lip Corner Raise *", "down"),)),
    ActionUnit(17, "chin raiser", 23_581, (("Lip Bottom Depress Middle", "down"),)),
    ActionUnit(20, "lip stretcher", 9_969, (("Lip Corner Stretch *", "up"),)),
    ActionUnit(
        25,
        "lips part",
        19_516,
        (("Jaw Pitch", "down"), ("Lip Bottom Depress Middle", "up"), ("Lip Top Raise Middle", "up")),
    ),
    ActionUnit(26, "jaw drop", 14_441, (("Jaw Pitch", "down"),)),
    # An eye is shut where its lids meet: all the way from open (1) to shut (0), which is half of the range.
    ActionUnit(45, "blink", 22_908, (("Eyelid Upper *", "down"),), shows=0.5),
)


def counts(controls: NDArray[np.floating]) -> dict[int, int | None]:
    """In how many of the poses (N, 30), paper units, each unit shows; None where nothing can make it."""
    return {u.number: int(shown(u, controls).sum()) if u.ways else None for u in UNITS}


def shown(unit: ActionUnit, controls: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,): whether the unit shows in each pose."""
    found = np.zeros(len(controls), dtype=bool)
    for way, direction in unit.ways:
        for name in (way.replace("*", "Left"), way.replace("*", "Right")):
            k = INDEX[name]
            # The jaw opens to the safe range's end; the wire's is never asked for.
            end = HIGH[k] if direction == "up" else max(LOW[k], SAFE_LOW[k])
            found |= (controls[:, k] - NEUTRAL[k]) / (end - NEUTRAL[k]) >= unit.shows - 1e-6
    return found


def rows(controls: NDArray[np.floating]) -> list[list[str]]:
    """A row for every unit: what makes it, how often, per 100,000 pairs, and the paper's count."""
    found = counts(controls)
    table = []
    for unit in UNITS:
        number = found[unit.number]
        how = ", ".join(f"{name} {direction}" for name, direction in unit.ways) or unit.why
        scaled = "–" if number is None else f"{number * PAPER_PAIRS / max(len(controls), 1):.0f}"
        table.append([f"AU{unit.number:02d} {unit.name}", how, scaled, f"{unit.paper}"])
    return table


HEADER: Final = ("action unit", "made by", "per 100,000 pairs", "paper")
