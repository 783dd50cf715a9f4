"""The codec's fuzzer, short; the long run is ``python tests/fuzz/fuzz_codec.py --frames 1000000``."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest


@pytest.mark.parametrize("seed", [1, 2])
def test_no_exception_and_no_wrong_accept(seed: int) -> None:
    fuzz = runpy.run_path(str(Path(__file__).with_name("fuzz_codec.py")))["fuzz"]

    counts = fuzz(4000, seed)

    assert counts.total() == 4000
    # Every reason that damage can produce did occur: the fuzzer reaches the inner checks.
    reached = {name.split(": ")[1] for name in counts}
    assert reached >= {"accepted", "crc", "length", "cobs", "version", "flags", "type", "layout", "auth"}
