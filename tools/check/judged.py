"""What is held to the strictest tests, by coverage (tests/safety/test_coverage.py) and by mutation alike."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
JUDGED: Final = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("x2c_edge/safety/*.py", "x2c_edge/one_euro.py", "x2c_edge/links/codec/*.py")
    for path in ROOT.glob(pattern)
)
TESTS: Final = ["tests/safety", "tests/links/test_codec.py"]  # those beside it
