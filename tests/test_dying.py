"""A test that kills its process takes no other test with it, and the report of ``make test`` names it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.patience import patient

TESTS = """
import os

def test_before(): pass

def test_that_dies(): os.abort()

def test_after(): pass
"""


def test_only_the_test_that_dies_is_lost(tmp_path: Path) -> None:
    (tmp_path / "test_three.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    done = subprocess.run(
        [*command, "test_three.py"], cwd=tmp_path, capture_output=True, text=True, timeout=patient(120)
    )
    assert "FAILED test_three.py::test_that_dies" in done.stdout
    assert "1 failed, 2 passed" in done.stdout
