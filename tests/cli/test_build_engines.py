from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def build_engines(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "x2c_edge.cli.main", "build-engines", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_without_a_driver_one_line_and_never_a_crash(small_pack: Path, pack_folders: Path):
    result = build_engines("--pack", "small")
    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "driver" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--precision", "fp17"), 2, "precision 'fp17' (did you mean 'fp16'?): choose fp32, fp16, int8"),
        (("--pack", "smal"), 3, "pack 'smal' is not installed (did you mean 'small'?)"),
    ],
)
def test_wrong_arguments(small_pack: Path, pack_folders: Path, arguments, code: int, says: str):
    result = build_engines(*arguments)
    assert result.returncode == code
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
