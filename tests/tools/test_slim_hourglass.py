"""Thinner dense motion networks say what the whole one says, as nearly as their widths let them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tools.train import slim_hourglass as slimming
from x2c_edge.nets.direct import DirectConfig, DirectNetwork
from x2c_edge.nets.layers import fold_batch_norms

WHOLE = DirectConfig(
    keypoints=4, channels=2, depth=3, compressed=1, base=8, cap=24, levels=2, mask_kernel=3, side=16,
    widths=(8, 8), hidden=8, sparse=8,
)  # fmt: skip


def network(config: DirectConfig) -> DirectNetwork:
    net = DirectNetwork(config).eval()
    net.dense_motion_network = fold_batch_norms(net.dense_motion_network)
    return net


def said(net: DirectNetwork, fronts: list[Tensor]) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        hidden = net.hourglass(torch.stack(fronts))
        return torch.softmax(net.mask_logits(hidden), 1), net.occlusion_map(hidden)


@pytest.fixture
def big() -> DirectNetwork:
    torch.manual_seed(1)
    return network(WHOLE)


def smooth(count: int) -> list[Tensor]:
    """Inputs of few kinds, as motions are: mixtures of five."""
    kinds = torch.randn(5, WHOLE.front_channels, WHOLE.depth, 16, 16)
    return list(torch.einsum("nk,kcdhw->ncdhw", torch.randn(count, 5), kinds))


def test_of_the_same_widths_it_is_the_same(big, monkeypatch):
    monkeypatch.setattr(slimming, "FIT_VOXELS", 3000)
    fronts = smooth(12)
    small = network(WHOLE)
    slimming.slim_hourglass(big, small, fronts, np.random.default_rng(0))
    for got, wanted in zip(said(small, fronts), said(big, fronts), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


def test_of_half_the_widths_it_says_nearly_the_same_of_what_it_has_not_seen(big, monkeypatch):
    fronts = smooth(60)
    config = replace(WHOLE, base=4, cap=12, last=12)
    apart = []
    for columns in (slimming.MOST_COLUMNS, 0):  # fitted; the kept channels alone
        monkeypatch.setattr(slimming, "MOST_COLUMNS", columns)
        small = network(config)
        slimming.slim_hourglass(big, small, fronts[:40], np.random.default_rng(0))
        pairs = zip(said(small, fronts[40:]), said(big, fronts[40:]), strict=True)
        apart.append([float((got - wanted).abs().mean()) for got, wanted in pairs])
    fitted, kept = np.array(apart)
    assert (fitted < 0.85 * kept).all(), apart
