"""Which products become int8, on small nets; the golden chain is in test_engine_published.py."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from x2c_edge.convert import onnx_int8
from x2c_edge.convert.int8_errors import SWITCHES, Product, errors_of, switched, work_of
from x2c_edge.convert.mixed_int8 import _fewest, _Part, mixed
from x2c_edge.convert.onnx_export import exported, graph_of, half_of, int8_file
from x2c_edge.convert.rehearsal import Parity
from x2c_edge.convert.trial import session

NETS = ("generator", "mapping", "dense_motion")


def names_of(net) -> list[str]:
    return [node.output[0] for node in onnx_int8.products(half_of(net, graph_of(net, "int8")))]


@pytest.fixture
def spans(engines, sample):
    return lambda name: onnx_int8.ranges(graph_of(engines[name], "int8"), [sample(engines[name])])


@pytest.mark.parametrize("name", NETS)
def test_a_product_s_error_is_that_of_a_file_with_it_alone(engines, sample, spans, run_onnx, name: str):
    """The graph with switches against the int8 file, whose other arithmetic is half."""
    net, inputs = engines[name], sample(engines[name])
    names = names_of(net)
    found = errors_of(graph_of(net, "int8"), names, spans(name), [inputs], 1)
    assert [p.name for p in found] == names
    half = run_onnx(int8_file(net, graph_of(net, "int8"), spans(name), names), inputs)
    for product in sorted(found, key=lambda p: p.error)[-2:]:
        others = [n for n in names if n != product.name]
        alone = run_onnx(int8_file(net, graph_of(net, "int8"), spans(name), others), inputs)
        squares = [
            np.square(alone[port].astype(float) - half[port]).mean()
            / np.square(half[port].astype(float)).mean()
            for port in half
        ]
        assert np.sqrt(sum(squares)) == pytest.approx(product.error, rel=0.25)


@pytest.mark.parametrize("name", NETS)
def test_switches_that_are_off_change_nothing(engines, sample, spans, run_onnx, name: str):
    net, inputs = engines[name], sample(engines[name])
    names = names_of(net)
    opened = session(switched(graph_of(net, "int8"), names, spans(name)).SerializeToString(), 1)
    out = opened.run(None, inputs | {SWITCHES: np.zeros(len(names), np.float32)})
    exact = run_onnx(exported(net, "fp32"), inputs)
    for value, port in zip(out, net.outputs, strict=True):
        np.testing.assert_allclose(value, exact[port.name], atol=1e-5 * np.abs(exact[port.name]).max())


def test_work_is_counted(engines):
    """Of a convolution: what one place of the result takes, as many times as there are places."""
    net = engines["mapping"]
    graph = graph_of(net, "int8")
    node = onnx_int8.products(half_of(net, graph_of(net, "int8")))[0]
    types = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in
             onnx.shape_inference.infer_shapes(graph).graph.value_info}  # fmt: skip
    weight = next(i.dims for i in graph.graph.initializer if i.name == node.input[1].removesuffix("/half"))
    _, channels, height, width = types[node.output[0]]
    assert work_of(graph, [node.output[0]]) == {
        node.output[0]: channels * height * width * weight[1] * weight[2] * weight[3]
    }


def test_spared_products_stay_in_half(engines, spans):
    net = engines["generator"]
    names = names_of(net)
    rounded = {
        count: sum(
            node.op_type == "QuantizeLinear"
            for node in onnx.load_from_string(
                int8_file(net, graph_of(net, "int8"), spans("generator"), names[:count])
            ).graph.node
        )
        for count in (0, 2, len(names))
    }
    assert rounded[0] > rounded[2] > rounded[len(names)] == 0


def part(error: float) -> _Part:
    return _Part("net", Product("name", 1, error), error)


def test_the_fewest_that_are_enough():
    parts = [part(0.4), part(0.3), part(0.0)]
    assert _fewest(parts, 0.0, 0.5) == 0
    assert _fewest(parts, 0.0, 0.49) == 1
    assert _fewest(parts, 0.1, 0.31) == 2  # float16's own error counts
    assert _fewest(parts, 0.2, 0.1) == len(parts)
    assert _fewest(parts, 0.0, float("nan")) == len(parts)


@pytest.fixture
def chain(engines, sample, run_onnx):
    """(nets, their samples, a judge): a net's error over what is right is that of a control of its own."""
    nets = [engines[name] for name in NETS]
    inputs = {net.name: sample(net) for net in nets}
    exact = {net.name: run_onnx(exported(net, "fp32"), inputs[net.name]) for net in nets}

    def judge(files: Mapping[str, bytes]) -> Parity:
        errors = np.zeros((1, 30))
        for i, (name, file) in enumerate(files.items()):
            for port, value in run_onnx(file, inputs[name]).items():
                right = exact[name][port]
                errors[0, i] += np.sqrt(np.square(value - right).mean() / np.square(right).mean())
        return Parity.of(errors, np.zeros((1, 30)))

    return nets, {name: [given] for name, given in inputs.items()}, judge


def test_a_mixture(chain):
    nets, samples, judge = chain
    said: list[str] = []

    def report(what: str, share: float) -> None:
        assert 0 <= share <= 1
        said.append(what)

    whole = mixed(nets, samples, judge, report, allowed=1.0)
    assert whole.int8_share == 1
    assert not any(whole.spared.values())
    assert "try a mixture" not in said
    assert whole.error == judge(whole.files).worst[1]
    half = judge({net.name: exported(net, "fp16") for net in nets}).worst[1]
    allowed = (whole.error + half) / 2
    some = mixed(nets, samples, judge, report, allowed=allowed)
    assert half < some.error <= allowed < whole.error
    assert 0 < some.int8_share < 1
    assert some.error == judge(some.files).worst[1]


def test_where_float16_is_not_enough_all_is_float16(chain):
    nets, samples, judge = chain
    found = mixed(nets, samples, judge, lambda what, share: None, allowed=1e-9)
    assert found.int8_share == 0
    assert found.error > 1e-9
