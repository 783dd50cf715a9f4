"""One net to an explicitly typed ONNX file in float32, half (float16 by a rule) or int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from x2c_edge.backends.engine_files import Precision
from x2c_edge.convert import onnx_int8, onnx_types
from x2c_edge.convert.onnx_graph import simplified
from x2c_edge.nets.engine_nets import EngineNet, to_onnx

# 17 is what TensorRT 8.6 reads; int8 needs 19 for float16 scales, and so TensorRT 10.
OPSETS: Final[Mapping[Precision, int]] = {"fp32": 17, "fp16": 17, "int8": 19}

Arrays = Mapping[str, NDArray[Any]]


def exported(net: EngineNet, precision: Precision, samples: Sequence[Arrays] = ()) -> bytes:
    """The ONNX file of a net, weights inside, checked.

    samples: for int8, what the inputs held on a clip, float32 by port name. ValueError for a net that the
    rules do not cover, or int8 without samples.
    """
    model = simplified(onnx.load_from_string(to_onnx(net, OPSETS[precision])))
    if precision != "fp32" and not net.wide:
        ranges = onnx_int8.ranges(model, samples) if precision == "int8" else {}
        narrow = [port.name for port in (*net.inputs, *net.outputs) if port.narrow]
        model = onnx_types.halved(model, narrow)
        if precision == "int8":
            model = onnx_int8.quantised(model, ranges)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def port_dtypes(net: EngineNet, precision: Precision) -> dict[str, np.dtype[Any]]:
    """The type of every input and output of the exported net."""
    half = precision != "fp32" and not net.wide
    return {
        port.name: np.dtype(np.float16 if half and port.narrow else np.float32)
        for port in (*net.inputs, *net.outputs)
    }
