"""The motion extractor's second look; the patches themselves are tested with the single-stage net."""

from __future__ import annotations

import pytest
import torch

from x2c_edge.nets.arch import config_from_manifest, config_to_manifest, folded, opened
from x2c_edge.nets.motion_extractor import MotionConfig, MotionExtractor

SMALL = MotionConfig(
    depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), bins=1, patch_widths=(4, 8), eye_patch=(16, 8),
    mouth_patch=(16, 12), patch_hidden=8, picture=64, place=12,
)  # fmt: skip


@pytest.fixture
def net() -> MotionExtractor:
    torch.manual_seed(0)
    made = MotionExtractor(SMALL)
    look = made.detector.look
    assert look is not None
    with torch.no_grad():  # the points of a face in the middle of the picture
        look.points.weight.zero_()
        look.points.bias.copy_(torch.tensor([-0.5, -0.2, -0.2, -0.2, 0.5, -0.2, 0.2, -0.2, 0.0, 0.4]))
    return made.eval()


def test_the_published_extractor_looks_once():
    names = MotionExtractor(MotionConfig(depths=(1, 1, 1, 1), widths=(8, 8, 8, 8))).state_dict()
    assert not any(".look." in name for name in names)


def test_heads_have_the_manifest_s_sizes(net: MotionExtractor):
    heads = net(torch.rand(2, 3, 64, 64))
    assert heads.pitch.shape == heads.yaw.shape == heads.roll.shape == (2, 1)
    assert heads.exp.shape == heads.kp.shape == (2, 63)


def test_the_eyes_and_the_mouth_are_looked_at_where_the_points_are(net: MotionExtractor):
    x = torch.rand(1, 3, 64, 64)
    look = net.detector.look
    assert look is not None
    last, pooled = torch.zeros(1, 16, 2, 2), torch.zeros(1, 16)
    before, points, _ = look(x, last, pooled)
    assert points.shape == (1, 5, 2)
    for row, column, seen in ((25, 20, True), (25, 43, True), (45, 32, True), (60, 60, False)):
        changed = x.clone()
        changed[..., row - 2 : row + 3, column - 2 : column + 3] = 0
        after, _, _ = look(changed, last, pooled)
        assert bool((after != before).any()) == seen, (row, column)


def test_a_pack_gives_the_same_net_back(net: MotionExtractor):
    x = torch.rand(3, 3, 64, 64)
    state = folded(net).state_dict()
    again = opened("motion", config_to_manifest(SMALL), state)
    assert config_from_manifest("motion", config_to_manifest(SMALL)) == SMALL
    for one, other in zip(again(x), net(x), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
