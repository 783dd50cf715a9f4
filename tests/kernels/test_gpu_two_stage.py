"""tools/gpu/gpu_two_stage.py: the pipeline that is timed on a GPU gives what plain PyTorch gives.

On a machine with a GPU that is the GPU's pipeline, eager and as a graph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tools.gpu import gpu_two_stage as two  # noqa: E402
from tools.gpu import plain_safetensors  # noqa: E402
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
