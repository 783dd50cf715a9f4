from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors.numpy import load_file, save_file

from x2c_edge import packs
from x2c_edge.backends.cpu_engine import GRAPH
from x2c_edge.backends.graph_weights import wanted, weights
from x2c_edge.errors import NotFoundError


def graph_of(stubs: dict[str, tuple[int, ...]]) -> bytes:
    inside = helper.make_tensor("inside", TensorProto.FLOAT, [2], [1.0, 2.0])
    tensors = [inside]
    for name, shape in stubs.items():
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights")
        tensors.append(tensor)
    graph = helper.make_graph([helper.make_node("Identity", ["inside"], ["y"])], "g", [], [], tensors)
    return helper.make_model(graph).SerializeToString()


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=200),
        st.lists(st.integers(0, 1 << 40), max_size=6).map(tuple),
        max_size=5,
    )
)
def test_every_stub_is_found_and_what_is_inside_is_not(stubs: dict[str, tuple[int, ...]]):
    assert wanted(graph_of(stubs)) == stubs


def test_the_default_packs_graphs_want_what_onnx_reads_in_them(real_pack: str):
    pack = packs.open_pack(real_pack)
    graphs = [entry.file for key, entry in pack.files.items() if key.startswith(GRAPH)]
    assert graphs
    for file in graphs:
        model = onnx.load(file, load_external_data=False)
        stubs = {t.name: tuple(t.dims) for t in model.graph.initializer if t.data_location}
        assert wanted(file.read_bytes()) == stubs


@given(st.binary(max_size=60))
def test_bytes_that_are_no_graph_give_an_error_or_nothing(data: bytes):
    with contextlib.suppress(ValueError):
        assert isinstance(wanted(data), dict)


@pytest.fixture
def net(small_pack: Path) -> packs.NetSpec:
    return packs.read_manifest(small_pack).nets["single_stage"]


def test_weights_are_those_of_the_pack_in_float32(net: packs.NetSpec):
    there = load_file(net.file)
    given = weights(net, graph_of({"face.bias": there["face.bias"].shape}))
    assert given.keys() == {"face.bias"}
    assert given["face.bias"].dtype == np.float32
    np.testing.assert_array_equal(given["face.bias"], there["face.bias"].astype(np.float32))


@pytest.mark.parametrize("stub", [{"face.bias": (3,)}, {"another": (1,)}])
def test_weights_of_another_net(net: packs.NetSpec, stub: dict[str, tuple[int, ...]]):
    with pytest.raises(NotFoundError, match="not the weights of its graph") as error:
        weights(net, graph_of(stub))
    assert "\n" not in str(error.value)


def test_weights_that_are_not_finite(net: packs.NetSpec, tmp_path: Path):
    file = tmp_path / "w.safetensors"
    save_file({"a": np.array([1.0, np.nan], np.float16)}, file)
    with pytest.raises(NotFoundError, match="not finite"):
        weights(replace(net, file=file), graph_of({"a": (2,)}))
