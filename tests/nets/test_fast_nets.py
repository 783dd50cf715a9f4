"""The exact rewrites against the nets as published, in small sizes, odd and square."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from x2c_edge.nets import arch, inference
from x2c_edge.nets.generator import Generator, GeneratorConfig
from x2c_edge.nets.generator_fast import FastGenerator
from x2c_edge.nets.layers import fold_batch_norms, fold_spectral_norm
from x2c_edge.nets.look_trunk import LookTwiceConfig
from x2c_edge.nets.mapping import PUBLISHED_TRUNKS, MappingConfig
from x2c_edge.nets.sliced import SlicedConv3d
from x2c_edge.nets.upsampled import PhasedConv, distinct, source_taps
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork
from x2c_edge.nets.winograd import WinogradConv


@pytest.mark.parametrize(
    "config",
    [
        GeneratorConfig(16, 24, 2, (12, 8), 8),
        GeneratorConfig(16, 24, 1, (12, 8, 8), 8),  # as the third block keeps its width
        GeneratorConfig(8, 16, 1, (16,), 8, shuffle=4),
        GeneratorConfig(8, 16, 2, (), 8),
    ],
)
@pytest.mark.parametrize("size", [(12, 10), (2, 1), (5, 3)])
def test_the_fast_generator_is_the_generator(config, size):
    torch.manual_seed(3)
    net = Generator(config).eval()
    s = torch.randn(2, config.in_channels, *size)
    with torch.inference_mode():
        exact = net.double()(s.double())
        image = FastGenerator(fold_spectral_norm(net.float()))(s)
    assert image.shape == exact.shape
    assert ((image - exact).abs().max() / exact.abs().max()) < 1e-5


@pytest.mark.parametrize("r", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("dims", [2, 3])
def test_phased_convolution_is_the_convolution_of_the_upsampled_map(r, dims):
    torch.manual_seed(r)
    size = (5, 4, 3)[3 - dims :]
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    weight = torch.randn(6, 3, *[3] * dims, dtype=torch.float64)
    bias = torch.randn(6, dtype=torch.float64)
    out = PhasedConv(weight, bias, r)(x)
    convolve = F.conv2d if dims == 2 else F.conv3d
    up = F.interpolate(x, scale_factor=(1,) * (dims - 2) + (r, r), mode="nearest")
    whole = convolve(up, weight, bias, padding=1).relu()
    pick = [p for p in range(r) if r < 3 or p in (0, 1, r - 1)]
    for axis in (-2, -1):
        index = [r * cell + p for cell in range(whole.shape[axis] // r) for p in pick]
        whole = whole.index_select(axis, torch.tensor(index))
    torch.testing.assert_close(out, whole)


def test_taps_of_four_are_twenty_five():
    assert sum(len(t.groups) for t in source_taps(4)) ** 2 == 25
    assert sum(len(t.groups) for t in source_taps(2)) ** 2 == 16
    assert distinct(4) == 3


@pytest.fixture(scope="module")
def warping():
    torch.manual_seed(5)
    config = WarpingConfig(
        keypoints=5, channels=8, depth=4, compressed=2, base=8, cap=32, levels=2, out_channels=16
    )
    net = WarpingNetwork(config).eval()
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm3d | torch.nn.BatchNorm2d):
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.8, 1.2)
    return net


def test_the_warping_network_in_pieces(warping):
    front = torch.randn(1, warping.config.front_channels, 4, 16, 8)
    warped = torch.randn(1, 32, 16, 8)
    with torch.inference_mode():
        hidden = warping.hourglass(front)
        logits, occlusion = warping.mask_logits(hidden), warping.occlusion_map(hidden)
        tail = warping.tail(warped, occlusion)
        pieces = (fold_batch_norms(warping) for _ in range(2))
        dense = inference.function(next(pieces), "dense motion", torch.float32)
        end = inference.function(next(pieces), "tail", torch.float32)
        torch.testing.assert_close(dense(front), (logits, occlusion), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(end(warped, occlusion)[0], tail, rtol=1e-5, atol=1e-5)


def test_an_unknown_part_is_named(warping):
    with pytest.raises(ValueError, match="no part 'head'"):
        inference.function(warping, "head", torch.float32)


@pytest.mark.parametrize("trunk", [*PUBLISHED_TRUNKS.values(), LookTwiceConfig(64, eye_patch=(32, 24))])
def test_a_mapping_config_survives_the_manifest(trunk):
    config = MappingConfig(trunk, hidden=(7, 5), outputs=3)
    assert arch.config_from_manifest("mapping", arch.config_to_manifest(config)) == config


@pytest.mark.parametrize("kind", ["appearance", "motion", "warping", "generator"])
def test_a_config_survives_the_manifest(kind):
    config = arch.ARCHS[kind].config()
    assert arch.config_from_manifest(kind, arch.config_to_manifest(config)) == config


def test_a_size_that_is_none_is_refused():
    with pytest.raises(TypeError, match="'wdith' is not a size"):
        arch.config_from_manifest("generator", {"wdith": 3})
    with pytest.raises(ValueError, match="trunk 'mobilenet'"):
        arch.config_from_manifest("mapping", {"trunk": "mobilenet"})


@pytest.mark.parametrize("size", [(8, 8), (16, 4), (5, 3), (1, 1), (13, 10)])
def test_winograd_is_the_convolution(size):
    torch.manual_seed(2)
    x, weight = torch.randn(2, 24, *size), torch.randn(40, 24, 3, 3) / 15
    bias = torch.randn(40)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    out = WinogradConv(weight, bias)(x)
    assert ((out - exact).abs().max() / exact.abs().max()) < 1e-5


def test_the_wide_middle_blocks_take_winograd():
    torch.manual_seed(4)
    net = Generator(GeneratorConfig(8, 400, 1, (8,), 8)).eval()
    s = torch.randn(1, 8, 6, 8)
    with torch.inference_mode():
        exact = net.double()(s.double())
        fast = FastGenerator(fold_spectral_norm(net.float()))
        assert isinstance(fast.blocks[0].conv_0, WinogradConv)
        assert ((fast(s) - exact).abs().max() / exact.abs().max()) < 1e-5


@pytest.mark.parametrize("shape", [(5, 6, 3, 3, 3), (7, 4, 7, 7, 7), (3, 2, 1, 1, 1)])
@pytest.mark.parametrize("size", [(4, 9, 7), (1, 5, 6), (16, 8, 8)])
def test_a_sliced_convolution_is_the_convolution(shape, size):
    torch.manual_seed(5)
    weight, bias = torch.randn(shape), torch.randn(shape[0])
    x = torch.randn(1, shape[1], *size)
    exact = F.conv3d(x.double(), weight.double(), bias.double(), padding=shape[2] // 2)
    ours = SlicedConv3d(weight, bias)(x)
    assert ours.shape == exact.shape
    assert ((ours - exact).abs().max() / exact.abs().max()) < 1e-5
