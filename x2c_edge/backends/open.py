"""Choose a backend by name."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from x2c_edge.backends.engine_files import NoEnginesError, find_set
from x2c_edge.errors import BadArgumentError, NotFoundError, nearest

if TYPE_CHECKING:
    from x2c_edge.backends.base import Backend
    from x2c_edge.backends.cuda_device import CudaDevice
    from x2c_edge.backends.engine_files import EngineSet
    from x2c_edge.packs import Pack

BACKENDS = ("auto", "torch", "tensorrt")


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

    "auto" takes TensorRT where engines of ``pack`` were built, else PyTorch; PyTorch takes the GPU where it
    and the kernels can. Engines that were built and do not fit any more are an error, not a reason to be
    ten times slower without a word.
    """
    engines = engines_for(name, pack)
    if engines is not None:
        from x2c_edge.backends.tensorrt_backend import TensorRTBackend

        try:
            return TensorRTBackend.opened(*engines, per_step=per_step)
        except NotFoundError as error:
            raise _instead(error) from None
    if importlib.util.find_spec("torch") is None:
        raise NotFoundError("PyTorch is not installed; run: pip install 'x2c-edge[torch]'")
    from x2c_edge.backends import torch_backend

    if torch_backend.cuda_usable():
        from x2c_edge.backends.cuda_device import cuda_device

        return torch_backend.TorchCudaBackend(cuda_device(), per_step=per_step)
    return torch_backend.TorchBackend(threads, bf16=bf16)


def engines_for(name: str, pack: Pack | None) -> tuple[EngineSet, CudaDevice, Any] | None:
    """The engines that ``open_backend`` would run, their device and TensorRT; None where PyTorch runs.

    Opens nothing: a caller asks before it opens cameras and links. BadArgumentError for an unknown name,
    NotFoundError for engines that do not fit, or for "tensorrt" where something is missing.
    """
    if name not in BACKENDS:
        raise BadArgumentError(f"backend '{name}'{nearest(name, BACKENDS)}: choose {', '.join(BACKENDS)}")
    if name == "torch":
        return None
    try:
        return _engines(pack)
    except NoEnginesError as error:
        if name == "tensorrt":
            raise _instead(error) from None
        return None
    except NotFoundError as error:
        raise _instead(error) from None


def _engines(pack: Pack | None) -> tuple[EngineSet, CudaDevice, Any]:
    """NoEnginesError where none can have been built, NotFoundError where those that were do not fit."""
    from x2c_edge.backends import cuda_device, trt_versions

    try:
        device = cuda_device.cuda_device()
        trt = trt_versions.tensorrt()
    except NotFoundError as error:
        raise NoEnginesError(str(error)) from None
    if pack is None:
        raise NoEnginesError("no pack was given whose engines could run")
    return find_set(pack, device, trt.__version__), device, trt


def _instead(error: NotFoundError) -> NotFoundError:
    return NotFoundError(f"backend 'tensorrt': {error}; or use --backend torch")
