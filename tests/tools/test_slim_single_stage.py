from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tools.train.slim_single_stage import slimmed
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig

WIDE = SingleStageConfig(
    input_size=32,
    stem=4,
    widths=(8, 8),
    blocks=(1, 1),
    hidden=16,
    patch_widths=(4, 8),
    eye_patch=(8, 4),
    mouth_patch=(8, 8),
    patch_hidden=4,
)


@pytest.fixture
def net() -> SingleStage:
    torch.manual_seed(3)
    net = SingleStage(WIDE).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.bias, 0.0, 0.2)
    return net


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.randn(70, 3, 32, 32)


def same_twice(layer: nn.Sequential) -> None:
    """The second half of the layer's channels repeat the first half."""
    conv, norm = layer[0], layer[1]
    half = conv.out_channels // 2
    with torch.no_grad():
        for values in (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
            values[half:] = values[:half]


def test_a_net_that_is_thin_enough_stays_what_it_is(net: SingleStage, crops: torch.Tensor):
    torch.testing.assert_close(slimmed(net, WIDE, crops)(crops), net(crops))


def test_channels_that_repeat_others_cost_nothing(net: SingleStage, crops: torch.Tensor):
    stem, first, block = net.trunk[0], net.trunk[1], net.trunk[2]
    for layer in (stem, first, block.conv1, block.conv2, net.eye.convs[0], net.mouth.convs[0]):
        same_twice(layer)
    thin = replace(WIDE, stem=2, widths=(4, 8), block_widths=(4, 8), patch_widths=(2, 8))
    small = slimmed(net, thin, crops).eval()
    assert small.config == thin
    assert small.trunk[2].conv1[0].out_channels == 4
    with torch.no_grad():
        torch.testing.assert_close(small(crops), net(crops), atol=2e-3, rtol=2e-3)


def test_what_is_lost_is_less_than_by_leaving_channels_out(net: SingleStage, crops: torch.Tensor):
    thin = replace(WIDE, patch_widths=(4, 4))
    plain = SingleStage(thin).eval()
    state = {k: v[tuple(slice(n) for n in plain.state_dict()[k].shape)] for k, v in net.state_dict().items()}
    with torch.no_grad():
        plain.load_state_dict(state)
        small = slimmed(net, thin, crops).eval()
        want = net(crops)[:, -30:]
        assert (small(crops)[:, -30:] - want).square().mean() < (plain(crops)[:, -30:] - want).square().mean()
