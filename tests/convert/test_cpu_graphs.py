"""build-engines --target cpu: graphs of small nets, run by the real engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.altered_backend import altered
from x2c_edge import packs
from x2c_edge.backends import engine_files
from x2c_edge.backends.cpu_engine import CpuEngine, graphs_for, onnxruntime
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.controls import NAMES
from x2c_edge.convert.cpu_graphs import _padded_within, graphs_of
from x2c_edge.convert.engine_set import Order, build_set
from x2c_edge.convert.trial import session
from x2c_edge.errors import NotFoundError


def built(pack: packs.Pack, folder: Path, clip: Path, engine=CpuEngine) -> engine_files.EngineSet:
    key = engine_files.cpu_key_for(pack, onnxruntime().__version__)
    order = Order(pack, "fp32", folder, str(clip))
    return build_set(order, key, None, TorchBackend(1), lambda g: engine(g, 1), lambda what, share: None)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("X2C_EDGE_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


def test_a_two_stage_pack(two_stage_pack, folder: Path, face_clip: Path):
    engines = built(two_stage_pack, folder, face_clip)
    assert max(c["largest"] for c in engines.parity["controls"].values()) < 1e-4
    assert engines.key.target == "cpu"
    assert graphs_for(two_stage_pack) == {name: f.read_bytes() for name, f in engines.files.items()}
    for graph in graphs_for(two_stage_pack).values():
        model = onnx.load_from_string(graph)
        inside = sum(len(t.raw_data) for t in model.graph.initializer)
        assert inside < 20_000  # constants; the weights are in the pack


def test_graphs_do_not_depend_on_the_weights(small_pack: Path):
    from safetensors.numpy import load_file, save_file

    pack = packs.read_manifest(small_pack)
    before = graphs_of(pack)
    file = pack.nets["single_stage"].file
    save_file({name: np.asarray(a + 1, a.dtype) for name, a in load_file(file).items()}, file)
    assert graphs_of(pack) == before


@pytest.mark.parametrize(("mode", "left"), [("constant", ["Conv"]), ("reflect", ["Pad", "Conv"])])
def test_only_padding_with_zeros_is_the_convolutions(mode: str, left: list[str]):
    floats, shape = onnx.TensorProto.FLOAT, [1, 1, 4, 4]
    nodes = [
        onnx.helper.make_node("Pad", ["x", "around"], ["y"], mode=mode),
        onnx.helper.make_node("Conv", ["y", "ones"], ["z"], pads=[0, 0, 0, 0]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "around"),
        onnx.numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "ones"),
    ]
    ports = [onnx.helper.make_tensor_value_info(name, floats, shape) for name in "xz"]
    graph = onnx.helper.make_graph(nodes, mode, ports[:1], ports[1:], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    picture = {"x": np.arange(16, dtype=np.float32).reshape(shape)}
    expected = session(model.SerializeToString(), 1).run(None, picture)
    within = _padded_within(model)
    assert [node.op_type for node in within.graph.node] == left
    np.testing.assert_array_equal(session(within.SerializeToString(), 1).run(None, picture), expected)


def test_an_engine_that_is_wrong_is_not_installed(two_stage_pack, folder: Path, face_clip: Path):
    def shift(net, out) -> None:
        if net.arch == "mapping":
            out[0, NAMES.index("Jaw Pitch")] += np.float32(0.5)

    with pytest.raises(NotFoundError, match=r"the fp32 engines differ .* in 'Jaw Pitch'.*--backend torch"):
        built(two_stage_pack, folder, face_clip, altered(CpuEngine, shift))
    assert not folder.exists()
