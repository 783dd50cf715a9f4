"""Halves in a trial: what is computed of them, whatever the processor."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from x2c_edge.convert.onnx_graph import tensor_types
from x2c_edge.convert.onnx_types import worked_in_floats
from x2c_edge.convert.trial import session

INT8 = onnx.TensorProto.INT8
HALF = onnx.TensorProto.FLOAT16


def model(
    nodes: list[onnx.NodeProto], x: np.ndarray, shape: list[int], kind: int = HALF, **weights: np.ndarray
) -> bytes:
    """A file with the input x, in halves, and the output y of that kind."""
    ports = [helper.make_tensor_value_info(*port) for port in (("x", HALF, x.shape), ("y", kind, shape))]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "halves", ports[:1], ports[1:], constants)
    opsets = [helper.make_opsetid("", 19)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose", "Gemm", "MatMul"])
def test_a_product_is_summed_in_floats(operator: str):
    """4,101 ones: halves do not count beyond 2,048."""
    place = [1, 1] if operator.startswith("Conv") else []
    swap = operator == "Conv"
    x = np.ones([1, 4101, *place], np.float16)
    weight = np.ones([2, 4101, *place] if swap else [4101, 2, *place], np.float16)
    file = model([helper.make_node(operator, ["x", "w"], ["y"])], x, [1, 2, *place], w=weight)
    (y,) = session(file, 1).run(None, {"x": x})
    assert y.dtype == np.float16
    assert y.ravel().tolist() == [4100, 4100]  # 4,101 to the nearest half


@pytest.mark.parametrize("between", [None, "Relu", "LeakyRelu", "Neg", "Sigmoid", "Add", "Mul", "Transpose"])
def test_what_enters_a_product_is_rounded(between: str | None):
    """Two products of one number each, which sum nothing: what is left is rounding, so it is the same bit by
    bit. ONNX Runtime on x86-64 takes Casts out around what it has no halves for."""
    rng = np.random.default_rng(0)
    x, first, second = (rng.uniform(0.5, 2, 257).astype(np.float16) for _ in range(3))
    diagonal = {"first": np.diag(first), "second": np.diag(second)}
    nodes = [helper.make_node("MatMul", ["x", "first"], ["a"])]
    if between is not None:
        nodes.append(helper.make_node(between, ["a", "a"] if between in ("Add", "Mul") else ["a"], ["b"]))
    last = "b" if between is not None else "a"
    if between == "Transpose":
        nodes.append(helper.make_node("Transpose", ["b"], ["c"]))
        last = "c"
    nodes.append(helper.make_node("MatMul", [last, "second"], ["y"]))
    (y,) = session(model(nodes, x[None], [1, 257], **diagonal), 1).run(None, {"x": x[None]})

    def half(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float16).astype(np.float32)

    a = half(x.astype(np.float32) * first)
    b = {
        "Neg": -a, "Sigmoid": half(1 / (1 + np.exp(-a))), "Add": half(a + a), "Mul": half(a * a)
    }.get(between or "", a)  # fmt: skip
    # A sigmoid is worked out by a polynomial: it may be rounded to the next half.
    np.testing.assert_allclose(y[0], half(b * second), rtol=2e-3 if between == "Sigmoid" else 0)


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose", "Gemm", "MatMul"])
def test_no_product_takes_or_gives_halves(operator: str):
    x, weight = np.ones([1, 1, 1, 1], np.float16), np.ones([1, 1, 1, 1], np.float16)
    if operator in ("Gemm", "MatMul"):
        x, weight = x[0, 0], weight[0, 0]
    file = model([helper.make_node(operator, ["x", "w"], ["y"])], x, list(x.shape), w=weight)
    graph = worked_in_floats(onnx.load_from_string(file))
    onnx.checker.check_model(graph, full_check=True)
    kinds = {name: kind for name, (kind, _) in tensor_types(graph).items()}
    (product,) = (node for node in graph.graph.node if node.op_type == operator)
    assert {kinds[name] for name in (*product.input, *product.output)} == {onnx.TensorProto.FLOAT}
    assert kinds["y"] == HALF


def test_int8_is_the_nearest():
    x = np.random.default_rng(0).normal(size=(1, 4099)).astype(np.float16)
    scale = np.float16(0.03)
    file = model(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
        x, list(x.shape), INT8, scale=np.array(scale), zero=np.array(0, np.int8),
    )  # fmt: skip
    (y,) = session(file, 1).run(None, {"x": x})
    levels = x.astype(np.float32) / np.float32(scale)
    assert np.array_equal(y, np.clip(np.rint(levels), -128, 127))
