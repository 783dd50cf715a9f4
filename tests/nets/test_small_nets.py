"""Other sizes of the same classes: shapes, keys, strict round trips, folding, layouts."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.published_nets import NETS, summary
from x2c_edge.nets import warping
from x2c_edge.nets.appearance import AppearanceConfig, AppearanceExtractor
from x2c_edge.nets.generator import Generator, GeneratorConfig
from x2c_edge.nets.layers import fold_batch_norms, fold_spectral_norm
from x2c_edge.nets.look_trunk import LookTwiceConfig
from x2c_edge.nets.mapping import PUBLISHED_TRUNKS, MappingConfig, MappingNetwork
from x2c_edge.nets.motion_extractor import MotionConfig, MotionExtractor
from x2c_edge.nets.stitching import EYE, LIP, STITCHING, KeypointMlp
from x2c_edge.nets.trunks import EfficientNetConfig, EfficientStage, ResNetConfig, VggConfig, VitConfig
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork

# A picture of 128x128 and a volume of 8x4 over 32x32.
SMALL_F = AppearanceConfig(base=8, cap=16, channels=8, depth=4, residual_blocks=2)
SMALL_M = MotionConfig(depths=(1, 1, 2, 1), widths=(8, 16, 24, 32), keypoints=7)
SMALL_W = WarpingConfig(
    keypoints=7, channels=8, depth=4, compressed=2, base=4, cap=16, levels=3, out_channels=12
)
SMALL_G = GeneratorConfig(in_channels=12, width=16, middle_blocks=2, up_widths=(8,), hidden=6, shuffle=2)
SMALL_TRUNKS = [
    ResNetConfig(stem=8, widths=(8, 12, 16), blocks=(1, 2, 1)),
    VggConfig(input_size=64, stages=((8,), (8, 12), (16,))),
    EfficientNetConfig(
        stem=8,
        stages=(
            EfficientStage(1, 3, 1, 4, 1),
            EfficientStage(4, 5, 2, 8, 2),
            EfficientStage(3, 3, 1, 8, 1),
        ),
        features=40,
    ),
    VitConfig(input_size=64, patch=16, width=24, depth=2, heads=3, hidden=48),
    LookTwiceConfig(64, 8, (8, 8, 8, 8), (1, 1, 1, 1), 2, (4, 8), (16, 16), (16, 12), 6),
]
PUBLISHED = {
    "F": AppearanceExtractor,
    "M": MotionExtractor,
    "W": WarpingNetwork,
    "G": Generator,
    "stitching": lambda: KeypointMlp(STITCHING),
    "eye": lambda: KeypointMlp(EYE),
    "lip": lambda: KeypointMlp(LIP),
    "mapping_resnet18": MappingNetwork,
}
BUILDERS = {
    "F": lambda: AppearanceExtractor(SMALL_F),
    "M": lambda: MotionExtractor(SMALL_M),
    "W": lambda: WarpingNetwork(SMALL_W),
    "G": lambda: Generator(SMALL_G),
    "S": lambda: KeypointMlp(STITCHING),
    **{
        f"mapping-{type(trunk).__name__}": lambda trunk=trunk: MappingNetwork(MappingConfig(trunk, (10,), 5))
        for trunk in SMALL_TRUNKS
    },
}


def _randomised(net: nn.Module, seed: int) -> nn.Module:
    """Every parameter and running statistic away from its default, so that nothing hides."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if value.is_floating_point() and not name.endswith(("weight_u", "weight_v")):
            noise = torch.randn(value.shape, generator=generator)
            value.add_(0.1 * (noise.abs() if name.endswith("running_var") else noise))
    return net.eval()


def _build(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return _randomised(BUILDERS[name](), seed)


def _inputs(name: str) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(7)

    def tensor(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    if name == "W":
        return tensor(2, 8, 4, 32, 32), 1.6 * tensor(2, 7, 3) - 0.8, 1.6 * tensor(2, 7, 3) - 0.8
    return {
        "F": (tensor(2, 3, 128, 128),),
        "M": (tensor(2, 3, 128, 128),),
        "G": (tensor(2, 12, 32, 32),),
        "S": (tensor(2, 126),),
    }.get(name, (tensor(2, 3, 64, 64),))


def _outputs(net: nn.Module, name: str) -> list[torch.Tensor]:
    out = net(*_inputs(name))
    return [out] if isinstance(out, torch.Tensor) else list(out)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_keys_and_shapes(name):
    with torch.device("meta"):
        state = PUBLISHED[name]().state_dict()
    assert summary(state) == NETS[name]


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("F", [(2, 8, 4, 32, 32)]),
        ("M", [(2, 66), (2, 66), (2, 66), (2, 3), (2, 21), (2, 1), (2, 21)]),
        ("W", [(2, 12, 32, 32), (2, 4, 32, 32, 3), (2, 1, 32, 32)]),
        ("G", [(2, 3, 128, 128)]),
        ("S", [(2, 65)]),
        *((name, [(2, 5)]) for name in BUILDERS if name.startswith("mapping")),
    ],
)
def test_small_shapes(name, shapes):
    assert [tuple(out.shape) for out in _outputs(_build(name), name)] == shapes


@pytest.mark.parametrize("name", BUILDERS)
def test_strict_round_trip(name):
    net, other = _build(name), _build(name, seed=1)
    other.load_state_dict(net.state_dict(), strict=True)
    for a, b in zip(_outputs(net, name), _outputs(other, name), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_picture_does_not_depend_on_its_batch(name):
    net = _build(name)
    single = net(*(x[1:] for x in _inputs(name)))
    single = [single] if isinstance(single, torch.Tensor) else list(single)
    for alone, batch in zip(single, _outputs(net, name), strict=True):
        torch.testing.assert_close(alone[0], batch[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in ("M", "S")])
def test_folding_is_exact_and_leaves_the_original(name):
    net = _build(name)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    folded = fold_batch_norms(fold_spectral_norm(net))
    for a, b in zip(_outputs(net, name), _outputs(folded, name), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)

    after = net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    left = [key for key in folded.state_dict() if "weight_orig" in key or "running_mean" in key]
    assert left == ([f"resblocks_3d.3dr{i}.norm1.running_mean" for i in range(2)] if name == "F" else [])
    again = fold_batch_norms(fold_spectral_norm(folded))
    assert again.state_dict().keys() == folded.state_dict().keys()


@pytest.mark.parametrize(
    ("option", "features"), [("resnet", 512), ("vgg", 25088), ("transformer", 151296), ("efficient", 1280)]
)
def test_published_trunks(option, features):
    trunk = PUBLISHED_TRUNKS[option]
    with torch.device("meta"):
        net = MappingNetwork(MappingConfig(trunk)).eval()
        x = torch.empty(1, 3, 224, 224)
    assert trunk.features == features
    assert net.features(x).shape == (1, features)
    assert net(x).shape == (1, 30)


@pytest.mark.parametrize(
    ("option", "count", "some"),
    [
        (
            "vgg",
            26,
            {"0.weight": (64, 3, 3, 3), "10.bias": (256,), "28.weight": (512, 512, 3, 3)},
        ),
        (
            "transformer",
            198,
            {
                "0.embeddings.cls_token": (1, 1, 768),
                "0.embeddings.position_embeddings": (1, 197, 768),
                "0.embeddings.patch_embeddings.projection.weight": (768, 3, 16, 16),
                "0.encoder.layer.11.attention.attention.value.bias": (768,),
                "0.encoder.layer.0.attention.output.dense.weight": (768, 768),
                "0.encoder.layer.3.intermediate.dense.weight": (3072, 768),
                "0.encoder.layer.3.output.dense.weight": (768, 3072),
                "0.encoder.layer.3.layernorm_before.weight": (768,),
                "0.layernorm.bias": (768,),
            },
        ),
        (
            "efficient",
            358,
            {
                "0.0.weight": (32, 3, 3, 3),
                "0.1.running_var": (32,),
                "1.0.block.1.fc1.weight": (8, 32, 1, 1),
                "1.0.block.2.0.weight": (16, 32, 1, 1),
                "3.1.block.1.0.weight": (240, 1, 5, 5),
                "7.0.block.3.1.bias": (320,),
                "8.0.weight": (1280, 320, 1, 1),
            },
        ),
    ],
)
def test_published_trunk_keys(option, count, some):
    with torch.device("meta"):
        state = PUBLISHED_TRUNKS[option].build().state_dict()
    assert len(state) == count
    assert {key: tuple(state[key].shape) for key in some} == some


def _trilinear(volume: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Section 1 written out for one point: (C, D, H, W) at (x, y, z), float64."""
    sizes = np.array(volume.shape[:0:-1])
    at = ((position + 1) * sizes - 1) / 2
    low = np.floor(at).astype(int)
    out = np.zeros(len(volume))
    for corner in np.ndindex(2, 2, 2):
        index = low + corner
        if np.all((index >= 0) & (index < sizes)):
            weight = np.prod(np.where(corner, at - low, 1 - (at - low)))
            out += weight * volume[:, index[2], index[1], index[0]]
    return out


def test_front_end_and_deformation_at_odd_sizes():
    """Against docs/spec/liveportrait.md section 8 written out voxel by voxel in float64, batch 2."""
    rng = np.random.default_rng(3)
    size, count, channels = (3, 5, 4), 4, 3
    config = WarpingConfig(keypoints=count, channels=6, depth=3, compressed=channels, base=4, levels=1)
    net = WarpingNetwork(config).eval()
    volume = rng.normal(size=(2, channels, *size))
    driving, source = rng.uniform(-1.2, 1.2, size=(2, 2, count, 3))
    logits = rng.normal(size=(2, count + 1, *size))
    tensors = [torch.from_numpy(a.astype(np.float32)) for a in (volume, driving, source, logits)]
    front = net.front_end(*tensors[:3]).numpy()
    deformation = net.deformation(tensors[3], *tensors[1:3]).numpy()
    assert front.shape == (2, (count + 1) * (channels + 1), *size)

    masks = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for b, z, y, x in np.ndindex(2, *size):
        g = 2 * np.array([x, y, z]) / (np.array(size[::-1]) - 1) - 1
        expected, position = [], np.zeros(3)
        for k in range(count + 1):
            move, heat = np.zeros(3), 0.0
            if k > 0:
                d, s = driving[b, k - 1], source[b, k - 1]
                move = s - d
                heat = np.exp(-np.sum((g - d) ** 2) / 0.02) - np.exp(-np.sum((g - s) ** 2) / 0.02)
            expected += [heat, *_trilinear(volume[b], g + move)]
            position += masks[b, k, z, y, x] * (g + move)
        np.testing.assert_allclose(front[b, :, z, y, x], expected, atol=2e-6)
        np.testing.assert_allclose(deformation[b, z, y, x], position, atol=1e-6)


def test_warp_accepts_non_contiguous_volumes():
    net = _build("W")
    volume, _, _ = _inputs("W")
    positions = 2.4 * torch.rand(2, 4, 32, 32, 3, generator=torch.Generator().manual_seed(1)) - 1.2
    strided = volume.to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(net.warp(strided, positions), net.warp(volume, positions))
    point = _trilinear(volume[1].numpy().astype(float), positions[1, 2, 3, 4].numpy().astype(float))
    sampled = warping.sample_volume(volume, positions)[1, :, 2, 3, 4]
    np.testing.assert_allclose(sampled, point, atol=1e-5)
