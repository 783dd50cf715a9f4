"""The default pack on the CPU engine, and what is said where it cannot run."""

from __future__ import annotations

import importlib.util
import platform
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.altered_backend import altered
from x2c_edge import packs
from x2c_edge.backends import cpu_engine, engine_files
from x2c_edge.backends.cpu_engine import CpuEngine, default_threads, graphs_for
from x2c_edge.backends.open import engines_for, open_backend
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.convert.engine_set import SHIPPED_CLIP
from x2c_edge.convert.rehearsal import Parity, crops_of, pipeline_of, rehearse
from x2c_edge.errors import BadArgumentError, NotFoundError


@pytest.fixture
def pack(real_pack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> packs.Pack:
    """The default pack, and no engines of the user's."""
    monkeypatch.setenv("X2C_EDGE_ENGINES", str(tmp_path / "engines"))
    return packs.open_pack(real_pack)


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)


def test_auto_takes_it_for_the_default_pack(pack):
    backend = open_backend("auto", 1, pack=pack)
    assert backend.name == "cpu"
    assert backend.device.startswith("cpu, ONNX Runtime ")
    assert backend.device.endswith(", 1 thread")


def test_the_default_packs_graphs_pass_the_gate(pack):
    """Controls within 1e-3 of PyTorch in fp32, with any number of threads."""
    reference = pipeline_of(pack, TorchBackend(1))
    crops = crops_of(str(pack.files["clip"].file), reference)
    expected = rehearse(reference, crops)
    for threads in (1, 2):
        candidate = pipeline_of(pack, CpuEngine(graphs_for(pack), threads))
        parity = Parity.of(rehearse(candidate, crops), expected)
        parity.require("fp32", "cpu")
        again = rehearse(candidate, crops)
        np.testing.assert_array_equal(again, rehearse(candidate, crops))  # bit for bit


def test_the_gate_refuses_motion_that_is_always_the_same(pack):
    """On the clip that packs without one are judged on, in the widest tolerance."""

    def hold(net, out) -> None:
        if net.arch == "face_motion":
            for array in out:
                array.fill(0.1)

    graphs = graphs_for(pack)
    right = pipeline_of(pack, CpuEngine(graphs, 1))
    crops = crops_of(str(SHIPPED_CLIP), right)
    constant = rehearse(pipeline_of(pack, altered(CpuEngine, hold)(graphs, 1)), crops)
    with pytest.raises(NotFoundError, match="the int8 engines differ"):
        Parity.of(constant, rehearse(right, crops)).require("int8")


def test_bf16_is_pytorchs(pack):
    with pytest.raises(BadArgumentError, match="the CPU engine is float32; use fp32, or --backend torch"):
        open_backend("cpu", 1, bf16=True, pack=pack)


def said(pack: packs.Pack | None, name: str) -> str:
    with pytest.raises(NotFoundError) as error:
        engines_for(name, pack)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_pack_without_graphs_names_the_command(small_pack: Path, pack_folders: Path):
    small = packs.open_pack("small")
    assert "run: x2c-edge build-engines --pack small --target cpu; or use --backend torch" in said(
        small, "cpu"
    )
    assert engines_for("auto", small) is None


def test_without_pytorch_the_commands_that_help(small_pack: Path, pack_folders: Path, no_torch):
    small = packs.open_pack("small")
    for name in ("auto", "cpu"):
        assert said(small, name).endswith("or use --backend torch (pip install 'x2c-edge[torch]')")
    assert said(small, "torch").endswith("run: pip install 'x2c-edge[torch]'")


def test_without_onnx_runtime(pack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "ONNX Runtime is not installed; run: pip install onnxruntime" in said(pack, "cpu")
    assert engines_for("auto", pack) is None
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert "not made for this processor (riscv64); or use --backend torch" in said(pack, "cpu")


def test_an_onnx_runtime_that_cannot_be_loaded(pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libc is too old\\nfor it')\n")
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert "cannot be loaded (libc is too old for it); run: pip install --force" in said(pack, "cpu")


def copied(pack: packs.Pack, folder: Path) -> Path:
    folder.mkdir()
    for file in pack.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_graph_that_was_changed_or_is_missing(pack, tmp_path: Path):
    folder = copied(pack, tmp_path / "mine")
    file = folder / "face_motion.onnx"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(NotFoundError, match=r"motion\.onnx: sha256 .* is not the manifest's"):
        packs.open_pack(str(folder))
    file.unlink()
    with pytest.raises(NotFoundError, match=r"motion\.onnx: missing from pack 'default'; get the pack again"):
        packs.open_pack(str(folder))


def test_a_graph_that_the_runtime_refuses(pack):
    graphs = graphs_for(pack) | {"stitching": b"\x08\x01"}
    with pytest.raises(
        NotFoundError, match=r"ONNX Runtime .* refuses 'stitching': .*--backend torch"
    ) as error:
        pipeline_of(pack, CpuEngine(graphs, 1))
    assert "\n" not in str(error.value)


def test_a_graph_of_another_type(pack):
    """ONNX Runtime opens it, and says so when it runs."""
    helper, double = onnx.helper, onnx.TensorProto.DOUBLE
    ports = [helper.make_tensor_value_info(name, double, [1, size]) for name, size in (("x", 126), ("y", 65))]
    node = helper.make_node("Slice", ["x", "from", "to", "axis"], ["y"])
    numbers = [
        helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value])
        for name, value in (("from", 0), ("to", 65), ("axis", 1))
    ]
    graph = helper.make_graph([node], "double", ports[:1], ports[1:], numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    engine = CpuEngine({"stitching": model.SerializeToString()}, 1)
    with pytest.raises(NotFoundError, match=r"refuses 'stitching': .* data type.*--backend torch") as error:
        engine.bind(pack.nets["stitching"], np.zeros((1, 126), np.float32), np.zeros((1, 65), np.float32))
    assert "\n" not in str(error.value)


def test_an_engine_that_is_not_there(pack):
    graphs = {name: graph for name, graph in graphs_for(pack).items() if name != "generator"}
    with pytest.raises(NotFoundError, match="no CPU engine 'generator' came with it or was built"):
        pipeline_of(pack, CpuEngine(graphs, 1))


def test_buffers_of_another_size(pack):
    engine = CpuEngine(graphs_for(pack), 1)
    with pytest.raises(NotFoundError, match=r"engine 'stitching' takes \[\(1, 126\)\], not \[\(1, 12\)\]"):
        engine.bind(pack.nets["stitching"], np.zeros((1, 12), np.float32), np.zeros((1, 65), np.float32))


def test_a_set_of_another_runtime_is_refused(small_pack: Path, pack_folders: Path, tmp_path, monkeypatch):
    monkeypatch.setenv("X2C_EDGE_ENGINES", str(tmp_path / "engines"))
    small = packs.open_pack("small")
    key = engine_files.cpu_key_for(small, "1.0.0")
    engine_files.write_set(key, {"single_stage": b""}, small, {"frames": 1}, tmp_path / "engines")
    here = cpu_engine.onnxruntime().__version__
    for name in ("auto", "cpu"):
        assert (
            f"built with ONNX Runtime 1.0.0, here is ONNX Runtime {here}; "
            "run: x2c-edge build-engines --pack small --target cpu"
        ) in said(small, name)
    other = replace(engine_files.cpu_key_for(small, here), capability="sparc")
    engine_files.write_set(other, {"single_stage": b""}, small, {"frames": 1}, tmp_path / "engines")
    assert f"built for CPU (sparc), here is CPU ({platform.machine()})" in said(small, "cpu")


def test_torch_is_not_loaded_to_choose(pack, monkeypatch: pytest.MonkeyPatch):
    assert importlib.util.find_spec("torch") is not None
    monkeypatch.delitem(sys.modules, "torch")
    engines_for("auto", pack)
    assert "torch" not in sys.modules


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (9, 4), (128, 64), (192, 64)])
def test_threads_are_half_of_the_cores_and_no_more_than_the_kernels_take(cores, threads, monkeypatch):
    monkeypatch.setattr("x2c_edge.processor.cores", lambda: cores)
    assert default_threads() == threads
