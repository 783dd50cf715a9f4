"""What the CPU's engine runs: one ONNX file for each net, without its weights.

The weights stay in the pack's safetensors files, under the same names, and are put in when a graph is loaded:
there is one copy of them, and a graph is a few dozen kilobytes that depend on the net's sizes alone.

Whoever changes what comes out raises ``engine_files.EXPORTER``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto, helper
from safetensors import safe_open

from x2c_edge.convert.onnx_graph import simplified
from x2c_edge.nets import engine_nets
from x2c_edge.nets.cpu_nets import cpu_nets
from x2c_edge.nets.engine_nets import EngineNet, to_onnx
from x2c_edge.packs import NetSpec, Pack

_OPSET: Final = 17


def graphs_of(pack: Pack) -> dict[str, bytes]:
    """Every graph that the pack needs, by engine name. NotFoundError if the pack does not fit together."""
    volume = engine_nets.volume_shape(pack.files["source"].file) if "source" in pack.files else ()
    graphs: dict[str, bytes] = {}
    for spec in pack.nets.values():
        module = engine_nets.opened(spec.arch, spec.config, spec.file, fold=False)
        for net in cpu_nets(module, spec.input.size if spec.input else 0, volume):
            graphs[net.name] = _graph(net, spec)
    return graphs


def _graph(net: EngineNet, spec: NetSpec) -> bytes:
    model = onnx.load_from_string(to_onnx(net, _OPSET, fold=False))
    weights = _stubs(spec.file)
    constants: list[TensorProto] = []
    for tensor in model.graph.initializer:
        tensor.name = tensor.name.removeprefix("net.")
        if tensor.name not in weights:
            constants.append(tensor)
    for node in model.graph.node:
        node.input[:] = [name.removeprefix("net.") for name in node.input]
    # Unknown to what folds constants, a weight is an input.
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    model.graph.input.extend(
        helper.make_tensor_value_info(stub.name, stub.data_type, stub.dims) for stub in weights.values()
    )
    model = _padded_within(simplified(model))
    del model.graph.input[len(net.inputs) :]
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(stub for name, stub in weights.items() if name in read)
    return bytes(model.SerializeToString(deterministic=True))


def _stubs(file: Path) -> dict[str, TensorProto]:
    """Name, type and shape of every tensor of a pack's file; the values stay there."""
    stubs = {}
    with safe_open(file, "np") as tensors:
        for name in tensors.keys():  # noqa: SIM118 (it is no dictionary)
            there = tensors.get_slice(name)
            kind = TensorProto.FLOAT if there.get_dtype().startswith("F") else TensorProto.INT64
            stub = TensorProto(name=name, data_type=kind, dims=there.get_shape())
            stub.data_location = TensorProto.EXTERNAL
            stub.external_data.add(key="location", value=file.name)
            stubs[name] = stub
    return stubs


def _padded_within(model: onnx.ModelProto) -> onnx.ModelProto:
    """A convolution of what was padded with zeros pads by itself."""
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    pads = {
        node.output[0]: node
        for node in model.graph.node
        if node.op_type == "Pad"
        and all(attribute.s == b"constant" for attribute in node.attribute if attribute.name == "mode")
        and node.input[1] in constants
        and readers.get(node.output[0]) == 1
        and all(not constants[name].any() for name in node.input[2:3] if name)
    }
    for node in model.graph.node:
        pad = pads.get(node.input[0]) if node.op_type == "Conv" else None
        if pad is None:
            continue
        before, after = constants[pad.input[1]].reshape(2, -1)
        extra = [*before[2:], *after[2:]]
        if before[:2].any() or after[:2].any() or min(extra) < 0:
            continue
        given = next(attribute for attribute in node.attribute if attribute.name == "pads")
        given.ints[:] = [int(a + b) for a, b in zip(given.ints, extra, strict=True)]
        node.input[0] = pad.input[0]
        model.graph.node.remove(pad)
    return model
