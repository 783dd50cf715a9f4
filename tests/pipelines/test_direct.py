"""The direct gear at small sizes: the motion path of two-stage, and the predictor on what that leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests import published_files as files
from x2c_edge import packs
from x2c_edge.backends.cpu_engine import CpuEngine
from x2c_edge.backends.open import open_backend
from x2c_edge.convert.cpu_graphs import graphs_of
from x2c_edge.convert.pack_graphs import add_graphs
from x2c_edge.errors import NotFoundError
from x2c_edge.face.crop_geometry import affine_from_box
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.nets import arch
from x2c_edge.pipelines.direct import DirectPipeline
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.two_stage import TwoStagePipeline


@pytest.fixture(scope="module")
def pack(_packs_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("direct")
    made = files.two_stage_pack(folder, files.random_states(), _packs_folder / "small")
    return files.with_direct(packs.open_pack(str(made)))


@pytest.fixture
def crops(portrait) -> list[FaceCrop]:
    pictures = (portrait, portrait[:, ::-1].copy())
    affine = affine_from_box(70, 40, 100, 120, 32, 1.4)
    return [FaceCrop(Frame(i, i * 10**7, image), affine, 32, 1.0) for i, image in enumerate(pictures)]


def reference_of(pipeline, crop) -> Reference:
    pipeline.refer_to(None)
    m = pipeline.measure(crop)
    assert m.motion is not None
    return Reference(m.values, m.rotation, m.motion)


def test_it_moves_as_two_stage_moves(pack, crops):
    backend = open_backend("torch", 1)
    direct, whole = DirectPipeline(pack, backend), TwoStagePipeline(pack, backend)
    reference = reference_of(whole, crops[0])
    for pipeline in (direct, whole):
        pipeline.refer_to(reference)
    mine, theirs = direct.measure(crops[1]), whole.measure(crops[1])
    np.testing.assert_array_equal(direct.kp_driving, whole.kp_driving)
    np.testing.assert_array_equal(direct.front, whole.front)
    np.testing.assert_array_equal(mine.landmarks, theirs.landmarks)
    assert mine.relative
    assert mine.robot_face is None


def test_controls_are_the_predictor_s_on_the_warped_features(pack, crops):
    """Against the published warping in plain PyTorch, from the keypoints on."""
    direct = DirectPipeline(pack, open_backend("torch", 1))
    direct.refer_to(reference_of(direct, crops[0]))
    values = direct.measure(crops[1]).values
    spec, source = pack.nets["direct"], load_file(pack.files["source"].file)
    net = arch.opened(spec.arch, spec.config, load_file(spec.file))
    driving, still = (torch.from_numpy(np.array(x))[None] for x in (direct.kp_driving, direct.kp_source))
    hidden = net.hourglass(net.front_end(source["compressed"], driving, still))
    moved = net.deformation(net.mask_logits(hidden), driving, still)
    from x2c_edge.nets.warping import sample_volume

    warped = sample_volume(source["feature"], moved).flatten(1, 2)
    expected = net.predict(warped, net.occlusion_map(hidden), moved, driving)
    np.testing.assert_allclose(values, expected[0].double().numpy(), atol=2e-5)


def test_heads_of_the_caller_s_own_give_what_m_s_gave(pack, crops):
    direct = DirectPipeline(pack, open_backend("torch", 1))
    direct.refer_to(reference_of(direct, crops[0]))
    wanted = direct.measure(crops[1]).values.copy()
    heads = np.array(direct.heads[0])
    direct.measure(crops[0])
    np.testing.assert_array_equal(direct.driven(heads), wanted)


def test_the_cpu_engine_agrees(pack, crops):
    results = []
    for backend in (open_backend("torch", 1), CpuEngine(graphs_of(pack), 1)):
        direct = DirectPipeline(pack, backend)
        direct.refer_to(reference_of(direct, crops[0]))
        results.append(direct.measure(crops[1]).values)
    np.testing.assert_allclose(*results, atol=1e-4)


def test_the_gate_covers_it(pack, portrait_clip_pack, monkeypatch):
    """Graphs whose direct gear says something else are refused, though two-stage is right."""
    made = add_graphs(portrait_clip_pack)
    assert made.frames > 0
    graphs = graphs_of(portrait_clip_pack)
    assert {"direct", "direct_motion", "dense_motion"} <= set(graphs)
    spoilt = graphs | {"direct": _doubled(graphs["direct"])}
    monkeypatch.setattr("x2c_edge.convert.pack_graphs.graphs_of", lambda _pack: spoilt)
    with pytest.raises(NotFoundError, match="differ from PyTorch"):
        add_graphs(portrait_clip_pack)


@pytest.fixture
def portrait_clip_pack(pack, face_clip, tmp_path) -> packs.Pack:
    """The pack with a clip to be judged on, in a folder of the test's own."""
    import shutil

    folder = tmp_path / "judged"
    shutil.copytree(pack.path, folder)
    own = folder / face_clip.name
    shutil.copyfile(face_clip, own)
    here = packs.read_manifest(folder)
    clip = packs.PackFile(own, packs.sha256_of(own))
    packs.write_manifest(replace(here, files=here.files | {"clip": clip}))
    return packs.open_pack(str(folder))


def _doubled(graph: bytes) -> bytes:
    """The same graph with its output twice as large."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(graph)
    out = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["halfway" if name == out else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(2.0).reshape(()), "two"))
    model.graph.node.append(helper.make_node("Mul", ["halfway", "two"], [out]))
    return bytes(model.SerializeToString())


def test_a_pack_without_it_is_refused(pack):
    nets = {name: net for name, net in pack.nets.items() if name != "direct"}
    with pytest.raises(NotFoundError, match="has no direct: not a direct pack"):
        DirectPipeline(replace(pack, nets=nets), open_backend("torch", 1))
