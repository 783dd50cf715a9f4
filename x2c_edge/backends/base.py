"""What a backend offers a pipeline: buffers, and nets bound to buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from x2c_edge.packs import NetSpec

Array = NDArray[np.float32]
Arrays = Array | tuple[Array, ...]


class Backend(Protocol):
    """Runs nets on a device. All buffers are made before the first frame."""

    @property
    def name(self) -> str:
        """ "torch" or "tensorrt"."""

    @property
    def threads(self) -> int:
        """CPU threads for kernels between the nets."""

    @property
    def device(self) -> str:
        """For people: "cpu, 1 thread"."""

    def buffer(self, shape: tuple[int, ...]) -> Array:
        """A float32 array that nets bound by this backend read or write in place, zero-filled."""

    def bind(self, net: NetSpec, x: Arrays, out: Arrays, part: str = "") -> Callable[[], None]:
        """A call that runs the net on what ``x`` holds and leaves the result in ``out``.

        part: a piece of the net (``nets.inference``); a part with several inputs or outputs takes them as
        tuples. Shapes are checked here, once; NotFoundError when the weights do not fit the net.
        """
