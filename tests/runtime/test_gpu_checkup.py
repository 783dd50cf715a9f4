"""What the doctor says of a GPU, with the packages' and the driver's answers given."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fake_cuda import FakeDriver
from x2c_edge import _kernels
from x2c_edge.backends import pycuda_layer
from x2c_edge.errors import NotFoundError
from x2c_edge.runtime import gpu_checkup as checking
from x2c_edge.runtime.finding import Finding

PACKAGES = {"pycuda": "2026.1", "tensorrt": "10.3.0"}
PC = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024
GCC version:  gcc version 12.3.0
"""
TEGRA = "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64\n"


@pytest.fixture(autouse=True)
def board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An Orin where all fits: CUDA 12.6, TensorRT 10.3."""
    monkeypatch.setattr(pycuda_layer, "driver", lambda: FakeDriver())
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.3.0", __spec__=object()))
    monkeypatch.setattr(checking, "_version_of", lambda package: PACKAGES.get(package, ""))
    monkeypatch.setattr(checking, "TEGRA", tmp_path / "tegra")
    monkeypatch.setattr(checking, "PC", tmp_path / "none")
    (tmp_path / "tegra").write_text(TEGRA)
    kernels(monkeypatch)


def kernels(
    monkeypatch: pytest.MonkeyPatch, *, built: int = 12060, knows: int = 12060, count: int = 1
) -> None:
    monkeypatch.setattr(_kernels, "cuda_built", lambda: built > 0)
    monkeypatch.setattr(_kernels, "cuda_versions", lambda: (built, knows if built else 0))
    monkeypatch.setattr(_kernels, "cuda_device_count", lambda: count if built else 0)


def refuse(monkeypatch: pytest.MonkeyPatch, error: NotFoundError) -> None:
    def driver() -> None:
        raise error

    monkeypatch.setattr(pycuda_layer, "driver", driver)


def findings() -> dict[str, Finding]:
    found = {finding.what: finding for finding in checking.gpu_checkup()}
    assert list(found) == ["CUDA device", "NVIDIA driver", "pycuda", "TensorRT"]
    for finding in found.values():
        assert finding.found
        assert "\n" not in finding.found + finding.fix
        assert finding.ok or finding.fix
        assert not finding.needed
    return found


def test_a_board_where_all_fits():
    found = findings()
    assert all(finding.ok for finding in found.values())
    assert found["CUDA device"].found == "Orin (compute capability 8.7, 9 GB); kernels of CUDA 12.6"
    assert found["NVIDIA driver"].found == "Jetson Linux 36.4.0, CUDA 12.6 at most"
    assert found["pycuda"].found == "2026.1 of CUDA 12.6"
    assert found["TensorRT"].found == "10.3.0"


def test_a_pc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "pc").write_text(PC)
    monkeypatch.setattr(checking, "TEGRA", tmp_path / "none")
    monkeypatch.setattr(checking, "PC", tmp_path / "pc")
    assert findings()["NVIDIA driver"].found == "550.54.15, CUDA 12.6 at most"


def test_nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(checking, "TEGRA", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    refuse(monkeypatch, pycuda_layer.NoPycudaError("pycuda is not installed"))
    kernels(monkeypatch, knows=0, count=0)
    found = findings()
    assert not any(finding.ok for finding in found.values())
    assert found["CUDA device"].found == "none: the CPU does the work"
    assert found["NVIDIA driver"].found == "none"
    assert "pip install 'x2c-edge[tensorrt]'" in found["pycuda"].fix


def test_without_pycuda_the_kernels_tell_what_they_see(monkeypatch: pytest.MonkeyPatch):
    refuse(monkeypatch, pycuda_layer.NoPycudaError("pycuda is not installed"))
    found = findings()
    assert found["CUDA device"].ok
    assert found["CUDA device"].found.startswith("1, not named without pycuda")
    assert found["NVIDIA driver"].found.endswith("CUDA 12.6 at most")
    assert not found["pycuda"].ok


@pytest.mark.parametrize("pycuda", [False, True])
def test_kernels_without_cuda(monkeypatch: pytest.MonkeyPatch, pycuda: bool):
    if not pycuda:
        refuse(monkeypatch, pycuda_layer.NoPycudaError("pycuda is not installed"))
    kernels(monkeypatch, built=0)
    finding = findings()["CUDA device"]
    assert not finding.ok
    assert "without CUDA" in finding.found
    assert "nvcc" in finding.fix


def test_kernels_of_a_newer_cuda(monkeypatch: pytest.MonkeyPatch):
    kernels(monkeypatch, built=13000, count=0)
    finding = findings()["CUDA device"]
    assert not finding.ok
    assert "built with CUDA 13.0 and the driver knows 12.6 at most" in finding.found


def test_kernels_that_find_no_device(monkeypatch: pytest.MonkeyPatch):
    kernels(monkeypatch, count=0)
    assert findings()["CUDA device"].fix == "see nvidia-smi"


def test_a_pycuda_of_a_newer_cuda(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pycuda_layer, "driver", lambda: FakeDriver(built=(13, 0, 0)))
    finding = findings()["pycuda"]
    assert not finding.ok
    assert finding.found == "2026.1 of CUDA 13.0, but the driver knows 12.6 at most"


def test_a_pycuda_of_an_older_minor_release_or_major_one_fits(monkeypatch: pytest.MonkeyPatch):
    for built in ((12, 8, 0), (11, 8, 0)):
        monkeypatch.setattr(pycuda_layer, "driver", lambda built=built: FakeDriver(built=built))
        assert findings()["pycuda"].ok


def test_a_pycuda_that_does_not_load(monkeypatch: pytest.MonkeyPatch):
    refuse(monkeypatch, NotFoundError("no NVIDIA driver here (libcuda.so.1 is not found)"))
    assert findings()["pycuda"].found == "2026.1, but no NVIDIA driver here (libcuda.so.1 is not found)"


def test_a_tensorrt_of_a_newer_cuda(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        checking, "_version_of", lambda package: {**PACKAGES, "tensorrt-cu13": "10.3.0"}.get(package, "")
    )
    finding = findings()["TensorRT"]
    assert not finding.ok
    assert finding.found == "10.3.0 for CUDA 13, but the driver knows 12.6 at most"


def test_a_tensorrt_that_is_too_old(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="8.5.2", __spec__=object()))
    assert "older than 8.6" in findings()["TensorRT"].found
