"""The CPU's side of a backend: buffers are NumPy arrays, and everything is where it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2c_edge.backends.base import Buffer, CropInput, Outlet, Runner
from x2c_edge.frames import Frame


class HostMemory:
    """For backends on the CPU; they add their nets."""

    stream = 0

    def buffer(self, shape: tuple[int, ...], *, narrow: bool = False, dtype: Any = np.float32) -> Buffer:
        return np.zeros(shape, dtype)

    def write(self, buffer: Buffer, values: NDArray[Any]) -> None:
        np.copyto(buffer, values)

    def read(self, buffer: Buffer) -> NDArray[Any]:
        return np.asarray(buffer)

    def outlet(self, buffer: Buffer) -> Outlet:
        return HostOutlet(buffer)

    def crop_input(self) -> CropInput:
        return HostCropInput()

    def runner(self) -> Runner | None:
        return None


@dataclass(frozen=True, slots=True)
class HostOutlet:
    """The buffer itself."""

    values: NDArray[Any]

    def fetch(self) -> None:
        """Nothing to do."""


class HostCropInput:
    """The frame itself."""

    def __init__(self) -> None:
        self.image: Buffer = None
        self.affine: Buffer = None

    def show(self, frame: Frame, affine: NDArray[np.float64]) -> bool:
        self.image, self.affine = frame.image, affine
        return False

    def send(self) -> None:
        """Nothing to do."""
