"""What int8 does to a net, product by product: each alone in int8, all else in float32, on a clip's inputs.

All products of a net are in one graph, each with a switch, so that a net is opened once and run once for each
product. The rounding is that of the int8 file: scales in float16, weights by channel, activations by tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from x2c_edge.convert import onnx_int8
from x2c_edge.convert.onnx_graph import tensor_types
from x2c_edge.convert.trial import session

SWITCHES: Final = "int8/on"
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Product:
    """A convolution or matrix product that can be int8. name: of its result. work: multiplications.
    error: of the net's outputs if this alone is int8, root mean square over that of the outputs."""

    name: str
    work: int
    error: float


def errors_of(
    graph: onnx.ModelProto,
    names: Sequence[str],
    spans: Mapping[str, float],
    samples: Sequence[Arrays],
    threads: int,
) -> list[Product]:
    """names: results of the products that are to be tried, in a float32 graph, which is used up."""
    work = work_of(graph, names)
    opened = session(switched(graph, names, spans).SerializeToString(), threads)
    squares = np.zeros(len(names))
    for sample in samples:
        feed = {name: np.asarray(value, np.float32) for name, value in sample.items()}
        off = np.zeros(len(names), np.float32)
        exact = opened.run(None, feed | {SWITCHES: off})
        for i in range(len(names)):
            on = off.copy()
            on[i] = 1
            rounded = opened.run(None, feed | {SWITCHES: on})
            squares[i] += sum(_relative(a, b) for a, b in zip(rounded, exact, strict=True))
    return [
        Product(name, work[name], math.sqrt(square / len(samples)))
        for name, square in zip(names, squares.tolist(), strict=True)
    ]


def _relative(value: NDArray[Any], exact: NDArray[Any]) -> float:
    """The mean square of a difference over that of what is right."""
    scale = float(np.square(exact, dtype=np.float64).mean())
    return float(np.square(value - exact, dtype=np.float64).mean()) / max(scale, 1e-30)


def switched(graph: onnx.ModelProto, names: Sequence[str], spans: Mapping[str, float]) -> onnx.ModelProto:
    """A float32 graph with one input more, a switch for each of the products: 0 or 1 for int8."""
    constants = {init.name: init for init in graph.graph.initializer}
    number = {name: i for i, name in enumerate(names)}
    nodes: list[onnx.NodeProto] = []
    added: dict[str, onnx.TensorProto] = {}
    rounded: dict[str, str] = {}
    for node in graph.graph.node:
        i = number.get(node.output[0])
        if i is not None:
            x, weight = node.input[0], node.input[1]
            switch = f"{SWITCHES}/{i}"
            added[f"{switch}/at"] = numpy_helper.from_array(np.array(i, np.int64), f"{switch}/at")
            nodes.append(helper.make_node("Gather", [SWITCHES, f"{switch}/at"], [switch], switch))
            if x not in rounded:
                rounded[x] = _rounded_activation(x, spans[x], nodes, added)
            values = numpy_helper.to_array(constants[weight]).astype(np.float32)
            axis, levels, scales = onnx_int8.weight_levels(node.op_type, values)
            step = onnx_int8.along(axis, scales.astype(np.float32), values.ndim)
            change = f"{weight}/change"
            added[change] = numpy_helper.from_array(levels * step - values, change)
            difference = f"{node.output[0]}/difference"
            nodes.append(helper.make_node("Sub", [rounded[x], x], [difference], difference))
            node.input[0] = _switched(x, difference, switch, node.output[0], nodes)
            node.input[1] = _switched(weight, change, switch, node.output[0], nodes)
        nodes.append(node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(added.values())
    graph.graph.input.append(helper.make_tensor_value_info(SWITCHES, onnx.TensorProto.FLOAT, [len(names)]))
    return graph


def _rounded_activation(
    x: str, span: float, nodes: list[onnx.NodeProto], added: dict[str, onnx.TensorProto]
) -> str:
    scale, zero = f"{x}/scale", f"{x}/zero"
    added[scale] = numpy_helper.from_array(np.array(onnx_int8.activation_scale(span), np.float32), scale)
    added[zero] = numpy_helper.from_array(np.array(0, np.int8), zero)
    nodes.append(helper.make_node("QuantizeLinear", [x, scale, zero], [f"{x}/int8"], f"{x}/Q"))
    nodes.append(helper.make_node("DequantizeLinear", [f"{x}/int8", scale, zero], [f"{x}/back"], f"{x}/DQ"))
    return f"{x}/back"


def _switched(value: str, change: str, switch: str, product: str, nodes: list[onnx.NodeProto]) -> str:
    """value + switch * change."""
    part, out = f"{product}/{change}/part", f"{product}/{value}/switched"
    nodes.append(helper.make_node("Mul", [change, switch], [part], part))
    nodes.append(helper.make_node("Add", [value, part], [out], out))
    return out


def work_of(graph: onnx.ModelProto, names: Sequence[str]) -> dict[str, int]:
    """Multiplications of each product."""
    types = tensor_types(graph)
    wanted = set(names)
    work = {}
    for node in graph.graph.node:
        if node.output[0] in wanted:
            weight = types[node.input[1]][1]
            channels = weight[0] if node.op_type == "Conv" else weight[-1]
            work[node.output[0]] = math.prod(types[node.output[0]][1]) * math.prod(weight) // channels
    return work
