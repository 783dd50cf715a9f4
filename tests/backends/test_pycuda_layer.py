"""PycudaLayer against a stand-in of pycuda; tests/backends/test_pycuda.py has the real one."""

from __future__ import annotations

import sys
import threading
from types import ModuleType

import numpy as np
import pytest

from tests.fake_cuda import FakeCuda, FakeDriver
from x2c_edge.backends import pycuda_layer
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.errors import NotFoundError

BOARD = CudaDevice("Orin", "8.7", integrated=True, memory_bytes=8 << 30)


def installed(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver | None) -> None:
    """A package ``pycuda``; None: its driver module is not there."""
    package = ModuleType("pycuda")
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    if driver is not None:
        package.driver = driver


def test_a_device(monkeypatch: pytest.MonkeyPatch):
    installed(monkeypatch, FakeDriver())
    assert pycuda_layer.cuda_device(pycuda_layer.driver()) == BOARD


def test_no_pycuda(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pycuda", None)
    said = r"^pycuda is not installed .*; with nvcc on PATH run: pip install 'x2c-edge\[tensorrt\]'$"
    with pytest.raises(pycuda_layer.NoPycudaError, match=said):
        pycuda_layer.driver()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("libcuda.so.1: cannot open shared object file", r"^no NVIDIA driver here \(libcuda\.so\.1 is not"),
        ("undefined symbol: cuCtxCreate_v4", "^pycuda was built for other libraries .*cuCtxCreate_v4"),
    ],
)
def test_a_pycuda_that_does_not_load(monkeypatch: pytest.MonkeyPatch, error: str, says: str):
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> None:
            raise ImportError(error)

    monkeypatch.setitem(sys.modules, "pycuda", Broken("pycuda"))
    with pytest.raises(NotFoundError, match=says):
        pycuda_layer.driver()


def test_a_driver_that_finds_no_gpu(monkeypatch: pytest.MonkeyPatch):
    installed(monkeypatch, FakeDriver(count=0))
    with pytest.raises(NotFoundError, match="it finds no GPU; see nvidia-smi"):
        pycuda_layer.driver()


def test_a_driver_that_fails(monkeypatch: pytest.MonkeyPatch):
    installed(monkeypatch, FakeDriver(fails="cuInit failed: no CUDA-capable device is detected"))
    with pytest.raises(NotFoundError, match=r"^NVIDIA's driver: cuInit failed: no .*; see nvidia-smi$"):
        pycuda_layer.driver()


def test_free_memory():
    driver = FakeDriver()
    card = CudaDevice("card", "8.6", integrated=False, memory_bytes=8 << 30)
    assert pycuda_layer.free_memory(card, driver) == 5 << 30
    assert driver.depth == 0
    assert 0 < pycuda_layer.free_memory(BOARD, driver) < 1 << 50


def test_the_stream_goes_first():
    cuda = FakeCuda()
    layer = cuda.layer()
    assert cuda.priorities == {layer.stream: -5}


def test_a_device_without_priorities():
    cuda = FakeCuda(refuse_priority="cudaStreamSetAttribute(priority) failed: not supported")
    with pytest.warns(RuntimeWarning, match=r"keeps the usual priority \(cudaStreamSetAttribute"):
        layer = cuda.layer()
    with layer.current():
        layer.wait()


def test_a_context_is_pushed_for_as_long_as_it_is_used():
    """pycuda ends the process with a thread that leaves one behind."""
    cuda = FakeCuda()
    layer = cuda.layer()
    assert cuda.driver.depth == 0
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    seen = []

    def elsewhere() -> None:
        with layer.current(), layer.current():
            array = layer.allocate(values.shape, np.float32)
            back = np.empty_like(values)
            layer.copy_in(array, values)
            layer.copy_out(back, array)
            layer.wait()
        seen.extend([back, cuda.driver.depth])

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(seen[0], values)
    assert seen[1] == 0


def test_pycuda_s_errors_are_runtime_errors_outside():
    cuda = FakeCuda()
    layer = cuda.layer()
    with pytest.raises(RuntimeError, match="no usable page"), layer.current():
        raise cuda.driver.LogicError("no usable page")
    assert cuda.driver.depth == 0


def test_page_locked_memory_is_the_same_on_both_sides():
    layer = FakeCuda().layer()
    with layer.current():
        host, mapped = layer.page_locked((4, 5), np.uint8)
    assert mapped.address == host.ctypes.data
    assert (mapped.shape, mapped.dtype, mapped.memory) == (host.shape, host.dtype, host.base)
    assert not host.any()


def test_a_capture_that_fails_is_ended():
    cuda = FakeCuda()
    layer = cuda.layer()
    with pytest.raises(RuntimeError, match="not permitted when a stream is capturing"):
        layer.capture([layer.wait])
    assert cuda.queue(layer.stream).captured is None
    assert cuda.driver.depth == 0
