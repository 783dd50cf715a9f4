"""The program as a user runs it: real processes, real clips, the shipped pack."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.edge import EDGE, Run
from tests.patience import patient


@pytest.fixture
def edge(tmp_path: Path) -> Run:
    """Run ``x2c-edge ARGS`` in an empty folder and return the finished process."""

    def run(*args: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        return subprocess.run(
            [*EDGE, *map(str, args)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=patient(timeout),
        )

    return run
