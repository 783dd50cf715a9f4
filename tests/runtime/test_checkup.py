from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from x2c_edge.runtime.checkup import checkup


def test_everything_is_looked_at_once():
    findings = checkup()
    names = [f.what for f in findings]
    assert len(names) == len(set(names))
    assert {
        "kernels",
        "default pack",
        "torch",
        "pycuda",
        "TensorRT",
        "video files",
        "cameras",
        "serial ports",
    } <= set(names)
    needed = [f.needed for f in findings]
    assert needed == sorted(needed, reverse=True)  # the needed ones first
    for finding in findings:
        assert finding.found
        assert "\n" not in finding.found + finding.fix
        assert finding.ok or finding.fix  # no complaint without a remedy


def test_a_broken_default_pack_is_found(small_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "packs" / "default"
    small_pack.rename(broken)
    monkeypatch.setenv("X2C_EDGE_PACKS", str(broken.parent))
    assert {f.what: f.ok for f in checkup()}["default pack"]
    (broken / "single_stage.safetensors").write_bytes(b"damaged")
    (finding,) = (f for f in checkup() if f.what == "default pack")
    assert not finding.ok
    assert finding.needed
    assert "sha256" in finding.found
    assert finding.fix.endswith("pip install --force-reinstall --no-deps .")  # the package is in no registry


def test_a_priority_that_is_denied_is_not_promised():
    """Being root is not enough: a container has no CAP_SYS_NICE unless it is given."""
    asked = "from x2c_edge.runtime.checkup import _priority; print(_priority().ok)"

    def without_the_right() -> None:
        resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
        resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
        ctypes.CDLL(None).prctl(24, 23)  # PR_CAPBSET_DROP, CAP_SYS_NICE

    done = subprocess.run(
        [sys.executable, "-c", asked], preexec_fn=without_the_right, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("why", "name", "fix"),
    [
        ("libGL.so.1: cannot open shared object file", "cv2", "sudo apt install libgl1 libglib2.0-0 libxcb1"),
        (
            "numpy.core.multiarray failed to import",
            None,
            "pip install 'numpy<2' (for a system's OpenCV), or ",
        ),
    ],
)
def test_an_opencv_that_cannot_be_loaded_is_found(tmp_path: Path, why: str, name: str | None, fix: str):
    """As where the system lacks libGL, or an OpenCV for NumPy 1 meets NumPy 2 (4.8.0 with 2.4 says this):
    the doctor ends its round, a run ends in one line."""
    (tmp_path / "cv2.py").write_text(f"raise ImportError({why!r}, name={name!r})\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])

    def told(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "x2c_edge.cli.main", *words]
        return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)

    doctor = told("doctor")
    assert (doctor.returncode, doctor.stderr) == (3, "")
    assert f"FAIL video files    OpenCV cannot be loaded: {why}\n" in doctor.stdout
    assert f"fix: {fix}" in doctor.stdout
    assert "tick priority" in doctor.stdout
    run = told("run", "--input", "clip.mp4")
    assert run.returncode == 3
    assert run.stderr.startswith(f"x2c-edge: OpenCV cannot be loaded ({why}); ")
    assert run.stderr.count("\n") == 1


def test_a_numpy_that_cannot_be_loaded_is_not_called_opencv(tmp_path: Path):
    (tmp_path / "numpy.py").write_text("raise ImportError('libopenblas.so.0 is missing', name='numpy')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    command = [sys.executable, "-m", "x2c_edge.cli.main", "run", "--input", "clip.mp4"]
    run = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.endswith("ImportError: libopenblas.so.0 is missing\n")
