"""Halves in a trial: what is computed of them, whatever the processor."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

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


def test_what_is_between_two_products_is_rounded():
    """1 + 2 ** -11, the product, is no half: the nearest is 1, of which 1 is taken, and nothing is left."""
    x, one = np.ones((1, 2), np.float16), np.array([[1]], np.float16)
    sum_ = np.array([[1], [2**-11]], np.float16)
    less = np.array([[-1]], np.float16)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["between"]),
        helper.make_node("Gemm", ["between", "one", "less"], ["y"]),
    ]
    (y,) = session(model(nodes, x, [1, 1], w=sum_, one=one, less=less), 1).run(None, {"x": x})
    assert y.item() == 0


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
