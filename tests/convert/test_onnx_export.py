"""Exported nets: their types on the graph itself, and their values in ONNX Runtime against PyTorch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from x2c_edge.convert import onnx_int8, onnx_types
from x2c_edge.convert.onnx_export import OPSETS, exported, port_dtypes
from x2c_edge.convert.onnx_graph import simplified, tensor_types

NETS = ("single_stage", "motion", "dense_motion", "warp_tail", "generator", "mapping", "stitching")
FLOAT, HALF, INT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8
NORMS = {"InstanceNormalization", "LayerNormalization", "ReduceL2", "ReduceMean", "Softmax", "GridSample"}

# The largest difference from PyTorch over the largest value, seen with these nets, times about three.
LIMITS = {"fp32": 5e-6, "fp16": 2e-3, "int8": 0.06}


def graph(data: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(data)


def types(model: onnx.ModelProto) -> dict[str, int]:
    return {name: kind for name, (kind, _) in tensor_types(model).items()}


def read_by_convolution(model: onnx.ModelProto, name: str) -> bool:
    """Whether a convolution or matrix product is anywhere below a tensor (small graphs: just walk)."""
    for node in model.graph.node:
        if name in node.input and not (node.op_type == "GridSample" and name == node.input[1]):
            if node.op_type in ("Conv", "Gemm", "MatMul"):
                return True
            if any(read_by_convolution(model, output) for output in node.output):
                return True
    return False


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", NETS)
def test_values_and_ports(engines, export, sample, run_torch, run_onnx, name: str, precision: str):
    net = engines[name]
    inputs = sample(net)
    out = run_onnx(export(name, precision), inputs)
    expected = run_torch(net, inputs)
    dtypes = port_dtypes(net, precision)
    assert out.keys() == expected.keys()
    for port in net.outputs:
        assert out[port.name].shape == port.shape
        assert out[port.name].dtype == dtypes[port.name]
        scale = np.abs(expected[port.name]).max()
        limit = LIMITS["fp32" if net.wide else precision] * scale
        np.testing.assert_allclose(out[port.name].astype(np.float32), expected[port.name], atol=limit, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", NETS)
def test_the_file_is_whole_and_plain(export, name: str, precision: str):
    model = graph(export(name, precision))
    assert {o.version for o in model.opset_import if o.domain in ("", "ai.onnx")} == {OPSETS[precision]}
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"Shape", "Constant", "Identity", "If", "Loop"}
    assert all(init.HasField("raw_data") for init in model.graph.initializer)
    shapes = {name: shape for name, (_, shape) in tensor_types(model).items()}
    for node in model.graph.node:
        assert not (node.op_type == "GridSample" and len(shapes[node.input[0]]) == 5)


@pytest.mark.parametrize("name", NETS)
def test_float32_files_hold_no_float16(export, name: str):
    assert HALF not in types(graph(export(name, "fp32"))).values()


@pytest.mark.parametrize("name", [n for n in NETS if n != "stitching"])
def test_products_are_half_but_for_heads(engines, export, name: str):
    model = graph(export(name, "fp16"))
    kinds = types(model)
    narrow = {port.name for port in engines[name].outputs if port.narrow}
    products = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    assert products
    for node in products:
        feeds = read_by_convolution(model, node.output[0]) or narrow
        wanted = HALF if node.op_type == "Conv" or feeds else FLOAT
        assert {kinds[i] for i in (*node.input, *node.output)} == {wanted}, node.name


@pytest.mark.parametrize("name", NETS)
def test_sums_are_float32(export, name: str):
    model = graph(export(name, "fp16"))
    kinds = types(model)
    for node in model.graph.node:
        if node.op_type in NORMS:
            floats = {kinds[i] for i in (*node.input, *node.output) if kinds[i] in (FLOAT, HALF)}
            assert floats == {FLOAT}, node.name


def test_every_norm_of_the_nets_is_there(export):
    """So that the test above looks at something."""
    found = {
        node.op_type
        for name in NETS
        for node in graph(export(name, "fp16")).graph.node
        if node.op_type in NORMS
    }
    assert found == NORMS - {"Softmax"}  # the only one is in warp_volume, a kernel


def test_nothing_is_cast_to_and_fro_without_a_norm(export):
    for name in ("dense_motion", "warp_tail"):
        operators = [node.op_type for node in graph(export(name, "fp16")).graph.node]
        assert "Cast" not in operators


def test_stitching_stays_float32_everywhere(export):
    assert export("stitching", "fp16") == export("stitching", "fp32")


def test_int8_weights_have_one_scale_for_each_output_channel(export):
    model = graph(export("dense_motion", "int8"))
    kinds = types(model)
    producers = {output: node for node in model.graph.node for output in node.output}
    constants = {init.name: init for init in model.graph.initializer}
    quantised = 0
    for node in model.graph.node:
        if node.op_type != "Conv" or node.input[1] in constants:
            continue
        activation, weight = producers[node.input[0]], producers[node.input[1]]
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        assert producers[activation.input[0]].op_type == "QuantizeLinear"
        assert kinds[activation.input[0]] == kinds[weight.input[0]] == INT8
        assert list(constants[activation.input[1]].dims) == []
        assert list(constants[weight.input[1]].dims) == [constants[weight.input[0]].dims[0]]
        assert kinds[node.output[0]] == HALF
        quantised += 1
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    assert 0 < quantised < convolutions  # the masks and the occlusion leave the net as they are


def test_int8_leaves_first_convolutions_and_vectors(export):
    model = graph(export("single_stage", "int8"))
    constants = {init.name: init.dims for init in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    weights = [node for node in products if node.input[1] in constants]
    assert all(n.op_type == "Gemm" or constants[n.input[1]][1] == 3 for n in weights)
    assert all(n.op_type == "Conv" for n in products if n not in weights)
    assert len(weights) < len(products)


def test_int8_without_a_clip(engines):
    with pytest.raises(ValueError, match="calibration clip"):
        exported(engines["mapping"], "int8")


def test_ranges_cover_every_sample(engines, export, sample):
    model = graph(export("mapping", "fp32"))
    small = sample(engines["mapping"])
    large = {name: 3 * value for name, value in small.items()}
    one, both = (onnx_int8.ranges(model, s) for s in ([small], [small, large]))
    assert one.keys() == both.keys()
    assert both["picture"] == pytest.approx(3 * one["picture"], rel=1e-3)
    assert all(both[name] > one[name] for name in one)


def tiny(operator: str, weight: float = 1.0) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(n, FLOAT, (1, 4)) for n in "xy")
    w = helper.make_tensor("w", FLOAT, (4, 4), np.full((4, 4), weight, np.float32))
    nodes = [
        helper.make_node(operator, ["x"], ["t"], "first"),
        helper.make_node("MatMul", ["t", "w"], ["u"]),
        helper.make_node("MatMul", ["u", "w"], ["y"]),
    ]
    made = helper.make_graph(nodes, "g", [x], [y], [w])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])


def test_an_operator_without_a_rule_is_refused():
    with pytest.raises(ValueError, match=r"operator 'Cos' of node 'first': no rule says its type"):
        onnx_types.halved(simplified(tiny("Cos")), ())


def test_a_weight_that_float16_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=r"weight 'w': float16 cannot hold it"):
        onnx_types.halved(simplified(tiny("Relu", 1e5)), ())


def test_a_head_and_what_is_before_it():
    model = onnx_types.halved(simplified(tiny("Relu")), ())
    kinds = types(model)
    assert (kinds["x"], kinds["u"], kinds["y"]) == (FLOAT, HALF, FLOAT)
    onnx.checker.check_model(model, full_check=True)
