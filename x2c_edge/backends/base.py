"""What a backend offers a pipeline: buffers, nets bound to buffers, and the way in and out.

One pipeline file serves the CPU and the GPU. Its kernels take every backend's buffers, with the backend's
``threads`` and ``stream``. On the CPU a step is done when it returns; on a GPU it is enqueued, and results
are there when the plan has been run to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from x2c_edge.frames import Frame
from x2c_edge.packs import NetSpec

# NDArray, or a GPU's DeviceArray: both have shape, dtype, [index], reshape, and kernels take them.
Buffer: TypeAlias = Any
Buffers: TypeAlias = Buffer | tuple[Buffer, ...]
Step = Callable[[], object]


class Outlet(Protocol):
    """A result on its way to the host."""

    @property
    def values(self) -> NDArray[Any]:
        """What the last run left there."""

    def fetch(self) -> None:
        """The step that brings it."""


class CropInput(Protocol):
    """A frame and the affine of a crop in it, where the backend's kernels read them."""

    @property
    def image(self) -> Buffer:
        """The frame's pixels, uint8."""

    @property
    def affine(self) -> Buffer:
        """(2, 3) float64."""

    def show(self, frame: Frame, affine: NDArray[np.float64]) -> bool:
        """The next frame; the caller's arrays are not needed on a GPU afterwards. True if ``image`` is
        another buffer now or of another kind, so that what was captured with it is void."""

    def send(self) -> None:
        """The step that brings both to the device."""


class Runner(Protocol):
    """Runs a plan's steps on a device, and waits once."""

    def run(self, steps: Sequence[Step], durations_ns: NDArray[np.int64]) -> None:
        """``durations_ns[i]`` receives step i's time where steps are timed singly, else 0; the last entry,
        one more than there are steps, the time of the whole from its start to the results, else 0."""

    def forget(self) -> None:
        """What was captured is void."""


class Backend(Protocol):
    """Runs nets on a device. All buffers are made before the first frame."""

    @property
    def name(self) -> str:
        """ "tensorrt", "cpu" or "torch"."""

    @property
    def threads(self) -> int:
        """CPU threads for kernels between the nets."""

    @property
    def stream(self) -> int:
        """The kernels' cudaStream_t; 0 on the CPU."""

    @property
    def device(self) -> str:
        """For people: "cpu, 1 thread"."""

    def buffer(self, shape: tuple[int, ...], *, narrow: bool = False, dtype: Any = np.float32) -> Buffer:
        """A dense array that nets bound by this backend and kernels read or write in place, zero-filled.

        narrow: pixels or maps, float16 where the backend's nets want that instead of float32.
        """

    def write(self, buffer: Buffer, values: NDArray[Any]) -> None:
        """Fill a buffer, or a part of one, with values of its shape; not for every frame."""

    def read(self, buffer: Buffer) -> NDArray[Any]:
        """What is in a buffer now; not for every frame."""

    def outlet(self, buffer: Buffer) -> Outlet:
        """The way out for a buffer or a part of one."""

    def crop_input(self) -> CropInput:
        """The way in."""

    def runner(self) -> Runner | None:
        """None: steps are simply called."""

    def bind(self, net: NetSpec, x: Buffers, out: Buffers, part: str = "") -> Callable[[], None]:
        """A step that runs the net on what ``x`` holds and leaves the result in ``out``.

        part: a piece of the net (``nets.inference``); a part with several inputs or outputs takes them as
        tuples. Shapes are checked here, once; NotFoundError when the weights do not fit the net.
        """
