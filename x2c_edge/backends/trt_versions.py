"""TensorRT 8.6 to 11: the names that all have, and the few places where they differ.

The only file that imports ``tensorrt``. Everything takes the module as an argument, so that
``tensorrt_rtx`` (the API of TensorRT 11) can stand in its place. Names are looked up, numbers never used:
enum values moved between releases (docs/spec/tensorrt.md section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from x2c_edge.errors import BadArgumentError, NotFoundError

FLOOR: Final = (8, 6)
_DTYPES: Final[Mapping[str, type[np.generic]]] = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "BOOL": np.bool_,
}  # fmt: skip
# What the ONNX files keep in float32 and a weakly typed builder must be told to.
_WIDE_LAYERS: Final = ("NORMALIZATION", "SOFTMAX", "REDUCE", "GRID_SAMPLE")


def tensorrt() -> Any:
    """The installed TensorRT. NotFoundError in one line if there is none or it is too old."""
    try:
        import tensorrt as trt
    except ImportError as error:
        raise NotFoundError(
            f"TensorRT is not installed for this Python ({error}); on a Jetson: sudo apt install "
            "python3-libnvinfer, and a virtual environment made with --system-site-packages"
        ) from None
    if release(trt) < FLOOR:
        raise NotFoundError(
            f"TensorRT {trt.__version__} is older than {FLOOR[0]}.{FLOOR[1]}, the oldest that is supported; "
            "update JetPack"
        )
    return trt


def release(trt: Any) -> tuple[int, int]:
    """(major, minor)."""
    major, minor = trt.__version__.split(".")[:2]
    return int(major), int(minor)


def obeys_types(trt: Any) -> bool:
    """Whether the types in the ONNX file are orders: strongly typed networks, from 10.0 on."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def network_flags(trt: Any) -> int:
    """For ``create_network``: an explicit batch where that is an option, strong types where they are."""
    kinds = trt.NetworkDefinitionCreationFlag
    flags = 0
    for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"):
        if hasattr(kinds, name):
            flags |= 1 << int(getattr(kinds, name))
    return flags


def set_parser_flags(trt: Any, parser: Any) -> None:
    """Instance norm by TensorRT's own layer, which is the default only from 10.0 on."""
    kinds = getattr(trt, "OnnxParserFlag", None)
    if kinds is not None and not obeys_types(trt):
        parser.set_flag(kinds.NATIVE_INSTANCENORM)


def require_precision(trt: Any, precision: str) -> None:
    """BadArgumentError for int8 on 8.6, which reads ONNX up to opset 17: float16 scales need 19."""
    if precision == "int8" and not obeys_types(trt):
        raise BadArgumentError(
            f"--precision int8 needs TensorRT 10 or newer, this is {trt.__version__}; use fp16"
        )


def set_precision(trt: Any, config: Any, network: Any, precision: str) -> None:
    """What the types in the ONNX file do not say by themselves."""
    config.clear_flag(trt.BuilderFlag.TF32)  # ten bits of mantissa are not float32
    if not obeys_types(trt) and precision != "fp32":
        config.set_flag(trt.BuilderFlag.FP16)
        config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
        for i in range(network.num_layers):
            layer = network.get_layer(i)
            if layer.type in [getattr(trt.LayerType, name) for name in _WIDE_LAYERS]:
                layer.precision = trt.float32


def reports_progress(trt: Any) -> bool:
    """From 10.0 on."""
    return hasattr(trt, "IProgressMonitor")


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """Of a TensorRT data type; NotFoundError for one that no array of ours has."""
    name = getattr(dtype, "name", str(dtype)).rsplit(".", 1)[-1]
    if name not in _DTYPES:
        raise NotFoundError(f"an engine has a tensor of type {name}; build the engines again")
    return np.dtype(_DTYPES[name])


def engine_tensors(trt: Any, engine: Any) -> dict[str, tuple[bool, tuple[int, ...], np.dtype[Any]]]:
    """Of a loaded engine: is it an input, its shape and type, by name."""
    tensors = {}
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        tensors[name] = (
            engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            tuple(engine.get_tensor_shape(name)),
            numpy_dtype(engine.get_tensor_dtype(name)),
        )
    return tensors


def scratch_bytes(engine: Any) -> int:
    """The device memory that an engine needs only while it runs."""
    if hasattr(engine, "device_memory_size_v2"):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


def context_in(trt: Any, engine: Any, address: int, size: int) -> Any:
    """An execution context that uses the caller's device memory, 256-byte aligned, while it runs; None if
    TensorRT has none left for what it keeps. size: at least ``scratch_bytes``."""
    if hasattr(trt, "ExecutionContextAllocationStrategy"):
        context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    else:
        context = engine.create_execution_context_without_device_memory()
    if context is None:
        return None
    if hasattr(context, "set_device_memory"):
        context.set_device_memory(address, size)
    else:  # before 10.1
        context.device_memory = address
    return context


def network_tensors(network: Any) -> dict[str, tuple[bool, tuple[int, ...], np.dtype[Any]]]:
    """The same of a network before it is built."""
    ports = [(True, network.get_input(i)) for i in range(network.num_inputs)]
    ports += [(False, network.get_output(i)) for i in range(network.num_outputs)]
    return {p.name: (is_input, tuple(p.shape), numpy_dtype(p.dtype)) for is_input, p in ports}
