"""What a library for GPUs gives a backend: memory, copies, and one stream, in the device's primary context.

There are two: pycuda under the engines (``pycuda_layer.py``), PyTorch under its own nets
(``torch_backend.py``). The primary context is the one that TensorRT, PyTorch and our kernels use, so
addresses and streams are the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from x2c_edge.backends.base import Step

Launch = Callable[[], object]


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


class Moment(Protocol):
    """A moment on the layer's stream, with a time."""

    def record(self) -> None:
        """Enqueued: it is when the stream gets there."""

    def milliseconds_since(self, earlier: Any) -> float:
        """From another moment of the same layer; both must have been."""


class DeviceLayer(Protocol):
    """The first GPU through one library. What fails raises RuntimeError; NotFoundError for full memory."""

    @property
    def stream(self) -> int:
        """The cudaStream_t that everything is enqueued on; of the highest priority."""

    def current(self) -> AbstractContextManager[object]:
        """Inside, this thread may use the layer; it may be entered again inside."""

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Zero-filled memory of the device. NotFoundError if it is full."""

    def page_locked(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], DeviceArray]:
        """Zero-filled memory of the host that copies do not pass through another, and the same as the
        device sees it."""

    def copy_in(self, device: DeviceArray, host: NDArray[Any]) -> None:
        """Enqueue a copy of a dense array of the same size; the host's is to be page-locked, unless
        ``wait`` follows at once."""

    def copy_out(self, host: NDArray[Any], device: DeviceArray) -> None:
        """The other way."""

    def wait(self) -> None:
        """Until all work given so far is done. The thread sleeps: spinning takes a core from the tick."""

    def moment(self) -> Moment:
        """To be recorded."""

    def capture(self, steps: Sequence[Step]) -> Launch:
        """What the steps enqueue, as one launch. RuntimeError if it cannot be done."""
