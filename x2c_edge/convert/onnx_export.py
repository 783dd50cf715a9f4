"""One net to an explicitly typed ONNX file in float32, half (float16 by a rule) or int8.

Whoever changes what comes out raises ``engine_files.EXPORTER``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    model = graph_of(net, precision)
    if precision == "int8" and not net.wide:
        return int8_file(net, model, onnx_int8.ranges(model, samples))
    return _checked(model if precision == "fp32" or net.wide else half_of(net, model))


def graph_of(net: EngineNet, precision: Precision) -> onnx.ModelProto:
    """The net in float32, in the opset that the precision needs."""
    return simplified(onnx.load_from_string(to_onnx(net, OPSETS[precision])))


def half_of(net: EngineNet, graph: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 graph, which is used up, in float16 by the rule."""
    return onnx_types.halved(graph, [port.name for port in (*net.inputs, *net.outputs) if port.narrow])


def int8_file(
    net: EngineNet, graph: onnx.ModelProto, spans: Mapping[str, float], spared: Collection[str] = ()
) -> bytes:
    """A float32 graph, which is used up, in int8, but for the products that are to stay in float16 (their
    results' names)."""
    return _checked(onnx_int8.quantised(half_of(net, graph), spans, spared))


def _checked(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def port_dtypes(net: EngineNet, precision: Precision) -> dict[str, np.dtype[Any]]:
    """The type of every input and output of the exported net."""
    half = precision != "fp32" and not net.wide
    return {
        port.name: np.dtype(np.float16 if half and port.narrow else np.float32)
        for port in (*net.inputs, *net.outputs)
    }
