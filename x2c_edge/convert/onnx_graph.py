"""An ONNX graph with the shapes worked out and nothing left in it that does not depend on the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

Types = dict[str, tuple[int, tuple[int, ...]]]


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph without Identity, Constant and Shape nodes, and with all constant arithmetic done.

    The inputs' shapes must be fixed. Every constant becomes an initializer.
    """
    count = -1
    while count != len(model.graph.node):  # a folded Shape lets the next ones be known
        count = len(model.graph.node)
        model = _folded(model)
    return model


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    types = tensor_types(model)
    constants = {init.name: numpy_helper.to_array(init) for init in model.graph.initializer}
    renamed: dict[str, str] = {}
    outputs = {output.name for output in model.graph.output}
    kept = []
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if _changes_nothing(node, types) and node.output[0] not in outputs:
            renamed[node.output[0]] = node.input[0]
        elif node.op_type == "Shape" and node.input[0] in types:
            constants[node.output[0]] = _part_of_shape(node, types[node.input[0]][1])
        elif all(name in constants for name in node.input if name) and node.output[0] not in outputs:
            constants.update(_evaluated(model, node, constants))
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    del model.graph.node[:]
    model.graph.node.extend(kept)
    del model.graph.initializer[:]
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, order="C"), name)
        for name, value in constants.items()
        if name in used
    )
    del model.graph.value_info[:]
    return model


def tensor_types(model: onnx.ModelProto) -> Types:
    """Element type and shape of every tensor whose shape is known, initializers included."""
    model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    types: Types = {}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        tensor = value.type.tensor_type
        if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in tensor.shape.dim):
            continue
        types[value.name] = (tensor.elem_type, tuple(d.dim_value for d in tensor.shape.dim))
    for init in model.graph.initializer:
        types[init.name] = (init.data_type, tuple(init.dims))
    return types


def _changes_nothing(node: onnx.NodeProto, types: Types) -> bool:
    """Identity, or a Cast to the type that is there already."""
    if node.op_type == "Cast" and node.input[0] in types:
        return bool(node.attribute[0].i == types[node.input[0]][0])
    return bool(node.op_type == "Identity")


def _part_of_shape(node: onnx.NodeProto, shape: tuple[int, ...]) -> NDArray[np.int64]:
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)


def _evaluated(
    model: onnx.ModelProto, node: onnx.NodeProto, constants: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    names = [name for name in dict.fromkeys(node.input) if name]
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(constants[name].dtype), constants[name].shape
        )
        for name in names
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in node.output]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    values = ReferenceEvaluator(alone).run(None, {name: constants[name] for name in names})
    return {name: np.asarray(value) for name, value in zip(node.output, values, strict=True)}
