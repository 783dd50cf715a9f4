"""Nets on PyTorch, on the CPU or on a GPU. The only runtime file that imports torch outside ``nets``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from x2c_edge import _kernels, processor
from x2c_edge.backends.base import Buffer, Buffers, Step
from x2c_edge.backends.cpu_engine import default_threads
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.backends.device_layer import DeviceArray, Launch
from x2c_edge.backends.device_memory import DeviceMemory
from x2c_edge.backends.host import HostMemory
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.nets import arch, inference, inference_cuda
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig, folded
from x2c_edge.packs import NetSpec


class TorchBackend(HostMemory):
    """The CPU, in float32 or with the heavy convolutions in bfloat16."""

    name = "torch"

    def __init__(self, threads: int | None = None, *, bf16: bool = False) -> None:
        """BadArgumentError if bfloat16 is asked of a processor that lacks it."""
        if bf16 and not processor.computes_bfloat16():
            raise BadArgumentError("precision bf16: this processor does not compute in it; use fp32")
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self.threads = threads or default_threads()
        torch.set_num_threads(self.threads)

    @property
    def device(self) -> str:
        precision = ", bf16" if self._dtype == torch.bfloat16 else ""
        return f"cpu{precision}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def bind(self, net: NetSpec, x: Buffers, out: Buffers, part: str = "") -> Callable[[], None]:
        apply = inference.function(_opened(net), part, self._dtype)
        sources, targets = ([torch.from_numpy(array) for array in _tuple(side)] for side in (x, out))
        staged = [_staging(source) for source in sources]

        def run() -> None:
            with torch.inference_mode():
                inputs = (stage.copy_(source) for stage, source in zip(staged, sources, strict=True))
                for target, result in zip(targets, apply(*inputs), strict=True):
                    target.copy_(result)

        try:
            run()  # the first run plans the convolutions; it must not happen on the first frame
        except RuntimeError as error:
            raise _refused(net, x, error) from None
        return run


class TorchCudaBackend(DeviceMemory):
    """The first GPU: nets in float16 (``nets.inference_cuda``), captured with our kernels between them, in
    PyTorch's memory.

    Not yet run on a GPU by its authors: tools/gpu/gpu_check.py is what proves it.
    """

    name = "torch"

    def __init__(
        self,
        device: CudaDevice,
        *,
        half: bool = True,
        per_step: bool = False,
        torch_cuda: TorchCuda | None = None,
    ) -> None:
        """half: False for float32 throughout. per_step: no graph, every step is timed. torch_cuda: PyTorch's
        side of the device."""
        self._device, self._half = device, half
        self._torch = torch_cuda or TorchCuda()
        super().__init__(self._torch, half=half, integrated=device.integrated, per_step=per_step)

    @property
    def device(self) -> str:
        return f"{self._device.name}, PyTorch {'fp16' if self._half else 'fp32'}"

    def bind(self, net: NetSpec, x: Buffers, out: Buffers, part: str = "") -> Callable[[], None]:
        module = _opened(net).to(self._torch.device)
        apply = inference_cuda.function(module, part, half=self._half)
        sources, targets = ([self._torch.tensor(buffer) for buffer in _tuple(side)] for side in (x, out))

        def run() -> None:
            with self._torch.current():
                for target, result in zip(targets, apply(*sources), strict=True):
                    target.copy_(result)

        try:
            run()  # plans the convolutions
            self._torch.wait()
        except RuntimeError as error:
            raise _refused(net, x, error) from None
        return run


class TorchMoment:
    """See ``Moment``."""

    def __init__(self, stream: Any) -> None:
        self._event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._stream = stream

    def record(self) -> None:
        self._event.record(self._stream)

    def milliseconds_since(self, earlier: TorchMoment) -> float:
        milliseconds: float = earlier._event.elapsed_time(self._event)
        return milliseconds


class TorchCuda:
    """The first GPU through PyTorch; see ``DeviceLayer``."""

    def __init__(self) -> None:
        self.device = torch.device("cuda", 0)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32 is float32
        torch.backends.cudnn.benchmark = True  # shapes are fixed: the quickest algorithm is worth finding
        # Far below zero is the highest priority that there is.
        self._stream = torch.cuda.Stream(self.device, priority=-100)  # type: ignore[no-untyped-call]
        self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self.stream: int = self._stream.cuda_stream

    def tensor(self, buffer: Buffer) -> torch.Tensor:
        """The same memory."""
        return torch.as_tensor(buffer, device=self.device)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            yield

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        try:
            memory = torch.zeros(shape, dtype=_torch_dtype(dtype), device=self.device)
        except torch.OutOfMemoryError as error:
            raise NotFoundError(
                f"the GPU's memory is full: {str(error).splitlines()[0]}; close other programs or use a "
                "smaller pack"
            ) from None
        return DeviceArray(memory.data_ptr(), shape, np.dtype(dtype), memory)

    def page_locked(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], DeviceArray]:
        """The device sees it at the host's address: all that PyTorch locks is mapped."""
        memory = torch.zeros(shape, dtype=_torch_dtype(dtype), pin_memory=self.device.type == "cuda")
        return memory.numpy(), DeviceArray(memory.data_ptr(), shape, np.dtype(dtype), memory)

    def copy_in(self, device: DeviceArray, host: NDArray[Any]) -> None:
        with self.current():
            self.tensor(device).copy_(torch.from_numpy(host), non_blocking=True)

    def copy_out(self, host: NDArray[Any], device: DeviceArray) -> None:
        with self.current():
            torch.from_numpy(host).copy_(self.tensor(device), non_blocking=True)

    def wait(self) -> None:
        self._done.record(self._stream)
        self._done.synchronize()

    def moment(self) -> TorchMoment:
        return TorchMoment(self._stream)

    def capture(self, steps: Sequence[Step]) -> Launch:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            for step in steps:
                step()

        def launch() -> None:
            with torch.cuda.stream(self._stream):
                graph.replay()

        return launch


def cuda_usable() -> bool:
    """Whether both PyTorch and our kernels can use a GPU here."""
    return torch.cuda.is_available() and _kernels.cuda_built() and _kernels.cuda_device_count() > 0


def cuda_device() -> CudaDevice:
    """The first device, where ``cuda_usable``."""
    p = torch.cuda.get_device_properties(0)
    return CudaDevice(p.name, f"{p.major}.{p.minor}", bool(p.is_integrated), p.total_memory)


def _torch_dtype(dtype: Any) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype


def _tuple(buffers: Buffers) -> tuple[Buffer, ...]:
    return buffers if isinstance(buffers, tuple) else (buffers,)


def _refused(net: NetSpec, x: Buffers, error: RuntimeError) -> NotFoundError:
    shapes = [tuple(buffer.shape) for buffer in _tuple(x)]
    reason = str(error).splitlines()[0]
    return NotFoundError(f"{net.file}: '{net.arch}' does not take {shapes}: {reason}; get the pack again")


def _staging(source: torch.Tensor) -> torch.Tensor:
    """Where a net's input is laid out as its convolutions like it; a view where nothing is to be gained."""
    if source.dim() == 4:
        return torch.empty_like(source, memory_format=torch.channels_last)
    return source


def _opened(net: NetSpec) -> torch.nn.Module:
    if net.arch == "single_stage":
        return _single_stage(net)
    if net.arch not in arch.ARCHS:
        known = ", ".join(("single_stage", *arch.ARCHS))
        raise NotFoundError(f"{net.file}: unknown net '{net.arch}'; this program knows {known}")
    try:
        module = arch.opened(net.arch, net.config, load_file(net.file))
    except (SafetensorError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise _misfit(net, error) from None
    _require_finite(net, module)
    return module


def _single_stage(net: NetSpec) -> SingleStage:
    try:
        module = SingleStage(SingleStageConfig.from_manifest(net.config))
        module.load_state_dict({k: v.float() for k, v in load_file(net.file).items()})
    except (SafetensorError, TypeError, RuntimeError, OSError) as error:
        raise _misfit(net, error) from None
    module = folded(module)
    _require_finite(net, module)
    return module


def _misfit(net: NetSpec, error: Exception) -> NotFoundError:
    text = str(error).strip().splitlines()
    return NotFoundError(f"{net.file}: does not fit its manifest: {' '.join(text[:2])}")


def _require_finite(net: NetSpec, module: torch.nn.Module) -> None:
    if not all(bool(torch.isfinite(t).all()) for t in module.state_dict().values()):
        raise NotFoundError(f"{net.file}: holds weights that are not finite; get the pack again")
