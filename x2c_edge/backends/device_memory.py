"""The GPU's side of a backend: buffers in device memory, page-locked ways in and out, one stream.

Everything comes from the extension, through the CUDA runtime, in the device's primary context: that is the
one that PyTorch and TensorRT use, so addresses and streams are the same for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2c_edge.backends.base import Buffer, CropInput, Outlet
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Frame


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """A dense array in the GPU's memory. Views share it; ``memory`` keeps it alive."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    memory: object

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "version": 3,
        }

    def __getitem__(self, key: Any) -> DeviceArray:
        """Leading indices, and after them at most one slice without a step: what stays dense."""
        keys = key if isinstance(key, tuple) else (key,)
        address, shape = self.address, self.shape
        for i, k in enumerate(keys):
            row = math.prod(shape[1:]) * self.dtype.itemsize
            if isinstance(k, slice):
                start, stop, step = k.indices(shape[0])
                if step != 1 or i != len(keys) - 1 or stop < start:
                    raise IndexError(f"{key}: would not be dense")
                address, shape = address + start * row, (stop - start, *shape[1:])
            else:
                if not 0 <= k < shape[0]:
                    raise IndexError(f"{key}: outside of {self.shape}")
                address, shape = address + k * row, shape[1:]
        return DeviceArray(address, shape, self.dtype, self.memory)

    def reshape(self, *shape: int) -> DeviceArray:
        if math.prod(shape) != math.prod(self.shape):
            raise ValueError(f"{self.shape} is no {shape}")
        return DeviceArray(self.address, shape, self.dtype, self.memory)


class DeviceMemory:
    """For backends on a GPU; they add their nets and their runner.

    cuda: ``x2c_edge._kernels``. stream: its CudaStream. half: what ``narrow`` buffers are. integrated: CPU
    and GPU share their memory, so that the kernels read frames where they are page-locked; over PCIe each
    read of a pixel would cross the bus, and frames are copied instead.
    """

    threads = 1  # nothing is left for the CPU between the nets

    def __init__(self, cuda: Any, stream: Any, *, half: bool, integrated: bool) -> None:
        self._cuda, self._stream, self._integrated = cuda, stream, integrated
        self._narrow = np.dtype(np.float16 if half else np.float32)

    @property
    def stream(self) -> int:
        handle: int = self._stream.handle
        return handle

    def buffer(self, shape: tuple[int, ...], *, narrow: bool = False, dtype: Any = np.float32) -> Buffer:
        return allocated(self._cuda, shape, self._narrow if narrow else np.dtype(dtype))

    def write(self, buffer: Buffer, values: NDArray[Any]) -> None:
        dense = np.ascontiguousarray(values, buffer.dtype)
        if dense.shape != buffer.shape:
            raise ValueError(f"values are {dense.shape}, the buffer is {buffer.shape}")
        self._cuda.cuda_copy_in(buffer.address, address_of(dense), buffer.nbytes, self.stream)
        self._stream.wait()

    def read(self, buffer: Buffer) -> NDArray[Any]:
        values = np.empty(buffer.shape, buffer.dtype)
        self._cuda.cuda_copy_out(address_of(values), buffer.address, buffer.nbytes, self.stream)
        self._stream.wait()
        return values

    def outlet(self, buffer: Buffer) -> Outlet:
        return DeviceOutlet(self._cuda, self.stream, buffer)

    def crop_input(self) -> CropInput:
        return DeviceCropInput(self._cuda, self.stream, integrated=self._integrated)


def allocated(cuda: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
    """A zero-filled array. NotFoundError if the device's memory is full."""
    size = math.prod(shape) * dtype.itemsize
    try:
        memory = cuda.CudaMemory(size)
    except RuntimeError as error:
        raise NotFoundError(
            f"{size / 1e6:.0f} MB on the GPU: {error}; close other programs or use a smaller pack"
        ) from None
    return DeviceArray(memory.address, shape, dtype, memory)


def page_locked(cuda: Any, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], DeviceArray]:
    """A page-locked array, and the same memory as the GPU sees it."""
    memory = cuda.CudaPinned(math.prod(shape) * np.dtype(dtype).itemsize)
    host = np.frombuffer(memory, dtype).reshape(shape)
    return host, DeviceArray(memory.address, shape, np.dtype(dtype), memory)


def address_of(array: NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


class DeviceOutlet:
    """A page-locked copy of a buffer, or of a part of one."""

    def __init__(self, cuda: Any, stream: int, buffer: Buffer) -> None:
        self._cuda, self._stream, self._buffer = cuda, stream, buffer
        self.values, _ = page_locked(cuda, buffer.shape, buffer.dtype)
        self._to = address_of(self.values)

    def fetch(self) -> None:
        self._cuda.cuda_copy_out(self._to, self._buffer.address, self._buffer.nbytes, self._stream)


class DeviceCropInput:
    """A page-locked frame and affine, and their copies on a card of its own memory."""

    def __init__(self, cuda: Any, stream: int, *, integrated: bool) -> None:
        self._cuda, self._stream, self._integrated = cuda, stream, integrated
        self._kind: tuple[Any, ...] | None = None
        self._image: NDArray[Any] | None = None
        self._affine, self.affine = self._place((2, 3), np.float64)
        self.image: Buffer = None

    def show(self, frame: Frame, affine: NDArray[np.float64]) -> bool:
        kind = (frame.image.shape, frame.format)
        changed = kind != self._kind
        if self._image is None or self._image.shape != frame.image.shape:
            self._image, self.image = self._place(frame.image.shape, np.uint8)
        self._kind = kind
        np.copyto(self._image, frame.image)
        np.copyto(self._affine, affine)
        return changed

    def send(self) -> None:
        if self._integrated:
            return
        assert self._image is not None
        for host, device in ((self._affine, self.affine), (self._image, self.image)):
            self._cuda.cuda_copy_in(device.address, address_of(host), device.nbytes, self._stream)

    def _place(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], DeviceArray]:
        host, mapped = page_locked(self._cuda, shape, dtype)
        return host, mapped if self._integrated else allocated(self._cuda, shape, np.dtype(dtype))
