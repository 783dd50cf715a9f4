"""Choosing TensorRT, with the driver's and TensorRT's answers given: nothing here runs an engine."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fake_cuda import FakeDriver
from x2c_edge import _kernels, packs
from x2c_edge.backends import engine_files, pycuda_layer
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.backends.open import open_backend
from x2c_edge.errors import NotFoundError

ORIN = CudaDevice("Orin", "8.7", integrated=True, memory_bytes=8 << 30)


@pytest.fixture
def pack(small_pack: Path, pack_folders: Path) -> packs.Pack:
    return packs.open_pack("small")


@pytest.fixture
def orin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board with TensorRT 10.3."""
    monkeypatch.setattr(pycuda_layer, "driver", lambda: FakeDriver())
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.3.0"))


def install(pack: packs.Pack, tensorrt: str) -> None:
    key = engine_files.key_for(pack, ORIN, tensorrt, "fp16")
    folder = engine_files.engines_folder()
    engine_files.write_set(key, {"single_stage": b"plan"}, pack, {"frames": 1}, folder)


def refusal(pack: packs.Pack, name: str) -> str:
    with pytest.raises(NotFoundError) as error:
        open_backend(name, 1, pack=pack)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_without_a_driver(pack):
    said = refusal(pack, "tensorrt")
    assert said.startswith("backend 'tensorrt': ")
    assert "driver" in said or "pycuda is not installed" in said
    assert said.endswith("; or use --backend torch")
    assert open_backend("auto", 1, pack=pack).name == "torch"


@pytest.mark.parametrize("built", [False, True], ids=["no engines", "engines"])
@pytest.mark.parametrize("devices", [0, 1])
def test_without_pycuda(pack, orin, monkeypatch: pytest.MonkeyPatch, built: bool, devices: int):
    def missing() -> None:
        raise pycuda_layer.NoPycudaError("pycuda is not installed for this Python")

    if built:
        install(pack, "10.3.0")
    monkeypatch.setattr(pycuda_layer, "driver", missing)
    monkeypatch.setattr(_kernels, "cuda_device_count", lambda: devices)
    assert "pycuda is not installed" in refusal(pack, "tensorrt")
    if built and devices:
        assert "pycuda is not installed" in refusal(pack, "auto")
    else:
        assert open_backend("auto", 1, pack=pack).name == "torch"


def test_without_tensorrt(pack, orin, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert "TensorRT is not installed for this Python" in refusal(pack, "tensorrt")
    assert open_backend("auto", 1, pack=pack).name == "torch"


def test_without_engines(pack, orin):
    said = refusal(pack, "tensorrt")
    assert "run: x2c-edge build-engines --pack small --precision fp16; or use --backend torch" in said
    assert open_backend("auto", 1, pack=pack).name == "torch"


@pytest.mark.parametrize("name", ["auto", "tensorrt"])
def test_engines_that_do_not_fit_are_an_error_for_auto_too(pack, orin, name: str):
    install(pack, "8.6.2")
    assert "built with TensorRT 8.6.2, here is TensorRT 10.3.0; run: x2c-edge build-engines" in refusal(
        pack, name
    )


@pytest.mark.parametrize("name", ["auto", "tensorrt"])
def test_kernels_without_cuda(pack, orin, monkeypatch: pytest.MonkeyPatch, name: str):
    install(pack, "10.3.0")
    monkeypatch.setattr(_kernels, "cuda_built", lambda: False)
    assert "the kernels were built without CUDA; with nvcc on PATH run: pip install" in refusal(pack, name)


@pytest.mark.parametrize("name", ["auto", "tensorrt"])
def test_kernels_that_find_no_device(pack, orin, monkeypatch: pytest.MonkeyPatch, name: str):
    install(pack, "10.3.0")
    monkeypatch.setattr(_kernels, "cuda_built", lambda: True)
    monkeypatch.setattr(_kernels, "cuda_device_count", lambda: 0)
    assert "CUDA finds no device that it can use; see nvidia-smi" in refusal(pack, name)


@pytest.mark.parametrize("name", ["auto", "tensorrt"])
def test_damaged_engines(pack, orin, name: str):
    install(pack, "10.3.0")
    for engine in engine_files.engines_folder().rglob("*.engine"):
        engine.write_bytes(b"other")
    assert "single_stage.engine: missing or damaged" in refusal(pack, name)
