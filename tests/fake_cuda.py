"""A stand-in for the extension on a GPU: the same calls, the CPU's own memory, and a stream's own rules.

What is enqueued happens only when somebody waits, a capture does nothing but remember, a launch enqueues what
was remembered, and kernels are the CPU's on what lies at the addresses they were given. So the order of
steps, the memory they share, and what a graph may leave to the host are put to the test; that a real device
does the same is for tools/gpu/gpu_check.py to show.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from x2c_edge import _kernels
from x2c_edge.backends.device_memory import DeviceArray

KERNELS = (
    "crop_normalize", "aim_crop", "relative_keypoints", "stitch_keypoints", "motion_volume", "warp_volume",
    "face_to_mapping",
)  # fmt: skip
Work = tuple[str, Callable[[], object]]


def at(array: DeviceArray) -> np.ndarray:
    """What lies at a "device" address."""
    raw = (ctypes.c_uint8 * array.nbytes).from_address(array.address)
    return np.frombuffer(raw, array.dtype).reshape(array.shape)


class FakeCuda:
    """Stands for ``x2c_edge._kernels``. log: what happened, in order. immediate: nothing is put off."""

    def __init__(self, *, immediate: bool = False, refuse_capture: str = "") -> None:
        self.log: list[str] = []
        self.allocations = 0
        self.immediate, self.refuse_capture = immediate, refuse_capture
        self.streams: dict[int, Any] = {}
        self._handles, self._clock = itertools.count(7), itertools.count(1)
        for name in KERNELS:
            setattr(self, name, self._kernel(name, getattr(_kernels, name)))
        cuda = self

        class CudaMemory:
            def __init__(self, bytes: int) -> None:
                cuda.allocations += 1
                self._bytes = np.zeros(bytes, np.uint8)
                self.address = int(self._bytes.__array_interface__["data"][0])

        class CudaPinned(np.ndarray):
            def __new__(cls, bytes: int) -> CudaPinned:
                cuda.allocations += 1
                return np.zeros(bytes, np.uint8).view(cls)

            @property
            def address(self) -> int:
                return int(self.__array_interface__["data"][0])

        class CudaGraph:
            def __init__(self, work: list[Work]) -> None:
                self.work = work

            def launch(self, stream: int) -> None:
                cuda.log.append("launch")
                for name, action in self.work:
                    cuda.enqueue(stream, name, action)

        class CudaStream:
            def __init__(self, handle: int = 0) -> None:
                self.handle = handle or next(cuda._handles)
                self.queue: list[Work] = []
                self.captured: list[Work] | None = None
                cuda.streams[self.handle] = self

            def wait(self) -> None:
                if self.captured is not None:
                    raise RuntimeError(
                        "cudaEventSynchronize failed: not permitted when a stream is capturing"
                    )
                for name, action in self.queue:
                    cuda.log.append(name)
                    action()
                self.queue.clear()
                cuda.log.append("wait")

            def begin_capture(self) -> None:
                assert self.captured is None
                assert not self.queue
                self.captured = []

            def end_capture(self) -> CudaGraph:
                work, self.captured = self.captured, None
                assert work is not None
                if cuda.refuse_capture:
                    raise RuntimeError(cuda.refuse_capture)
                return CudaGraph(work)

            def abandon_capture(self) -> None:
                self.captured = None

        class CudaEvent:
            def __init__(self) -> None:
                self.time = 0

            def record(self, stream: int) -> None:
                cuda.enqueue(stream, "event", self._stamp)

            def _stamp(self) -> None:
                self.time = next(cuda._clock)

            def milliseconds_since(self, earlier: CudaEvent) -> float:
                assert earlier.time < self.time
                return float(self.time - earlier.time)

        self.CudaMemory, self.CudaPinned, self.CudaGraph = CudaMemory, CudaPinned, CudaGraph
        self.CudaStream, self.CudaEvent = CudaStream, CudaEvent

    def cuda_built(self) -> bool:
        return True

    def cuda_device_count(self) -> int:
        return 1

    def cuda_copy_in(self, device: int, host: int, bytes: int, stream: int) -> None:
        self.enqueue(stream, "copy in", lambda: ctypes.memmove(device, host, bytes))

    def cuda_copy_out(self, host: int, device: int, bytes: int, stream: int) -> None:
        self.enqueue(stream, "copy out", lambda: ctypes.memmove(host, device, bytes))

    def enqueue(self, handle: int, name: str, action: Callable[[], object]) -> None:
        stream = self.streams[handle]
        if stream.captured is not None:
            stream.captured.append((name, action))
        elif self.immediate:
            self.log.append(name)
            action()
        else:
            stream.queue.append((name, action))

    def _kernel(self, name: str, function: Callable[..., None]) -> Callable[..., None]:
        def kernel(*arrays: DeviceArray, stream: int, **options: Any) -> None:
            given = [at(array) for array in arrays]
            named = {k: at(v) if isinstance(v, DeviceArray) else v for k, v in options.items()}
            self.enqueue(stream, name, lambda: function(*given, **named))

        return kernel
