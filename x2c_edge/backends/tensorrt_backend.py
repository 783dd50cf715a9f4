"""Nets as TensorRT engines, on the stream and in the memory that our kernels use.

Not yet run on a GPU by its authors: tools/gpu/gpu_check.py is what proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from x2c_edge.backends import pycuda_layer, trt_versions
from x2c_edge.backends.base import Buffer, Buffers
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.backends.device_layer import DeviceLayer
from x2c_edge.backends.device_memory import DeviceMemory
from x2c_edge.backends.engine_files import EngineSet, engine_name, read_plans
from x2c_edge.errors import NotFoundError
from x2c_edge.packs import NetSpec

_AGAIN: Final = "run x2c-edge build-engines again with --force"


class TensorRTBackend(DeviceMemory):
    """Engines of one pack on the first CUDA device. Nothing waits but the end of a plan."""

    name = "tensorrt"

    def __init__(
        self,
        plans: Mapping[str, bytes],
        device: CudaDevice,
        trt: Any,
        *,
        per_step: bool = False,
        layer: DeviceLayer | None = None,
    ) -> None:
        """plans: engine files by engine name. ``device`` shows that there is a driver to load. per_step: no
        graph, every step is timed. layer: pycuda's, unless another is given.

        NotFoundError if CUDA cannot be used here or TensorRT does not take an engine.
        """
        layer = layer or pycuda_layer.opened()
        self._trt, self._device = trt, device
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engines = {name: self._loaded(name, plan) for name, plan in plans.items()}
        ports = [port for engine in self._engines.values() for port in self._ports(engine).values()]
        half = any(dtype == np.float16 for _, _, dtype in ports)
        super().__init__(layer, half=half, integrated=device.integrated, per_step=per_step)
        # Engines run one after the other on one stream, so one memory is enough for what each works in.
        sizes = [trt_versions.scratch_bytes(engine) for engine in self._engines.values()]
        self._scratch = self.buffer((max([*sizes, 1]),), dtype=np.uint8)

    @staticmethod
    def opened(
        engines: EngineSet, device: CudaDevice, trt: Any, *, per_step: bool = False
    ) -> TensorRTBackend:
        """The backend of an installed set, its files checked."""
        return TensorRTBackend(read_plans(engines), device, trt, per_step=per_step)

    @property
    def device(self) -> str:
        return f"{self._device.name}, TensorRT {self._trt.__version__}"

    def bind(self, net: NetSpec, x: Buffers, out: Buffers, part: str = "") -> Callable[[], None]:
        name = engine_name(net.arch, part)
        if name not in self._engines:
            raise NotFoundError(f"no engine '{name}' was built; {_AGAIN}")
        engine, scratch = self._engines[name], self._scratch
        context = trt_versions.context_in(self._trt, engine, scratch.address, scratch.nbytes)
        if context is None:
            raise NotFoundError(f"engine '{name}': no memory for it on the GPU; close other programs")
        for is_input, buffers in ((True, x), (False, out)):
            given = buffers if isinstance(buffers, tuple) else (buffers,)
            for tensor, buffer in self._matched(name, engine, is_input, given).items():
                if not context.set_tensor_address(tensor, buffer.address):
                    raise NotFoundError(f"engine '{name}': TensorRT refuses '{tensor}' its place; {_AGAIN}")
        stream = self.stream

        def run(_kept: object = scratch) -> None:  # it may outlive the backend
            if not context.execute_async_v3(stream):
                raise RuntimeError(f"engine '{name}': TensorRT refused to run it")

        with self._layer.current():
            run()  # lazy set-up happens here: it cannot be captured
            self._layer.wait()
        return run

    def _loaded(self, name: str, plan: bytes) -> Any:
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise NotFoundError(
                f"engine '{name}': TensorRT {self._trt.__version__} does not take it; {_AGAIN}"
            )
        return engine

    def _ports(self, engine: Any) -> dict[str, tuple[bool, tuple[int, ...], np.dtype[Any]]]:
        return trt_versions.engine_tensors(self._trt, engine)

    def _matched(
        self, name: str, engine: Any, is_input: bool, given: tuple[Buffer, ...]
    ) -> dict[str, Buffer]:
        """Buffers by tensor name: by order, where shapes and types are the engine's."""
        ports = {key: port[1:] for key, port in self._ports(engine).items() if port[0] == is_input}
        have = [(buffer.shape, buffer.dtype) for buffer in given]
        if list(ports.values()) != have:
            side = "inputs" if is_input else "outputs"
            raise NotFoundError(
                f"engine '{name}': {side} are {_text(ports.values())}, not {_text(have)}; {_AGAIN}"
            )
        return dict(zip(ports, given, strict=True))


def _text(ports: Any) -> str:
    return ", ".join(f"{shape} {dtype}" for shape, dtype in ports) or "none"
