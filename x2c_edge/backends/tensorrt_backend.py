"""Nets as TensorRT engines, with pycuda in the device's primary context (shared with our kernels).

Not yet run on a GPU by its authors: tools/gpu_check.py is what proves it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.backends import trt_versions
from x2c_edge.backends.base import Array, Arrays
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.backends.engine_files import EngineSet, engine_name, verified
from x2c_edge.errors import NotFoundError
from x2c_edge.packs import NetSpec

_AGAIN: Final = "run x2c-edge build-engines again with --force"


@dataclass(slots=True)
class _Tensor:
    """One tensor of a bound engine. host is what the pipeline sees, float32 and page-locked; device the
    address that the engine uses; staged the page-locked copy in the engine's own type, if it is another."""

    host: Array
    device: int
    staged: NDArray[Any]


class TensorRTBackend:
    """Engines of one pack on the first CUDA device.

    Buffers are page-locked host memory. On a board whose CPU and GPU share memory (Jetson) the engines work
    on them directly; elsewhere they are copied on the stream that the engine runs on. Where an engine's
    tensor is float16 the conversion is the CPU's.
    """

    name = "tensorrt"

    def __init__(self, plans: Mapping[str, bytes], device: CudaDevice, trt: Any) -> None:
        """plans: engine files by engine name. ``device`` shows that there is a driver to load.

        NotFoundError if pycuda or CUDA cannot be used here.
        """
        self._cuda, self._context = _primary_context()
        self._trt, self._plans, self._device = trt, dict(plans), device
        self.threads = max(1, (os.cpu_count() or 2) // 2)  # of the kernels between the engines
        self._engines: dict[str, Any] = {}
        self._memory: list[Any] = []
        self._locked: dict[int, NDArray[Any]] = {}  # by address
        self._context.push()
        try:
            self._stream = self._cuda.Stream(1)  # non-blocking: the default stream would synchronise
            self._done = self._cuda.Event(self._cuda.event_flags.DISABLE_TIMING)
            self._logger = trt.Logger(trt.Logger.ERROR)
            self._runtime = trt.Runtime(self._logger)
        finally:
            self._context.pop()

    @staticmethod
    def opened(engines: EngineSet, device: CudaDevice, trt: Any) -> TensorRTBackend:
        """The backend of an installed set, its files checked."""
        files = verified(engines).files
        return TensorRTBackend({name: file.read_bytes() for name, file in files.items()}, device, trt)

    @property
    def device(self) -> str:
        return f"{self._device.name}, TensorRT {self._trt.__version__}"

    def buffer(self, shape: tuple[int, ...]) -> Array:
        """Page-locked and mapped into the GPU's address space."""
        return self._page_locked(shape, np.dtype(np.float32))

    def bind(self, net: NetSpec, x: Arrays, out: Arrays, part: str = "") -> Callable[[], None]:
        name = engine_name(net.arch, part)
        self._context.push()
        try:
            engine = self._engine(name)
            context = engine.create_execution_context()
            context.enqueue_emits_profile = False
            inputs, outputs = self._tensors(name, engine, x, out)
            for tensor_name, tensor in (inputs | outputs).items():
                context.set_tensor_address(tensor_name, tensor.device)
        finally:
            self._context.pop()
        return self._runner(name, context, tuple(inputs.values()), tuple(outputs.values()))

    def _engine(self, name: str) -> Any:
        """The engine, loaded once however often it is bound."""
        if name not in self._engines:
            if name not in self._plans:
                raise NotFoundError(f"no engine '{name}' was built; {_AGAIN}")
            engine = self._runtime.deserialize_cuda_engine(self._plans.pop(name))
            if engine is None:
                raise NotFoundError(
                    f"engine '{name}': TensorRT {self._trt.__version__} does not take it; {_AGAIN}"
                )
            self._engines[name] = engine
        return self._engines[name]

    def _runner(
        self, name: str, context: Any, inputs: tuple[_Tensor, ...], outputs: tuple[_Tensor, ...]
    ) -> Callable[[], None]:
        cuda, stream, done = self._cuda, self._stream, self._done
        copies = not self._device.integrated

        def run() -> None:
            self._context.push()  # whichever thread this is
            try:
                for tensor in inputs:
                    if tensor.staged is not tensor.host:
                        np.copyto(tensor.staged, tensor.host, casting="same_kind")
                    if copies:
                        cuda.memcpy_htod_async(tensor.device, tensor.staged, stream)
                if not context.execute_async_v3(stream.handle):
                    raise RuntimeError(f"engine '{name}': TensorRT refused to run it")
                if copies:
                    for tensor in outputs:
                        cuda.memcpy_dtoh_async(tensor.staged, tensor.device, stream)
                done.record(stream)
                done.synchronize()
                for tensor in outputs:
                    if tensor.staged is not tensor.host:
                        np.copyto(tensor.host, tensor.staged)
            finally:
                self._context.pop()

        run()  # lazy set-up happens here, not on the first frame
        return run

    def _tensors(
        self, name: str, engine: Any, x: Arrays, out: Arrays
    ) -> tuple[dict[str, _Tensor], dict[str, _Tensor]]:
        """Inputs and outputs by name, matched with the arrays by order and shape."""
        found = trt_versions.engine_tensors(self._trt, engine)
        sides: list[dict[str, _Tensor]] = []
        for is_input, arrays in ((True, x), (False, out)):
            ports = {key: port for key, port in found.items() if port[0] == is_input}
            given = arrays if isinstance(arrays, tuple) else (arrays,)
            shapes = [port[1] for port in ports.values()]
            if shapes != [array.shape for array in given]:
                raise NotFoundError(
                    f"engine '{name}': {'inputs' if is_input else 'outputs'} are {shapes}, not "
                    f"{[array.shape for array in given]}; {_AGAIN}"
                )
            sides.append(
                {key: self._tensor(a, port[2]) for (key, port), a in zip(ports.items(), given, strict=True)}
            )
        return sides[0], sides[1]

    def _tensor(self, host: Array, dtype: np.dtype[Any]) -> _Tensor:
        own = self._locked.get(host.__array_interface__["data"][0])
        same = dtype == host.dtype and own is not None and own.nbytes >= host.nbytes
        staged = host if same else self._page_locked(host.shape, dtype)
        if self._device.integrated:
            at = staged.__array_interface__["data"][0]
            allocation: Any = self._locked[at].base
            return _Tensor(host, int(allocation.get_device_pointer()), staged)
        memory = self._cuda.mem_alloc(staged.nbytes)
        self._memory.append(memory)
        return _Tensor(host, int(memory), staged)

    def _page_locked(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        self._context.push()
        try:
            array: NDArray[Any] = self._cuda.pagelocked_zeros(
                shape, dtype, mem_flags=self._cuda.host_alloc_flags.DEVICEMAP
            )
        finally:
            self._context.pop()
        self._locked[array.__array_interface__["data"][0]] = array
        return array


def _primary_context() -> tuple[Any, Any]:
    """pycuda's driver module and the first device's primary context: the one that the CUDA runtime uses."""
    try:
        import pycuda.driver as cuda

        cuda.init()
        return cuda, cuda.Device(0).retain_primary_context()
    except ImportError as error:
        raise NotFoundError(
            f"pycuda cannot be used ({error}); run: pip install 'x2c-edge[tensorrt]'"
        ) from None
    except Exception as error:  # pycuda's own errors have no public base
        raise NotFoundError(f"CUDA cannot be used: {error}; see nvidia-smi") from None
