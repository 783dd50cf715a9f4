"""Every fuzzer, short; the long run is ``python -m tests.fuzz DOOR``."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.__main__ import DOORS, fuzz, kept_seeds

SHORT = {
    "jpeg": (1500, {"refused", "not decoded", "decoded"}),
    "settings": (300, {"refused", "read"}),
    "manifest": (60, {"refused", "read"}),
    "mcap": (150, {"refused", "read", "cut short"}),
    "http": (60, {"200", "400", "404", "411"}),
}


@pytest.mark.parametrize("door", SHORT)
def test_no_promise_is_broken(door: str) -> None:
    cases, ends = SHORT[door]
    counts = fuzz(door, cases, "test")
    assert counts.total() == cases
    assert set(counts) >= ends  # it gets past the front door as well as not


@pytest.mark.parametrize(
    ("door", "seed"), kept_seeds() or [pytest.param("", "", marks=pytest.mark.skip("none"))]
)
def test_what_was_found_stays_mended(door: str, seed: str) -> None:
    DOORS[door](random.Random(seed))
