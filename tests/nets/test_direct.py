"""The direct gear's net: its dense motion is W's, and its predictor reads what it says that it reads."""

from __future__ import annotations

import pytest
import torch

from x2c_edge.controls import N_CONTROLS
from x2c_edge.nets.arch import config_from_manifest, config_to_manifest, folded, opened
from x2c_edge.nets.direct import DirectConfig, DirectNetwork
from x2c_edge.nets.engine_nets import engine_nets
from x2c_edge.nets.inference import function
from x2c_edge.nets.warping import DenseMotionConfig, WarpingConfig, WarpingNetwork, coordinate_grid

SIZES = {"keypoints": 5, "channels": 4, "depth": 2, "compressed": 1, "base": 8, "cap": 32, "levels": 2}
CONFIG = DirectConfig(**SIZES, side=16, widths=(16, 24), hidden=32)


@pytest.fixture
def net() -> DirectNetwork:
    torch.manual_seed(0)
    made = DirectNetwork(CONFIG).eval()
    with torch.no_grad():
        made.appearance.normal_()
        for norm in (m for m in made.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    return made


def seen(net: DirectNetwork, count: int = 1) -> tuple[torch.Tensor, ...]:
    c = net.config
    warped = torch.randn(count, c.channels * c.depth, c.side, c.side)
    grid = coordinate_grid(torch.Size((c.depth, c.side, c.side)), warped)
    dense = grid + 0.1 * torch.randn(count, *grid.shape)
    return warped, torch.rand(count, 1, c.side, c.side), dense, torch.randn(count, c.keypoints, 3)


def test_a_pack_gives_the_same_net_back(net: DirectNetwork):
    held = folded(net).state_dict()
    again = opened("direct", config_to_manifest(CONFIG), {k: v.contiguous() for k, v in held.items()})
    assert config_from_manifest("direct", config_to_manifest(CONFIG)) == CONFIG
    x = seen(net, 3)
    with torch.inference_mode():
        torch.testing.assert_close(again.predict(*x), net.predict(*x), atol=1e-5, rtol=1e-5)
        assert again.predict(*x).shape == (3, N_CONTROLS)


def test_all_that_is_seen_counts(net: DirectNetwork):
    x = seen(net)
    with torch.inference_mode():
        before = net.predict(*x)
        for i in range(4):
            changed = list(x)
            changed[i] = changed[i].flip(-2)
            assert (net.predict(*changed) - before).abs().max() > 1e-3
        for constant in (net.appearance, net.still):
            before = net.predict(*x)
            constant.add_(1.0)
            assert (net.predict(*x) - before).abs().max() > 1e-3


def test_a_thinner_last_map_changes_the_heads_and_nothing_before_them():
    whole, thin = (DirectNetwork(DirectConfig(**SIZES, last=last, side=16, widths=(16,))) for last in (0, 8))
    a, b = whole.state_dict(), thin.state_dict()
    other = {k for k in a if a[k].shape != b[k].shape}
    dense = "dense_motion_network."
    assert other == {
        f"{dense}hourglass.decoder.conv.weight", f"{dense}hourglass.decoder.conv.bias",
        f"{dense}hourglass.decoder.norm.weight", f"{dense}hourglass.decoder.norm.bias",
        f"{dense}hourglass.decoder.norm.running_mean", f"{dense}hourglass.decoder.norm.running_var",
        f"{dense}mask.weight", f"{dense}occlusion.weight",
    }  # fmt: skip


def test_the_dense_motion_is_w_s():
    """The same weights give the same masks and the same occlusion."""
    torch.manual_seed(1)
    w = WarpingNetwork(WarpingConfig(**SIZES, out_channels=8)).eval()
    direct = DirectNetwork(CONFIG).eval()
    direct.dense_motion_network.load_state_dict(w.dense_motion_network.state_dict())
    front = torch.randn(1, CONFIG.front_channels, CONFIG.depth, 16, 16)
    with torch.inference_mode():
        for mine, theirs in zip(
            function(folded(direct), "dense motion", torch.float32)(front),
            function(folded(w), "dense motion", torch.float32)(front),
            strict=True,
        ):
            torch.testing.assert_close(mine, theirs)


def test_engines_are_two_with_matching_ports(net: DirectNetwork):
    volume = (1, CONFIG.channels, CONFIG.depth, 16, 16)
    dense, predict = engine_nets(folded(net), 0, volume)
    assert (dense.name, predict.name) == ("direct_motion", "direct")
    assert [p.name for p in predict.inputs] == ["warped", "occlusion", "deformation", "driving"]
    with torch.inference_mode():
        outs = dense.module(torch.zeros(dense.inputs[0].shape))
        assert [tuple(o.shape) for o in outs] == [p.shape for p in dense.outputs]
        out = predict.module(*(torch.zeros(p.shape) for p in predict.inputs))
        assert tuple(out.shape) == predict.outputs[0].shape


def test_published_sizes_are_the_default():
    assert DenseMotionConfig() == DenseMotionConfig(21, 32, 16, 4, 32, 1024, 5)
    assert DirectConfig().side == 64
