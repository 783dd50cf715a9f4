from __future__ import annotations

import numpy as np
import pytest

from tests.fake_cuda import FakeCuda, at
from x2c_edge.backends.device_layer import DeviceArray
from x2c_edge.backends.device_memory import DeviceMemory
from x2c_edge.errors import NotFoundError


@pytest.fixture
def memory() -> DeviceMemory:
    return DeviceMemory(FakeCuda().layer(), half=True, integrated=False)


def test_views_are_numpy_s(memory):
    array = memory.buffer((2, 3, 8))
    memory.write(array, np.arange(48, dtype=np.float32).reshape(2, 3, 8))
    values = memory.read(array)
    for key in (0, (1, 2), (1, slice(1, 3)), (0, 0, slice(2, 6)), slice(1, 2), (1, 1, 5)):
        np.testing.assert_array_equal(at(array[key]), values[key])
    np.testing.assert_array_equal(at(array[1].reshape(4, 6)), values[1].reshape(4, 6))


@pytest.mark.parametrize("key", [2, (0, 3), -1, slice(0, 2, 2), (slice(0, 1), 0)], ids=str)
def test_views_that_would_not_be_dense_or_inside(memory, key):
    with pytest.raises(IndexError):
        memory.buffer((2, 3))[key]


def test_a_reshape_keeps_the_size(memory):
    with pytest.raises(ValueError, match=r"\(2, 3\) is no \(4,\)"):
        memory.buffer((2, 3)).reshape(4)


def test_what_kernels_and_pytorch_are_told(memory):
    array = memory.buffer((2, 3), narrow=True)
    interface = array[1].__cuda_array_interface__
    assert interface["data"] == (array.address + 6, False)
    assert (interface["shape"], interface["typestr"], interface["strides"]) == ((3,), "<f2", None)
    assert array.nbytes == 12


def test_a_part_is_written_and_read(memory):
    array = memory.buffer((4,), narrow=True)
    memory.write(array[1:3], np.array([1.5, 2.5]))
    np.testing.assert_array_equal(memory.read(array), np.array([0, 1.5, 2.5, 0], np.float16))
    with pytest.raises(ValueError, match=r"values are \(1,\), the buffer is \(4,\)"):
        memory.write(array, np.zeros(1))


def test_a_view_keeps_the_memory_alive(memory):
    view = memory.buffer((1000,))[5:9]
    memory.write(view, np.ones(4))
    assert isinstance(view, DeviceArray)
    assert view.memory is not None
    np.testing.assert_array_equal(at(view), np.ones(4))


def test_buffers_are_zero(memory):
    assert not memory.read(memory.buffer((100,))).any()


def test_a_full_device():
    cuda = FakeCuda()
    memory = DeviceMemory(cuda.layer(), half=True, integrated=False)
    cuda.driver.full = True
    with pytest.raises(NotFoundError, match=r"^40 MB on the GPU: cuMemAlloc failed: out of memory; close"):
        memory.buffer((10, 1000, 1000))
