"""The published-size chain with our kernels in the places of the plain operations, against the golden run.

Takes the time of W and G; the quick golden tests are beside the kernels' other tests.
"""

import numpy as np
import pytest

from x2c_edge import _kernels

pytestmark = pytest.mark.slow

FRAME = 2
X2C = {"order": "BGR", "mean": (0.4885, 0.4294, 0.3233), "std": (0.1382, 0.1195, 0.1087)}
LIVE = {"order": "RGB", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
ROUTES = {
    "controls_float_area": {"resize": "area", **X2C},
    "controls_float_rgb_bilinear": {"resize": "bilinear", **LIVE},
}


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch")
    with module.inference_mode():
        yield module


@pytest.fixture(scope="module")
def build(golden, torch):
    def build(name, make):
        with torch.device("meta"):
            net = make()
        return golden.fill(net, name)

    return build


@pytest.fixture(scope="module")
def warping_net(build):
    from x2c_edge.nets.warping import WarpingNetwork

    return build("W", WarpingNetwork)


def through_kernels(torch, net, feature, driving, source):
    """Front end, hourglass, masks and warp: (out, deformation, occlusion, logits, warped), batch of one."""
    compressed = net.compress(feature)[0].numpy()
    front = np.full((net.config.front_channels, *compressed.shape[1:]), np.nan, np.float32)
    _kernels.motion_volume(compressed, driving, source, front, threads=2)
    hidden = net.hourglass(torch.from_numpy(front)[None])
    logits = net.mask_logits(hidden)
    warped = np.full((1, feature.shape[1] * feature.shape[2], *feature.shape[3:]), np.nan, np.float32)
    deformation = np.full((1, *feature.shape[2:], 3), np.nan, np.float32)
    channels_last = np.ascontiguousarray(feature[0].permute(1, 2, 3, 0).numpy())
    _kernels.warp_volume(
        logits[0].numpy(), driving, source, channels_last, warped[0], deformation=deformation[0], threads=2
    )
    occlusion = net.occlusion_map(hidden)
    return net.tail(torch.from_numpy(warped), occlusion), deformation, occlusion, logits, warped


def test_warping(golden, torch, warping_net):
    data = golden.arrays("warping")
    feature = golden.input("warping/feature_3d", (1, 32, 16, 64, 64), data["feature_3d.head"])
    driving, source = data["kp_driving"][0], data["kp_source"][0]
    out, deformation, _, logits, warped = through_kernels(torch, warping_net, feature, driving, source)
    golden.check("warping", "mask_logits", logits)
    golden.check("warping", "deformation", deformation)
    golden.check("warping", "deformation_depth8", deformation[0, 8])
    golden.check("warping", "warped", warped)
    golden.check("warping", "out", out)


def test_end_to_end(golden, torch, build, warping_net):
    from x2c_edge.nets.appearance import AppearanceExtractor
    from x2c_edge.nets.generator import Generator
    from x2c_edge.nets.mapping import MappingNetwork

    data, portrait = golden.arrays("end_to_end"), golden.arrays("inputs")["source"]
    picture = torch.from_numpy(portrait.transpose(2, 0, 1)[None] / np.float32(255))
    feature = build("F", AppearanceExtractor)(picture)
    driving, source = data["x_driving"][FRAME], data["x_source"][0]
    out, deformation, occlusion, _, _ = through_kernels(torch, warping_net, feature, driving, source)
    golden.check("end_to_end", f"frame{FRAME}.deformation", deformation)
    golden.check("end_to_end", f"frame{FRAME}.occlusion_map", occlusion)
    image = build("G", Generator)(out)
    golden.check("end_to_end", f"frame{FRAME}.image", image)
    mapping = build("mapping_resnet18", MappingNetwork)
    for route, options in ROUTES.items():
        x = np.full((1, 3, 224, 224), np.nan, np.float32)
        _kernels.face_to_mapping(image[0].numpy(), x[0], threads=2, **options)
        controls = mapping(torch.from_numpy(x))[0].numpy()
        golden.within(f"end_to_end/{route}", np.abs(controls - data[route][FRAME]).max())
