"""Engines built for real, by TensorRT-RTX, which needs no GPU for it (and could not run them here)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from x2c_edge.convert.engine_build import EngineBuilder, PhaseTree, check_ports
from x2c_edge.convert.onnx_export import port_dtypes
from x2c_edge.errors import NotFoundError
from x2c_edge.nets.engine_nets import Port

trt = pytest.importorskip("tensorrt_rtx")
# It keeps no timings, and says so; TensorRT does.
pytestmark = pytest.mark.filterwarnings("ignore:.*iming cache operations are no-ops:DeprecationWarning")
NETS = ("single_stage", "motion", "dense_motion", "warp_tail", "generator", "mapping", "stitching")


@pytest.fixture(scope="module")
def builder() -> EngineBuilder:
    return EngineBuilder(trt, 1 << 30)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", NETS)
def test_an_engine_comes_out(engines, export, builder, name: str, precision: str):
    net = engines[name]
    shares: list[float] = []
    plan = builder.build(net, export(name, precision), precision, shares.append)
    assert len(plan) > 1000
    assert shares[-1] == 1.0
    assert len(shares) > 1
    assert shares == sorted(shares)


def test_what_is_no_model_is_refused_with_the_reason(engines, builder):
    with pytest.raises(NotFoundError, match=r"engine 'mapping': TensorRT 1\.7\.1\S* refuses it: \S") as error:
        builder.build(engines["mapping"], b"not a model", "fp16")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: replace(net, inputs=(Port("image", net.inputs[0].shape, True),)),
        lambda net: replace(net, inputs=(Port("picture", (1, 3, 32, 32), True),)),
        lambda net: replace(net, outputs=(Port("controls", net.outputs[0].shape, True),)),
    ],
    ids=["name", "shape", "type"],
)
def test_a_tensor_that_the_runtime_does_not_expect(engines, export, builder, change):
    net = engines["mapping"]
    with pytest.raises(NotFoundError, match=r"engine 'mapping': tensor '\w+' is .* for TensorRT"):
        builder.build(change(net), export("mapping", "fp16"), "fp16")


def test_ports_as_they_should_be(engines):
    net = engines["dense_motion"]
    dtypes = port_dtypes(net, "fp16")
    assert set(dtypes.values()) == {np.dtype(np.float16)}
    tensors = {p.name: (p in net.inputs, p.shape, dtypes[p.name]) for p in (*net.inputs, *net.outputs)}
    check_ports(net, "fp16", tensors)
    with pytest.raises(NotFoundError, match="'front'"):
        check_ports(net, "fp16", {k: v for k, v in tensors.items() if k != "front"})


def test_phases_add_up():
    tree = PhaseTree()
    tree.start("build", None, 2)
    tree.start("first", "build", 4)
    assert [tree.step("first", i) for i in range(4)] == [0.125, 0.25, 0.375, 0.5]
    tree.finish("first")
    assert tree.step("build", 0) == 0.5
    tree.start("second", "build", 1)
    assert tree.step("second", 0) == 1.0
    tree.finish("second")
    assert tree.step("build", 1) == 1.0


def test_phases_never_go_back():
    tree = PhaseTree()
    tree.start("one", None, 1)
    assert tree.step("one", 0) == 1.0
    tree.finish("one")
    tree.start("another", None, 10)
    assert tree.step("another", 0) == 1.0
