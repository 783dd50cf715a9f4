"""The published sizes, exported, run and built: minutes and gigabytes, so only with -m slow."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests import published_files as files
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.convert import engine_set
from x2c_edge.convert.checkpoints import import_pack
from x2c_edge.convert.engine_build import EngineBuilder
from x2c_edge.convert.mixed_int8 import mixed
from x2c_edge.convert.onnx_export import exported
from x2c_edge.convert.rehearsal import TOLERANCES, Listening, Parity, crops_of, pipeline_of, rehearse
from x2c_edge.convert.trial import Trial
from x2c_edge.nets import arch, engine_nets
from x2c_edge.nets.engine_nets import EngineNet
from x2c_edge.nets.generator import Generator
from x2c_edge.nets.mapping import PUBLISHED_TRUNKS, MappingConfig, MappingNetwork
from x2c_edge.nets.motion_extractor import MotionExtractor
from x2c_edge.nets.stitching import KeypointMlp
from x2c_edge.nets.warping import WarpingNetwork

trt = pytest.importorskip("tensorrt_rtx")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:.*iming cache operations are no-ops:DeprecationWarning"),
]
GOLDEN = {
    "appearance": "F", "motion": "M", "warping": "W", "generator": "G", "stitching": "stitching",
    "mapping": "mapping_resnet18",
}  # fmt: skip
VOLUME = (1, 32, 16, 64, 64)
# How far from PyTorch, over the largest value. Seen with these random weights: fp32 4e-6; fp16 1e-3; int8
# 0.05 (generator), 0.02 (vision transformer), 0.01 and less (the others).
LIMITS = {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.1}

MAKERS = {
    "motion": (MotionExtractor, 256),
    "dense_motion": (WarpingNetwork, 0),
    "warp_tail": (WarpingNetwork, 0),
    "generator": (Generator, 0),
    "stitching": (KeypointMlp, 0),
    **{
        f"mapping-{name}": (lambda trunk=trunk: MappingNetwork(MappingConfig(trunk)), 224)
        for name, trunk in PUBLISHED_TRUNKS.items()
    },
}


def engine(name: str) -> EngineNet:
    maker, size = MAKERS[name]
    torch.manual_seed(11)
    net = maker().eval().requires_grad_(False)
    found = engine_nets.engine_nets(arch.folded(net), size, VOLUME)
    return next(e for e in found if e.name == name.split("-")[0])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", MAKERS)
def test_it_agrees_and_it_builds(run_torch, run_onnx, record_property, name: str, precision: str):
    net = engine(name)
    rng = np.random.default_rng(1)
    inputs = {port.name: rng.random(port.shape, dtype=np.float32) for port in net.inputs}
    data = exported(net, precision, [inputs])
    out, expected = run_onnx(data, inputs), run_torch(net, inputs)
    for port in net.outputs:
        error = np.abs(out[port.name].astype(np.float32) - expected[port.name]).max()
        relative = float(error / np.abs(expected[port.name]).max())
        record_property(f"{port.name}: error over the largest value", relative)
        assert relative <= LIMITS[precision]
    assert EngineBuilder(trt, 1 << 31).build(net, data, precision)


@pytest.fixture(scope="module")
def golden_files(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published files with the golden vectors' weights, and the picture that goes with them."""
    spec = importlib.util.spec_from_file_location("golden_weights", shared / "golden" / "weights.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    keys = json.loads((shared / "specs" / "state_dict_keys.json").read_text())
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        for name, module in files.foreign_library().items():
            patch.setitem(sys.modules, name, module)
        for kind, name in GOLDEN.items():
            state = {k: torch.from_numpy(v) for k, v in recipe.state_dict(name, keys[name]).items()}
            files.write(folder, {kind: state})
    with np.load(shared / "golden" / "inputs.npz") as data:
        cv2.imwrite(str(folder / "robot.png"), np.ascontiguousarray(data["source"][..., ::-1]))
    return folder


@pytest.fixture
def golden_chain(golden_files, small_pack, face_clip, tmp_path):
    """The imported chain, what its nets were given, the crops, and the controls that PyTorch gives."""
    pack = import_pack(
        [golden_files], golden_files / "robot.png", "golden", tmp_path, tracker=str(small_pack)
    )
    listening = Listening(TorchBackend(1))
    pipeline = pipeline_of(pack, listening)
    crops = crops_of(str(face_clip), pipeline)[:6:2]
    for heard in listening.samples.values():
        heard.clear()
    expected = rehearse(pipeline, crops)
    return pack, listening, crops, expected


@pytest.mark.timeout(7200)  # a dozen runs of the chain, and one of each net for each of its products
def test_a_mixture_of_int8_and_float16_passes_the_gate(golden_chain, record_property):
    """Where int8 alone would not: 0.16, below."""
    pack, listening, crops, expected = golden_chain
    nets = engine_set.nets_of(pack)

    def judge(files: Mapping[str, bytes]) -> Parity:
        return Parity.of(rehearse(pipeline_of(pack, Trial(files, TorchBackend(1))), crops), expected)

    said = []
    found = mixed(
        nets, engine_set.samples_of(nets, listening), judge, lambda what, share: said.append(what), threads=1
    )
    record_property("largest control error", found.error)
    record_property("share of the multiplications in int8", found.int8_share)
    record_property("rounds", said.count("try a mixture"))
    record_property("spared", {name: len(names) for name, names in found.spared.items()})
    assert found.error <= TOLERANCES["int8"]
    assert 0.5 < found.int8_share < 1


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_whole_chain(golden_chain, onnx_backend, record_property, precision: str):
    """Six nets and the kernels between them, in control units."""
    pack, listening, crops, expected = golden_chain
    nets = engine_set.nets_of(pack)
    samples = engine_set.samples_of(nets, listening)
    data = {net.name: exported(net, precision, samples[net.name]) for net in nets}
    parity = Parity.of(rehearse(pipeline_of(pack, onnx_backend(data)), crops), expected)
    record_property("largest control error", parity.worst[1])
    record_property("mean control error", float(parity.mean.mean()))
    record_property("range of the controls", float(np.ptp(expected, axis=0).max()))
    # Seen: 2e-5, 0.03 (mean 0.004), 0.16 (mean 0.04): random weights exaggerate, and the gate would not let
    # this int8 set through.
    assert parity.worst[1] <= {"fp32": 1e-4, "fp16": 0.05, "int8": 0.3}[precision]
