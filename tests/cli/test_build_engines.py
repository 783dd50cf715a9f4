from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.patience import patient


def build_engines(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "x2c_edge.cli.main", "build-engines", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=patient(120), check=False)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_without_a_driver_one_line_and_never_a_crash(small_pack: Path, pack_folders: Path):
    result = build_engines("--pack", "small")
    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert ("driver" if find_spec("pycuda") else "pycuda is not installed") in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--precision", "fp17"), 2, "precision 'fp17' (did you mean 'fp16'?): choose fp32, fp16, int8"),
        (("--target", "gpo"), 2, "target 'gpo' (did you mean 'gpu'?): choose gpu, cpu"),
        (("--target", "cpu", "--precision", "int8"), 2, "precision 'int8': the CPU engine is fp32"),
        (("--pack", "smal"), 3, "pack 'smal' is not installed (did you mean 'small'?)"),
    ],
)
def test_wrong_arguments(small_pack: Path, pack_folders: Path, arguments, code: int, says: str):
    result = build_engines(*arguments)
    assert result.returncode == code
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_for_the_cpu(small_pack: Path, pack_folders: Path, face_clip: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("X2C_EDGE_ENGINES", str(tmp_path / "engines"))
    first = build_engines("--pack", "small", "--target", "cpu", "--clip", str(face_clip))
    assert first.returncode == 0, first.stderr
    assert "1 engine(s), fp32; largest error" in first.stdout
    again = build_engines("--pack", "small", "--target", "cpu", "--clip", str(face_clip))
    assert again.stdout.startswith("already built: ")
