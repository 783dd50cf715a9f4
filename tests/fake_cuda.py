"""Stand-ins for the extension and pycuda on a GPU: the same calls, the CPU's own memory, a stream's rules.

What is enqueued happens only when somebody waits, a capture does nothing but remember, a launch enqueues what
was remembered, and kernels are the CPU's on what lies at the addresses they were given. pycuda's calls are
refused in a thread that has no context pushed, as by itself. So the order of steps, the memory they share,
and what a graph may leave to the host are put to the test; that a real device does the same is for
tools/gpu/gpu_check.py to show, that the real pycuda has these calls for tests/backends/test_pycuda.py.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from x2c_edge import _kernels
from x2c_edge.backends.device_layer import DeviceArray
from x2c_edge.backends.pycuda_layer import PycudaLayer

KERNELS = (
    "crop_normalize", "aim_crop", "relative_keypoints", "stitch_keypoints", "motion_volume", "warp_volume",
    "face_to_mapping",
)  # fmt: skip
Work = tuple[str, Callable[[], object]]


def at(array: DeviceArray) -> np.ndarray:
    """What lies at a "device" address."""
    raw = (ctypes.c_uint8 * array.nbytes).from_address(array.address)
    return np.frombuffer(raw, array.dtype).reshape(array.shape)


class Queue:
    """What a stream holds; captured is None outside of a capture."""

    def __init__(self) -> None:
        self.work: list[Work] = []
        self.captured: list[Work] | None = None


class FakeCuda:
    """Stands for ``x2c_edge._kernels``. log: what happened, in order. immediate: nothing is put off.
    scratches: what engines ran in.
    ``driver`` stands for ``pycuda.driver`` on the same device."""

    def __init__(
        self, *, immediate: bool = False, refuse_capture: str = "", refuse_priority: str = ""
    ) -> None:
        self.log: list[str] = []
        self.allocations = 0
        self.scratches: set[tuple[int, int]] = set()
        self.immediate = immediate
        self.refuse_capture, self.refuse_priority = refuse_capture, refuse_priority
        self.priorities: dict[int, int] = {}
        self.queues: dict[int, Queue] = {}
        self.driver = FakeDriver(self)
        for name in KERNELS:
            setattr(self, name, self._kernel(name, getattr(_kernels, name)))

    def layer(self) -> PycudaLayer:
        return PycudaLayer(self.driver, self)

    def cuda_built(self) -> bool:
        return True

    def cuda_device_count(self) -> int:
        return 1

    def cuda_set_highest_priority(self, stream: int) -> int:
        if self.refuse_priority:
            raise RuntimeError(self.refuse_priority)
        self.priorities[stream] = -5
        return -5

    def cuda_begin_capture(self, stream: int) -> None:
        queue = self.queue(stream)
        assert queue.captured is None
        assert not queue.work
        queue.captured = []

    def cuda_end_capture(self, stream: int) -> FakeGraph:
        queue = self.queue(stream)
        work, queue.captured = queue.captured, None
        assert work is not None
        if self.refuse_capture:
            raise RuntimeError(self.refuse_capture)
        return FakeGraph(self, work)

    def cuda_abandon_capture(self, stream: int) -> None:
        self.queue(stream).captured = None

    def queue(self, stream: int) -> Queue:
        return self.queues.setdefault(stream, Queue())

    def enqueue(self, stream: int, name: str, action: Callable[[], object]) -> None:
        queue = self.queue(stream)
        if queue.captured is not None:
            queue.captured.append((name, action))
        elif self.immediate:
            self._do(name, action)
        else:
            queue.work.append((name, action))

    def drain(self, stream: int) -> None:
        work = self.queue(stream).work
        while work:
            self._do(*work.pop(0))

    def _do(self, name: str, action: Callable[[], object]) -> None:
        if name:
            self.log.append(name)
        action()

    def _kernel(self, name: str, function: Callable[..., None]) -> Callable[..., None]:
        def kernel(*arrays: DeviceArray, stream: int, **options: Any) -> None:
            given = [at(array) for array in arrays]
            named = {k: at(v) if isinstance(v, DeviceArray) else v for k, v in options.items()}
            self.enqueue(stream, name, lambda: function(*given, **named))

        return kernel


class FakeGraph:
    """Stands for ``CudaGraph``."""

    def __init__(self, cuda: FakeCuda, work: list[Work]) -> None:
        self._cuda, self._work = cuda, work

    def launch(self, stream: int) -> None:
        self._cuda.log.append("launch")
        for name, action in self._work:
            self._cuda.enqueue(stream, name, action)


class Error(Exception):
    """pycuda's, which is no RuntimeError."""


class MemoryError(Error):
    pass


class LogicError(Error):
    pass


class HostAllocation:
    """What pycuda's page-locked arrays stand on."""

    def __init__(self, size: int) -> None:
        self._bytes = np.zeros(max(size, 1), np.uint8)

    def get_device_pointer(self) -> int:
        return int(self._bytes.__array_interface__["data"][0])


class FakeDriver:
    """Stands for ``pycuda.driver``. count: devices. full: no memory is left. built, knows: CUDA versions of
    pycuda and of the driver."""

    Error, MemoryError, LogicError = Error, MemoryError, LogicError
    event_flags = SimpleNamespace(DEFAULT=0, BLOCKING_SYNC=1, DISABLE_TIMING=2)
    host_alloc_flags = SimpleNamespace(PORTABLE=1, DEVICEMAP=2)
    device_attribute = SimpleNamespace(INTEGRATED=18)

    def __init__(
        self,
        cuda: FakeCuda | None = None,
        *,
        count: int = 1,
        fails: str = "",
        integrated: bool = True,
        built: tuple[int, int, int] = (12, 6, 0),
        knows: int = 12060,
    ) -> None:
        self.full = False
        self.built, self.knows = built, knows
        self._cuda = cuda if cuda is not None else FakeCuda()
        self._handles, self._clock = itertools.count(7), itertools.count(1)
        self._thread = threading.local()
        driver = self

        class Context:
            def push(self) -> None:
                driver._thread.depth = driver.depth + 1

            @staticmethod
            def pop() -> None:
                driver.require_context()
                driver._thread.depth -= 1

            def detach(self) -> None:
                assert driver.depth == 0

        class Device:
            def __init__(self, number: int) -> None:
                assert number == 0

            @staticmethod
            def count() -> int:
                return count

            def name(self) -> str:
                return "Orin"

            def compute_capability(self) -> tuple[int, int]:
                return 8, 7

            def get_attribute(self, attribute: int) -> int:
                assert attribute == driver.device_attribute.INTEGRATED
                return int(integrated)

            def total_memory(self) -> int:
                return 8 << 30

            def retain_primary_context(self) -> Context:
                return Context()

        class Stream:
            def __init__(self, flags: int = 0) -> None:
                driver.require_context()
                assert flags == 1  # non-blocking
                self.handle = next(driver._handles)

        class Event:
            def __init__(self, flags: int = 0) -> None:
                driver.require_context()
                self._timed = not flags & driver.event_flags.DISABLE_TIMING
                self._time, self._stream = 0, 0

            def record(self, stream: Stream) -> Event:
                driver.require_context()
                self._stream = stream.handle
                driver._cuda.enqueue(stream.handle, "event" if self._timed else "", self._stamp)
                return self

            def _stamp(self) -> None:
                self._time = next(driver._clock)

            def synchronize(self) -> Event:
                driver.require_context()
                if driver._cuda.queue(self._stream).captured is not None:
                    raise LogicError("cuEventSynchronize failed: not permitted when a stream is capturing")
                driver._cuda.drain(self._stream)
                driver._cuda.log.append("wait")
                return self

            def time_since(self, earlier: Event) -> float:
                assert self._timed
                assert earlier._timed
                assert earlier._time < self._time
                return float(self._time - earlier._time)

        class DeviceAllocation:
            def __init__(self, size: int) -> None:
                self._bytes = np.full(size, 0xA5, np.uint8)  # a device's memory is not zero by itself

            def __int__(self) -> int:
                return int(self._bytes.__array_interface__["data"][0])

        self._fails = fails
        self._allocation = DeviceAllocation
        self.Context, self.Device, self.Stream, self.Event = Context, Device, Stream, Event

    @property
    def depth(self) -> int:
        """Contexts that this thread has pushed and not popped."""
        return getattr(self._thread, "depth", 0)

    def require_context(self) -> None:
        if self.depth == 0:
            raise LogicError("no currently active context?")

    def init(self) -> None:
        if self._fails:
            raise Error(self._fails)

    def get_version(self) -> tuple[int, int, int]:
        return self.built

    def get_driver_version(self) -> int:
        return self.knows

    def mem_get_info(self) -> tuple[int, int]:
        self.require_context()
        return 5 << 30, 8 << 30

    def mem_alloc(self, size: int) -> Any:
        self.require_context()
        if self.full:
            raise MemoryError("cuMemAlloc failed: out of memory")
        self._cuda.allocations += 1
        return self._allocation(size)

    def pagelocked_zeros(self, shape: tuple[int, ...], dtype: Any, *, mem_flags: int) -> np.ndarray:
        self.require_context()
        assert mem_flags == self.host_alloc_flags.DEVICEMAP | self.host_alloc_flags.PORTABLE
        self._cuda.allocations += 1
        dtype = np.dtype(dtype)
        base = HostAllocation(int(np.prod(shape)) * dtype.itemsize)
        place = (base.get_device_pointer(), False)
        base.__array_interface__ = {"shape": tuple(shape), "typestr": dtype.str, "data": place, "version": 3}
        array = np.asarray(base)
        assert array.base is base
        return array

    def memset_d8_async(self, device: int, value: int, size: int, stream: Any) -> None:
        self.require_context()
        self._cuda.enqueue(stream.handle, "clear", lambda: ctypes.memset(device, value, size))

    def memcpy_htod_async(self, device: int, host: np.ndarray, stream: Any) -> None:
        self.require_context()
        self._cuda.enqueue(
            stream.handle, "copy in", lambda: ctypes.memmove(device, host.ctypes.data, host.nbytes)
        )

    def memcpy_dtoh_async(self, host: np.ndarray, device: int, stream: Any) -> None:
        self.require_context()
        assert host.flags.writeable
        self._cuda.enqueue(
            stream.handle, "copy out", lambda: ctypes.memmove(host.ctypes.data, device, host.nbytes)
        )
