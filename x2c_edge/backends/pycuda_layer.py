"""The GPU through pycuda: context, memory, copies, stream and events. The only file that imports it.

Kernels, graphs and the stream's priority are the extension's, which pycuda has not; it takes pycuda's stream
and addresses as integers. All calls: docs/spec/tensorrt.md section 4.

pycuda ends the process if a thread ends with a context still pushed, so one is pushed only for as long as it
is used; that costs two calls of the driver a frame. It frees what it made in threads that have the context
pushed, or in the one that first retained it, and leaks it elsewhere; ``Owned`` makes all threads equal.
"""

from __future__ import annotations

import atexit
import gc
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge import _kernels
from x2c_edge.backends.base import Step
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.backends.device_layer import DeviceArray, Launch
from x2c_edge.errors import NotFoundError

# CU_STREAM_NON_BLOCKING: pycuda takes the number and has no name for it. No work waits for that of the
# default stream, or makes it wait.
_NON_BLOCKING: Final = 1
AGAIN: Final = "pip install --force-reinstall --no-deps --no-cache-dir --no-binary pycuda pycuda"


class NoPycudaError(NotFoundError):
    """The package is not installed; nothing is said about the machine."""


def driver() -> Any:
    """``pycuda.driver``, ready. NotFoundError in one line without it, a driver, or a GPU.

    To be asked before TensorRT is: without a driver ``trt.Runtime`` crashes the process.
    """
    try:
        from pycuda import driver as drv
    except ModuleNotFoundError as error:
        raise NoPycudaError(
            f"pycuda is not installed for this Python ({error}); with nvcc on PATH run: "
            "pip install 'x2c-edge[tensorrt]'"
        ) from None
    except ImportError as error:
        raise _unloadable(error) from None
    try:
        drv.init()
        count: int = drv.Device.count()
    except drv.Error as error:
        raise NotFoundError(f"NVIDIA's driver: {error}; see nvidia-smi") from None
    if count == 0:
        raise NotFoundError("the NVIDIA driver is here, but it finds no GPU; see nvidia-smi")
    return drv


def cuda_device(drv: Any) -> CudaDevice:
    """The first device of ``driver()``."""
    first = drv.Device(0)
    major, minor = first.compute_capability()
    integrated = bool(first.get_attribute(drv.device_attribute.INTEGRATED))
    return CudaDevice(first.name(), f"{major}.{minor}", integrated, first.total_memory())


def free_memory(device: CudaDevice, drv: Any) -> int:
    """Bytes that a new allocation on the device can have now."""
    if device.integrated:  # the driver does not count what Linux would give back from its caches
        return _available_ram()
    try:
        context = primary_context(drv)
        context.push()
        try:
            free: int = drv.mem_get_info()[0]
        finally:
            context.pop()
    except drv.Error as error:
        raise NotFoundError(f"NVIDIA's driver: {error}; see nvidia-smi") from None
    return free


@lru_cache(maxsize=1)
def primary_context(drv: Any) -> Any:
    """The first device's, retained once for the whole process.

    It is given back at the process's end by ``detach``: pycuda's destructor would call cuCtxDetach, which is
    for contexts that cuCtxCreate made. What still lives in it then is left to the driver.
    """
    context = drv.Device(0).retain_primary_context()

    def give_back() -> None:
        Owned.ended = True
        context.detach()

    atexit.register(give_back)
    return context


def opened(cuda: Any = _kernels) -> PycudaLayer:
    """The first device. NotFoundError if pycuda or the extension (``cuda``) cannot use one."""
    require_cuda(cuda)
    return PycudaLayer(driver(), cuda)


def require_cuda(cuda: Any) -> None:
    """NotFoundError if the extension cannot use a GPU."""
    if not cuda.cuda_built():
        raise NotFoundError(
            "the kernels were built without CUDA; with nvcc on PATH run: pip install -e . (in the checkout)"
        )
    if cuda.cuda_device_count() == 0:
        raise NotFoundError("CUDA finds no device that it can use; see nvidia-smi")


class Owned:
    """Something that pycuda made in ``context``, freed in whatever thread gives it up. ``interface``: where
    it is an array, NumPy's description of it."""

    ended = False  # the process gives everything back

    def __init__(self, context: Any, thing: Any, interface: dict[str, Any] | None = None) -> None:
        self._context, self.thing = context, thing
        if interface is not None:
            self.__array_interface__ = interface

    def __del__(self) -> None:
        if Owned.ended:
            return
        self._context.push()
        del self.thing
        self._context.pop()


class PycudaMoment:
    """See ``Moment``."""

    def __init__(self, event: Owned, stream: Owned) -> None:
        self._event, self._stream = event, stream

    def record(self) -> None:
        self._event.thing.record(self._stream.thing)

    def milliseconds_since(self, earlier: PycudaMoment) -> float:
        milliseconds: float = self._event.thing.time_since(earlier._event.thing)
        return milliseconds


class PycudaLayer:
    """See ``DeviceLayer``. drv: ``pycuda.driver``, ready. cuda: ``x2c_edge._kernels``, built with CUDA."""

    def __init__(self, drv: Any, cuda: Any) -> None:
        self._drv, self._cuda = drv, cuda
        self._context = primary_context(drv)
        with self.current():
            self._stream = self._owned(drv.Stream(_NON_BLOCKING))
            flags = drv.event_flags
            self._done = self._owned(drv.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING))
            self._prefer()

    @property
    def stream(self) -> int:
        handle: int = self._stream.thing.handle
        return handle

    @contextmanager
    def current(self) -> Iterator[None]:
        """See ``DeviceLayer``. pycuda's errors leave it as RuntimeError, which they are not."""
        self._context.push()
        try:
            yield
        except self._drv.Error as error:
            raise RuntimeError(str(error)) from error
        finally:
            self._context.pop()

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        array = DeviceArray(0, shape, np.dtype(dtype), None)
        try:
            memory = self._drv.mem_alloc(array.nbytes)
        except self._drv.MemoryError as error:
            raise NotFoundError(
                f"{array.nbytes / 1e6:.0f} MB on the GPU: {error}; close other programs or use a smaller pack"
            ) from None
        owned = self._owned(memory)
        self._drv.memset_d8_async(int(memory), 0, array.nbytes, self._stream.thing)
        self.wait()
        return DeviceArray(int(memory), shape, array.dtype, owned)

    def page_locked(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], DeviceArray]:
        flags = self._drv.host_alloc_flags
        array = self._drv.pagelocked_zeros(shape, dtype, mem_flags=flags.DEVICEMAP | flags.PORTABLE)
        address = int(array.base.get_device_pointer())
        owned = self._owned(array, array.__array_interface__)
        return np.asarray(owned), DeviceArray(address, shape, array.dtype, owned)

    def copy_in(self, device: DeviceArray, host: NDArray[Any]) -> None:
        self._drv.memcpy_htod_async(device.address, host, self._stream.thing)

    def copy_out(self, host: NDArray[Any], device: DeviceArray) -> None:
        self._drv.memcpy_dtoh_async(host, device.address, self._stream.thing)

    def wait(self) -> None:
        self._done.thing.record(self._stream.thing)
        self._done.thing.synchronize()

    def moment(self) -> PycudaMoment:
        return PycudaMoment(self._owned(self._drv.Event()), self._stream)

    def capture(self, steps: Sequence[Step]) -> Launch:
        """See ``DeviceLayer``; for steps that allocate nothing."""
        gc.collect()  # what it frees would spoil the capture
        stream = self.stream
        with self.current():
            self._cuda.cuda_begin_capture(stream)
            try:
                for step in steps:
                    step()
            except BaseException:
                self._cuda.cuda_abandon_capture(stream)
                raise
            graph = self._cuda.cuda_end_capture(stream)
        return lambda: graph.launch(stream)

    def _owned(self, thing: Any, interface: dict[str, Any] | None = None) -> Owned:
        return Owned(self._context, thing, interface)

    def _prefer(self) -> None:
        """Nothing else on the GPU has a deadline; but a frame is right without it, too."""
        try:
            self._cuda.cuda_set_highest_priority(self.stream)
        except RuntimeError as error:
            warnings.warn(f"the stream keeps the usual priority ({error})", RuntimeWarning, stacklevel=3)


def _unloadable(error: ImportError) -> NotFoundError:
    if "libcuda.so" in str(error):
        return NotFoundError(
            "no NVIDIA driver here (libcuda.so.1 is not found); on a machine with a GPU install the driver"
        )
    return NotFoundError(
        f"pycuda was built for other libraries than are here ({error}); with nvcc on PATH run: {AGAIN}"
    )


def _available_ram() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise NotFoundError("/proc/meminfo gives no MemAvailable")
