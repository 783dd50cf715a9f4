"""Which arithmetic of a net runs in float16 and which stays in float32, written into the graph as Casts.

The rule:

1. *Products* (convolutions, matrix products) take float16 and give float16.
2. ... but a matrix product is a *head*, and stays float32, if no other product reads its result (other than
   as the positions of a GridSample): what leaves the net as numbers, or says where to look, costs nothing
   and is what rounding would show in.
3. *Sums* over many values (norms, softmax, means, ...) and GridSample run in float32.
4. Everything else goes with its surroundings: float16 if all it reads is float16 and a product, or a
   narrow output, reads it; float32 otherwise. So the arithmetic right after a norm is float32 still, and
   what follows a head is float32 to the end.
5. Ports are float32, but for those that ``EngineNet`` calls narrow.

TensorRT from 10.0 on takes these types as orders (strongly typed); 8.6 as far as its kernels go.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from x2c_edge.convert.onnx_graph import tensor_types

FLOAT: Final = TensorProto.FLOAT
HALF: Final = TensorProto.FLOAT16

PRODUCTS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
SUMS: Final = frozenset(
    {
        "BatchNormalization", "Exp", "GlobalAveragePool", "GridSample", "InstanceNormalization",
        "LayerNormalization", "Pow", "ReduceL2", "ReduceMean", "ReduceSum", "Softmax", "Sqrt",
    }
)  # fmt: skip
SURROUNDED: Final = frozenset(
    {
        "Add", "AveragePool", "Clip", "Concat", "DepthToSpace", "Div", "Erf", "Expand", "Flatten", "Gather",
        "HardSigmoid", "HardSwish", "LeakyRelu", "MaxPool", "Mul", "Neg", "Pad", "Relu", "Reshape", "Resize",
        "Sigmoid", "Sign", "Slice", "Split", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
# Inputs that are float32 by the operator's own definition.
_FIXED_INPUTS: Final = {"Resize": (1, 2)}


def halved(model: onnx.ModelProto, narrow: Collection[str]) -> onnx.ModelProto:
    """A float32 graph from ``simplified`` in the types that the rule gives; ``narrow``: names of ports.

    ValueError for an operator that the rule does not know, or a weight that float16 cannot hold.
    """
    graph = _Graph(model, narrow)
    for node in list(model.graph.node):
        graph.convert(node)
    graph.finish()
    return model


def worked_in_floats(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph, which is used up, with Casts around everything that takes or gives halves: worked out of the
    same numbers in float32, each result rounded to float16.

    For a CPU, where ONNX Runtime's arithmetic with halves is another by processor and release: on x86-64 it
    leaves out the rounding between what it works out in floats anyway, on arm64 it sums in halves, and up to
    1.29 (its issue 18576) it makes int8 of halves by cutting off.
    """
    types = tensor_types(model)
    nodes: list[onnx.NodeProto] = []
    wide: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in ("Cast", "DequantizeLinear"):  # one rounding, wherever it is done
            nodes.append(node)
            continue
        for i, name in enumerate(node.input):
            if not name or types[name][0] != HALF:
                continue
            if name not in wide:
                wide[name] = f"{name}/wide"
                nodes.append(helper.make_node("Cast", [name], [wide[name]], f"{name}/Widen", to=FLOAT))
            node.input[i] = wide[name]
        nodes.append(node)
        for i, name in enumerate(node.output):
            if types[name][0] == HALF:
                node.output[i] = f"{name}/exact"
                nodes.append(helper.make_node("Cast", [f"{name}/exact"], [name], f"{name}/Round", to=HALF))
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return model


class _Graph:
    def __init__(self, model: onnx.ModelProto, narrow: Collection[str]) -> None:
        self.model = model
        types = tensor_types(model)
        unknown = {output for node in model.graph.node for output in node.output} - types.keys()
        if unknown:
            raise ValueError(f"tensor '{min(unknown)}': its shape cannot be worked out")
        self.constants = {init.name: init for init in model.graph.initializer}
        self.types = {
            name: kind for name, (kind, _) in types.items() if kind == FLOAT and name not in self.constants
        }
        self.narrow = frozenset(narrow)
        self.read_by_product = _read_by_product(model, self.narrow)
        self.nodes: list[onnx.NodeProto] = []
        self.copies: dict[tuple[str, int], str] = {}
        self.used: dict[str, onnx.TensorProto] = {}
        for value in model.graph.input:
            if value.name in self.narrow:
                value.type.tensor_type.elem_type = HALF
                self.types[value.name] = HALF

    def convert(self, node: onnx.NodeProto) -> None:
        if node.output[0] not in self.types:  # integers: positions, shapes
            self._keep_constants(node)
            self.nodes.append(node)
            return
        kind = self._kind(node)
        fixed = _FIXED_INPUTS.get(node.op_type, ())
        for i, name in enumerate(node.input):
            if name in self.types:
                node.input[i] = self._as(name, kind)
            elif name in self.constants and self.constants[name].data_type == FLOAT and i not in fixed:
                node.input[i] = self._constant(name, kind)
        self._keep_constants(node)
        self.nodes.append(node)
        for name in node.output:
            self.types[name] = kind

    def _kind(self, node: onnx.NodeProto) -> int:
        wanted = any(name in self.read_by_product for name in node.output)
        if node.op_type in PRODUCTS:
            head = node.op_type in ("Gemm", "MatMul") and not wanted
            return FLOAT if head else HALF
        if node.op_type in SUMS:
            return FLOAT
        if node.op_type not in SURROUNDED:
            raise ValueError(f"operator '{node.op_type}' of node '{node.name}': no rule says its type")
        reads = [self.types[name] for name in node.input if name in self.types]
        return HALF if wanted and reads and all(kind == HALF for kind in reads) else FLOAT

    def _as(self, name: str, kind: int) -> str:
        """The tensor in the type that is asked for, cast at most once."""
        if self.types[name] == kind:
            return name
        if (name, kind) not in self.copies:
            copy = f"{name}{SUFFIXES[kind]}"
            self.nodes.append(helper.make_node("Cast", [name], [copy], f"{copy}/Cast", to=kind))
            self.copies[name, kind] = copy
        return self.copies[name, kind]

    def _constant(self, name: str, kind: int) -> str:
        if kind == FLOAT:
            return name
        copy = f"{name}{SUFFIXES[HALF]}"
        if copy not in self.used:
            with np.errstate(over="ignore"):
                half = numpy_helper.to_array(self.constants[name]).astype(np.float16)
            if not np.isfinite(half).all():
                raise ValueError(f"weight '{name}': float16 cannot hold it; build with --precision fp32")
            self.used[copy] = numpy_helper.from_array(half, copy)
        return copy

    def _keep_constants(self, node: onnx.NodeProto) -> None:
        self.used |= {name: self.constants[name] for name in node.input if name in self.constants}

    def finish(self) -> None:
        """Give every output its port's type and write the graph."""
        for value in self.model.graph.output:
            kind = HALF if value.name in self.narrow else FLOAT
            if self.types[value.name] != kind:
                inner = f"{value.name}/inner"
                for node in self.nodes:
                    for names in (node.input, node.output):
                        names[:] = [inner if name == value.name else name for name in names]
                self.nodes.append(
                    helper.make_node("Cast", [inner], [value.name], f"{value.name}/Cast", to=kind)
                )
            value.type.tensor_type.elem_type = kind
        del self.model.graph.node[:], self.model.graph.initializer[:], self.model.graph.value_info[:]
        self.model.graph.node.extend(self.nodes)
        self.model.graph.initializer.extend(self.used.values())


SUFFIXES: Final[dict[int, str]] = {HALF: "/half", FLOAT: "/float"}


def _read_by_product(model: onnx.ModelProto, narrow: frozenset[str]) -> set[str]:
    """Tensors that a product or a narrow output depends on, other than through GridSample's positions."""
    wanted = set(narrow)
    for node in reversed(model.graph.node):
        feeds = any(name in wanted for name in node.output)
        if node.op_type in PRODUCTS or feeds:
            wanted.update(node.input[:1] if node.op_type == "GridSample" else node.input)
    return wanted
