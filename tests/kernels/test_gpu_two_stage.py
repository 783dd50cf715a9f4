"""tools/gpu/gpu_two_stage.py: the pipeline that is timed on a GPU gives what plain PyTorch gives.

On a machine with a GPU that is the GPU's pipeline, eager and as a graph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.altered_backend import altered  # noqa: E402
from tools.gpu import cuda_parts, plain_safetensors  # noqa: E402
from tools.gpu import gpu_two_stage as two  # noqa: E402
from x2c_edge.errors import NotFoundError  # noqa: E402
from x2c_edge.nets.appearance import AppearanceConfig  # noqa: E402
from x2c_edge.nets.generator import GeneratorConfig  # noqa: E402
from x2c_edge.nets.mapping import MappingConfig  # noqa: E402
from x2c_edge.nets.motion_extractor import MotionConfig  # noqa: E402
from x2c_edge.nets.single_stage import SingleStageConfig  # noqa: E402
from x2c_edge.nets.trunks import ResNetConfig  # noqa: E402
from x2c_edge.nets.warping import WarpingConfig  # noqa: E402
from x2c_edge.packs import Pack  # noqa: E402

SMALL = two.Sizes(
    appearance=AppearanceConfig(8, 16, 2, 8, 4, 1),
    motion=MotionConfig((1, 1), (16, 32), 5, 66),
    warping=WarpingConfig(5, 8, 4, 3, 16, 64, 2, 32),
    generator=GeneratorConfig(32, 32, 1, (32, 16), 16, 2),
    mapping=MappingConfig(ResNetConfig(16, (16, 32), (1, 1)), (32,)),
    tracker=SingleStageConfig(input_size=64, stem=8, widths=(16, 16), blocks=(0, 0), hidden=32),
    picture=64,
    mapped=32,
)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return two.random_pack(tmp_path_factory.mktemp("random"), SMALL)


@pytest.mark.parametrize("per_step", [False, True])
def test_both_ways_agree(pack: Pack, per_step: bool):
    faces = two.crops(3, SMALL.tracker.input_size, 360, 640)
    pipeline = two.opened(two.torch_backend(half=False, per_step=per_step), pack, faces[0])
    plain = two.Plain(pack, SMALL, torch.float32)
    with torch.inference_mode():
        plain.refer_to(two.face_of(pipeline))
        seen = []
        for face in faces:
            assert pipeline.measure(face).relative
            expected = plain(two.face_of(pipeline))[0].cpu().numpy()
            np.testing.assert_allclose(two.raw_of(pipeline), expected, atol=2e-5, rtol=0)
            seen.append(expected)
    assert np.abs(seen[1] - seen[2]).max() > 1e-3  # the face matters


def raising(error: Exception) -> two.Backend:
    raise error


@pytest.fixture
def small_part(monkeypatch: pytest.MonkeyPatch):
    """``small_part(engines)``: the part of gpu_check with small nets, these as TensorRT's, no compiler."""
    plain = two.Plain
    monkeypatch.setattr(two, "Sizes", lambda: SMALL)
    monkeypatch.setattr(two, "Plain", lambda *given: plain(*given[:2], torch.float32))  # CPUs have no half
    monkeypatch.setattr(cuda_parts, "ROUNDS", 1)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: raising(RuntimeError("no compiler")))

    def run(engines):
        monkeypatch.setattr(two, "tensorrt_backend", lambda *_: engines())
        return cuda_parts.two_stage()

    return run


def test_what_is_not_installed_is_named_and_what_is_wrong_is_wrong(small_part):
    for missing in (ImportError("No module named 'tensorrt'"), NotFoundError("pycuda is not installed")):
        said, rows = small_part(lambda why=missing: raising(why))
        assert f"TensorRT: {missing}" in said
        assert {"plain, eager", "ours, eager", "ours, graph"} <= {row["way"] for row in rows}
    with pytest.raises(RuntimeError, match="illegal memory access"):
        small_part(lambda: raising(RuntimeError("an illegal memory access was encountered")))


@pytest.mark.skipif(two.DEVICE == "cuda", reason="what it alters is the host's memory")
def test_a_backend_that_gives_no_numbers_is_wrong(small_part):
    def lose(net, out) -> None:
        if net.arch == "mapping":
            out.fill(np.nan)

    no_numbers = altered(type(two.torch_backend(half=True)), lose)
    with pytest.raises(AssertionError, match="ours, TensorRT differs from plain float32 by nan"):
        small_part(lambda: no_numbers(1))


def test_tensors_without_the_package(tmp_path: Path):
    """tools/gpu/plain_safetensors.py against the real one, both ways."""
    real = pytest.importorskip("safetensors.numpy")
    arrays = {
        "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.ones((3,), np.float16),
        "count": np.array(5, np.int64),
    }
    plain_safetensors.save_arrays(arrays, tmp_path / "ours")
    real.save_file(arrays, tmp_path / "real")
    for loaded in (real.load_file(tmp_path / "ours"), plain_safetensors.load_arrays(tmp_path / "real")):
        assert loaded.keys() == arrays.keys()
        for name, array in arrays.items():
            assert loaded[name].dtype == array.dtype
            np.testing.assert_array_equal(loaded[name], array)
    (tmp_path / "none").write_bytes(b"\xff" * 40)
    with pytest.raises(plain_safetensors.SafetensorError):
        plain_safetensors.load_arrays(tmp_path / "none")
