"""PycudaLayer on the real pycuda, whose driver is tests/native/cuda_driver.c: python use_pycuda.py CASE.

Run by tests/backends/test_pycuda.py, each case in a process of its own, because how a process ends is a part
of it. Silent and 0 if all is right.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.setdlopenflags(os.RTLD_LAZY)  # the stand-in has the calls that are made, not all that pycuda could make
warnings.simplefilter("error")

from x2c_edge.backends import pycuda_layer  # noqa: E402
from x2c_edge.backends.cuda_device import CudaDevice  # noqa: E402
from x2c_edge.backends.device_memory import DeviceMemory  # noqa: E402
from x2c_edge.backends.device_runner import DeviceRunner  # noqa: E402
from x2c_edge.backends.pycuda_layer import PycudaLayer  # noqa: E402
from x2c_edge.errors import NotFoundError  # noqa: E402
from x2c_edge.frames import Frame  # noqa: E402

STAND_IN = ctypes.CDLL("libcuda.so.1")
atexit.register(lambda: given_back(0))  # after the layer's own: the last comes first
VALUES = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)


class Extension:
    """What the layer asks of ``_kernels``; it notes the streams and does nothing."""

    def __init__(self) -> None:
        self.streams: list[int] = []

    def cuda_set_highest_priority(self, stream: int) -> int:
        self.streams.append(stream)
        return -5

    def cuda_begin_capture(self, stream: int) -> None:
        self.streams.append(stream)

    def cuda_end_capture(self, stream: int) -> Any:
        return SimpleNamespace(launch=self.streams.append)

    def cuda_abandon_capture(self, stream: int) -> None:
        self.streams.clear()


def opened() -> PycudaLayer:
    return PycudaLayer(pycuda_layer.driver(), Extension())


def the_device() -> None:
    drv = pycuda_layer.driver()
    card = CudaDevice("Stand-in", "8.7", integrated=False, memory_bytes=1 << 28)
    assert pycuda_layer.cuda_device(drv) == card
    assert pycuda_layer.free_memory(card, drv) == 1 << 28
    assert STAND_IN.stand_in_depth() == 0


def no_device() -> None:
    os.environ["STAND_IN_NO_DEVICE"] = "1"
    refused(pycuda_layer.driver, NotFoundError, "it finds no GPU")


def memory() -> None:
    backend = DeviceMemory(opened(), half=True, integrated=False)
    array = backend.buffer(VALUES.shape)
    assert not backend.read(array).any()
    backend.write(array, VALUES)
    backend.write(array[1:3], VALUES[4:6])
    expected = VALUES.copy()
    expected[1:3] = VALUES[4:6]
    np.testing.assert_array_equal(backend.read(array), expected)
    narrow = backend.buffer((9,), narrow=True)
    backend.write(narrow, np.arange(9))
    np.testing.assert_array_equal(backend.read(narrow), np.arange(9, dtype=np.float16))
    outlet = backend.outlet(array)
    runner = DeviceRunner(backend._layer, per_step=True)
    durations = np.zeros(2, np.int64)
    runner.run([outlet.fetch], durations)
    np.testing.assert_array_equal(outlet.values, expected)
    assert 0 <= durations[0] < 1e9


def mapped_memory() -> None:
    """The device reads page-locked memory at an address of its own."""
    layer = opened()
    with layer.current():
        host, mapped = layer.page_locked(VALUES.shape, np.float32)
    assert not host.any()
    assert mapped.address != host.ctypes.data
    host[:] = VALUES
    seen = (ctypes.c_float * VALUES.size).from_address(mapped.address)
    np.testing.assert_array_equal(np.frombuffer(seen, np.float32).reshape(VALUES.shape), VALUES)


def frames() -> None:
    """Pictures of two sizes, shown in another thread than the one that opened the device."""
    layer = opened()
    rng = np.random.default_rng(1)
    for integrated in (False, True):
        backend = DeviceMemory(layer, half=True, integrated=integrated)
        crop, runner = backend.crop_input(), DeviceRunner(layer, per_step=True)

        def show(backend: DeviceMemory = backend, crop: Any = crop, runner: DeviceRunner = runner) -> None:
            for size in (48, 48, 64):
                picture = rng.integers(0, 256, (size, 40, 3), dtype=np.uint8)
                crop.show(Frame(0, 0, picture), np.eye(2, 3))
                runner.run([crop.send], np.zeros(2, np.int64))
                np.testing.assert_array_equal(backend.read(crop.image), picture)
                np.testing.assert_array_equal(backend.read(crop.affine), np.eye(2, 3))
            assert STAND_IN.stand_in_depth() == 0

        elsewhere(show)


def all_is_given_back() -> None:
    """By whatever thread, though pycuda would leak what another than the first gives up."""
    kept = [opened().moment]
    elsewhere(frames)
    elsewhere(lambda: kept.append(DeviceMemory(opened(), half=True, integrated=False)))
    elsewhere(lambda: kept.append(kept[1].outlet(kept[1].buffer((3,)))))
    elsewhere(kept.clear)
    gc.collect()
    assert STAND_IN.stand_in_alive() == 0, STAND_IN.stand_in_alive()
    given_back(1)


def left_at_the_end() -> None:
    """A process that ends with all of it still there ends without a word."""
    backend = DeviceMemory(opened(), half=True, integrated=True)
    kept = [backend, backend.buffer((100,)), backend.crop_input(), backend._layer.moment]
    elsewhere(lambda: backend.write(kept[1], np.ones(100)))
    globals()["kept"] = kept


def full() -> None:
    backend = DeviceMemory(opened(), half=True, integrated=False)
    said = "1074 MB on the GPU: cuMemAlloc failed: out of memory"
    refused(lambda: backend.buffer((1 << 30,), dtype=np.uint8), NotFoundError, said)
    assert STAND_IN.stand_in_depth() == 0


def errors() -> None:
    layer = opened()
    with layer.current():
        array = layer.allocate((4,), np.float32)
    for needs in (layer.wait, layer.moment, lambda: layer.copy_in(array, np.zeros(4, np.float32))):
        refused(needs, layer._drv.Error, "context")

    def untimed() -> None:
        with layer.current():
            layer._done.thing.time_since(layer._done.thing)

    refused(untimed, RuntimeError, "cuEventElapsedTime failed: invalid resource handle")


def graphs() -> None:
    layer = opened()
    with layer.current():
        array = layer.allocate(VALUES.shape, np.float32)
        host, _ = layer.page_locked(VALUES.shape, np.float32)
        launch = layer.capture([lambda: layer.copy_out(host, array)])
        launch()
    assert layer._cuda.streams == [layer.stream] * 3


def times() -> None:
    layer = opened()
    with layer.current():
        first, last = layer.moment(), layer.moment()
        first.record()
        time.sleep(0.01)
        last.record()
        layer.wait()
        assert 10 <= last.milliseconds_since(first) < 1e5


def given_back(contexts: int) -> None:
    """All but so many of the contexts that were retained."""
    assert STAND_IN.stand_in_retained() == contexts, STAND_IN.stand_in_retained()


def refused(work: Callable[[], object], kind: type[Exception], says: str) -> None:
    try:
        work()
    except Exception as error:
        if isinstance(error, kind) and says in str(error):
            return
        raise
    raise AssertionError(f"not refused: {says}")


def elsewhere(work: Callable[[], object]) -> None:
    """In a thread that ends."""
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


CASES = (
    the_device, no_device, memory, mapped_memory, frames, all_is_given_back, left_at_the_end, full, errors,
    graphs, times,
)  # fmt: skip

if __name__ == "__main__":
    {case.__name__: case for case in CASES}[sys.argv[1]]()
