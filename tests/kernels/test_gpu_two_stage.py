"""tools/gpu_two_stage.py: the plan that is timed on a GPU gives what plain PyTorch gives."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tools.gpu_two_stage import Nets, Ours, Plain, Sizes  # noqa: E402
from x2c_edge.nets.generator import GeneratorConfig  # noqa: E402
from x2c_edge.nets.mapping import MappingConfig  # noqa: E402
from x2c_edge.nets.motion_extractor import MotionConfig  # noqa: E402
from x2c_edge.nets.trunks import ResNetConfig  # noqa: E402
from x2c_edge.nets.warping import WarpingConfig  # noqa: E402

SMALL = Sizes(
    motion=MotionConfig((1, 1), (16, 32), 5, 66),
    warping=WarpingConfig(5, 8, 4, 3, 16, 64, 2, 32),
    generator=GeneratorConfig(32, 32, 1, (32, 16), 16, 2),
    mapping=MappingConfig(ResNetConfig(16, (16, 32), (1, 1)), (32,)),
    picture=64,
    mapped=32,
)


def test_both_ways_agree():
    nets = Nets(SMALL, torch.float32)
    plain, ours = Plain(nets), Ours(nets)
    with torch.inference_mode():
        for seed in range(3):
            torch.manual_seed(seed)
            face = torch.rand_like(nets.face)
            ours.face.copy_(face)
            torch.testing.assert_close(ours.run(), plain(face), atol=1e-6, rtol=0)


def test_the_face_matters():
    nets = Nets(SMALL, torch.float32)
    plain = Plain(nets)
    with torch.inference_mode():
        assert (plain(nets.face) - plain(1 - nets.face)).abs().max() > 1e-3
