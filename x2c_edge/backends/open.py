"""Choose a backend by name."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from x2c_edge.backends.engine_files import NoEnginesError, find_set, installed_sets
from x2c_edge.errors import BadArgumentError, NotFoundError, nearest

if TYPE_CHECKING:
    from x2c_edge.backends.base import Backend
    from x2c_edge.backends.cuda_device import CudaDevice
    from x2c_edge.backends.engine_files import EngineSet
    from x2c_edge.packs import Pack

BACKENDS = ("auto", "tensorrt", "cpu", "torch")


@dataclass(frozen=True, slots=True)
class GpuEngines:
    """TensorRT engines, their device, and the module that runs them."""

    engines: EngineSet
    device: CudaDevice
    trt: Any


@dataclass(frozen=True, slots=True)
class CpuGraphs:
    """What ONNX Runtime runs, by engine name."""

    graphs: dict[str, bytes]


def open_backend(
    name: str = "auto",
    threads: int | None = None,
    *,
    bf16: bool = False,
    pack: Pack | None = None,
    per_step: bool = False,
) -> Backend:
    """The backend called ``name``. bf16: for PyTorch's heavy nets on a CPU. per_step: a GPU times every step
    by itself, and is slower for it.

    "auto" takes TensorRT where engines of ``pack`` were built, else PyTorch on a GPU that it and the kernels
    can use, else the CPU engine where the pack came with one or one was built, else PyTorch. Engines that
    were built and do not fit any more are an error, not a reason to be ten times slower without a word.
    """
    if bf16 and name == "cpu":
        raise BadArgumentError("precision bf16: the CPU engine is float32; use fp32, or --backend torch")
    chosen = engines_for("torch" if bf16 and name == "auto" else name, pack)
    if isinstance(chosen, CpuGraphs):
        from x2c_edge.backends.cpu_engine import CpuEngine

        return CpuEngine(chosen.graphs, threads)
    if chosen is not None:
        from x2c_edge.backends.tensorrt_backend import TensorRTBackend

        try:
            return TensorRTBackend.opened(chosen.engines, chosen.device, chosen.trt, per_step=per_step)
        except NotFoundError as error:
            raise _instead("tensorrt", error) from None
    from x2c_edge.backends import torch_backend

    if torch_backend.cuda_usable():
        return torch_backend.TorchCudaBackend(torch_backend.cuda_device(), per_step=per_step)
    return torch_backend.TorchBackend(threads, bf16=bf16)


def engines_for(name: str, pack: Pack | None) -> GpuEngines | CpuGraphs | None:
    """What ``open_backend`` would run; None where PyTorch runs.

    Opens no device: a caller asks before it opens cameras and links. BadArgumentError for an unknown name,
    NotFoundError for engines that do not fit, or where something is missing.
    """
    if name not in BACKENDS:
        raise BadArgumentError(f"backend '{name}'{nearest(name, BACKENDS)}: choose {', '.join(BACKENDS)}")
    if name in ("auto", "tensorrt"):
        try:
            return _gpu_engines(pack)
        except NoEnginesError as error:
            if name == "tensorrt":
                raise _instead("tensorrt", error) from None
        except NotFoundError as error:
            raise _instead("tensorrt", error) from None
    if name == "cpu" or (name == "auto" and not _torch_has_a_gpu()):
        try:
            return _cpu_graphs(pack)
        except NoEnginesError as error:
            if name == "cpu" or not _torch_is_here():
                raise _instead("cpu", error) from None
        except NotFoundError as error:
            raise _instead("cpu", error) from None
    if not _torch_is_here():
        raise NotFoundError("backend 'torch': PyTorch is not installed; run: pip install 'x2c-edge[torch]'")
    return None


def _gpu_engines(pack: Pack | None) -> GpuEngines:
    """NoEnginesError where none can have been built, NotFoundError where those that were do not fit."""
    from x2c_edge.backends import pycuda_layer, trt_versions

    try:
        device = pycuda_layer.cuda_device(pycuda_layer.driver())
        trt = trt_versions.tensorrt()
    except pycuda_layer.NoPycudaError as error:
        if pack is not None and _has_gpu_engines(pack):
            raise  # what only a package keeps from running is not to be ten times slower without a word
        raise NoEnginesError(str(error)) from None
    except NotFoundError as error:
        raise NoEnginesError(str(error)) from None
    if pack is None:
        raise NoEnginesError("no pack was given whose engines could run")
    return GpuEngines(find_set(pack, device, trt.__version__), device, trt)


def _has_gpu_engines(pack: Pack) -> bool:
    """Whether engines of the pack were built, and our kernels see a GPU."""
    from x2c_edge import _kernels

    return _kernels.cuda_device_count() > 0 and any(s.key.target == "gpu" for s in installed_sets(pack))


def _cpu_graphs(pack: Pack | None) -> CpuGraphs:
    from x2c_edge.backends.cpu_engine import graphs_for

    if pack is None:
        raise NoEnginesError("no pack was given whose engines could run")
    return CpuGraphs(graphs_for(pack))


def _torch_is_here() -> bool:
    return importlib.util.find_spec("torch") is not None


def _torch_has_a_gpu() -> bool:
    """PyTorch, which takes seconds to load, is asked only where our kernels see a GPU."""
    from x2c_edge import _kernels

    if not (_kernels.cuda_built() and _kernels.cuda_device_count() > 0 and _torch_is_here()):
        return False
    from x2c_edge.backends import torch_backend

    return torch_backend.cuda_usable()


def _instead(name: str, error: NotFoundError) -> NotFoundError:
    """With the way out, which without PyTorch begins with a command."""
    other = "" if _torch_is_here() else " (pip install 'x2c-edge[torch]')"
    return NotFoundError(f"backend '{name}': {error}; or use --backend torch{other}")
