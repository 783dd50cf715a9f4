"""Fuzzers of every door that strangers may knock at: ``python -m tests.fuzz jpeg --minutes 10``.

Doors: codec, http, jpeg, manifest, mcap, settings. Ends after ``--cases`` or ``--minutes``, whichever comes
first. Every case has a seed of its own; that of one that broke a promise is printed and kept in
``tests/fuzz/seeds.txt``, which the tests replay from then on.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

from tests.fuzz import fuzz_codec
from tests.fuzz.hostile import CASES, Case

SEEDS = Path(__file__).with_name("seeds.txt")


def codec_case(rng: random.Random) -> str:
    play = fuzz_codec.ROUNDS[rng.randrange(len(fuzz_codec.ROUNDS))]
    return f"{play.__name__}: {play(rng)}"


DOORS: dict[str, Case] = {"codec": codec_case, **CASES}


def kept_seeds() -> list[tuple[str, str]]:
    """Door and seed of every case that ever broke a promise."""
    lines = SEEDS.read_text().splitlines() if SEEDS.exists() else []
    return [(door, seed) for door, _, seed in (line.partition(" ") for line in lines if line) if seed]


def fuzz(door: str, cases: int, seed: str, minutes: float = float("inf")) -> Counter[str]:
    """How often the cases ended in which way. The first broken promise is raised, its seed kept."""
    case, counts = DOORS[door], Counter[str]()
    end = time.monotonic() + 60 * minutes
    for number in range(cases):
        if time.monotonic() > end:
            break
        own = f"{seed}-{number}"
        try:
            counts[case(random.Random(own))] += 1
        except BaseException:
            print(f"broken by: {door} {own}", file=sys.stderr)
            if (door, own) not in kept_seeds():
                with SEEDS.open("a") as file:
                    file.write(f"{door} {own}\n")
            raise
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("door", choices=sorted(DOORS))
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", default="1")
    given = parser.parse_args()
    start = time.monotonic()
    counts = fuzz(given.door, given.cases, given.seed, given.minutes)
    seconds = time.monotonic() - start
    print(f"{given.door}: {counts.total()} cases, seed {given.seed}, {seconds:.0f} s: no promise broken")
    for name, count in sorted(counts.items()):
        print(f"  {count:8d}  {name}")


if __name__ == "__main__":
    main()
