"""The GPU's side of a backend: buffers in device memory, page-locked ways in and out, one stream."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2c_edge.backends.base import Buffer, CropInput, Outlet, Runner
from x2c_edge.backends.device_layer import DeviceArray, DeviceLayer
from x2c_edge.backends.device_runner import DeviceRunner
from x2c_edge.frames import Frame


class DeviceMemory:
    """For backends on a GPU; they add their nets.

    half: what ``narrow`` buffers are. integrated: CPU and GPU share their memory, so that the kernels read
    frames where they are page-locked; over PCIe each read of a pixel would cross the bus, and frames are
    copied instead. per_step: no graph, every step is timed.
    """

    threads = 1  # nothing is left for the CPU between the nets

    def __init__(self, layer: DeviceLayer, *, half: bool, integrated: bool, per_step: bool = False) -> None:
        self._layer, self._integrated, self._per_step = layer, integrated, per_step
        self._narrow = np.dtype(np.float16 if half else np.float32)

    @property
    def stream(self) -> int:
        return self._layer.stream

    def buffer(self, shape: tuple[int, ...], *, narrow: bool = False, dtype: Any = np.float32) -> Buffer:
        with self._layer.current():
            return self._layer.allocate(shape, self._narrow if narrow else dtype)

    def write(self, buffer: Buffer, values: NDArray[Any]) -> None:
        dense = np.ascontiguousarray(values, buffer.dtype)
        if dense.shape != buffer.shape:
            raise ValueError(f"values are {dense.shape}, the buffer is {buffer.shape}")
        with self._layer.current():
            self._layer.copy_in(buffer, dense)
            self._layer.wait()

    def read(self, buffer: Buffer) -> NDArray[Any]:
        values = np.empty(buffer.shape, buffer.dtype)
        with self._layer.current():
            self._layer.copy_out(values, buffer)
            self._layer.wait()
        return values

    def outlet(self, buffer: Buffer) -> Outlet:
        return DeviceOutlet(self._layer, buffer)

    def crop_input(self) -> CropInput:
        return DeviceCropInput(self._layer, integrated=self._integrated)

    def runner(self) -> Runner | None:
        return DeviceRunner(self._layer, per_step=self._per_step)


class DeviceOutlet:
    """A page-locked copy of a buffer, or of a part of one."""

    def __init__(self, layer: DeviceLayer, buffer: Buffer) -> None:
        self._layer, self._buffer = layer, buffer
        with layer.current():
            self.values, _ = layer.page_locked(buffer.shape, buffer.dtype)

    def fetch(self) -> None:
        self._layer.copy_out(self.values, self._buffer)


class DeviceCropInput:
    """A page-locked frame and affine, and their copies on a card of its own memory."""

    def __init__(self, layer: DeviceLayer, *, integrated: bool) -> None:
        self._layer, self._integrated = layer, integrated
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
        self._layer.copy_in(self.affine, self._affine)
        self._layer.copy_in(self.image, self._image)

    def _place(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], DeviceArray]:
        with self._layer.current():
            host, mapped = self._layer.page_locked(shape, dtype)
            return host, mapped if self._integrated else self._layer.allocate(shape, dtype)
