"""The published-size networks with recipe weights against the golden vectors.

All heavy nets live in this one module so that they are built once. One driving frame goes end to end; the
other two are marked ``slow``.
"""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from x2c_edge.nets import keypoints
from x2c_edge.nets.appearance import AppearanceExtractor
from x2c_edge.nets.generator import Generator
from x2c_edge.nets.layers import SpectralConv2d, fold_batch_norms, fold_spectral_norm
from x2c_edge.nets.mapping import MappingNetwork
from x2c_edge.nets.motion_extractor import MotionExtractor, RawMotion
from x2c_edge.nets.stitching import EYE, LIP, STITCHING, KeypointMlp
from x2c_edge.nets.warping import WarpingNetwork

X2C_MEAN = (0.4885, 0.4294, 0.3233)  # docs/spec/liveportrait.md section 12: B, G, R order
X2C_STD = (0.1382, 0.1195, 0.1087)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _filled(golden, name, build):
    with torch.device("meta"):
        net = build()
    return golden.fill(net, name)


@pytest.fixture(scope="module")
def warping_net(golden):
    return _filled(golden, "W", WarpingNetwork)


@pytest.fixture(scope="module")
def generator_net(golden):
    return _filled(golden, "G", Generator)


@pytest.fixture(scope="module")
def folded_nets(warping_net, generator_net, mapping_net):
    """W, G and the mapping network as a pack holds them."""
    return fold_batch_norms(warping_net), fold_spectral_norm(generator_net), fold_batch_norms(mapping_net)


@pytest.fixture(scope="module")
def mapping_net(golden):
    return _filled(golden, "mapping_resnet18", MappingNetwork)


@pytest.fixture(scope="module")
def stitching_net(golden):
    return _filled(golden, "stitching", lambda: KeypointMlp(STITCHING))


@pytest.fixture(scope="module")
def portraits(golden):
    """Source and three driving portraits, (4, 3, 256, 256)."""
    data = golden.arrays("inputs")
    pictures = np.concatenate([data["source"][None], data["driving"]])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def features_and_heads(golden, portraits):
    net = _filled(golden, "M", MotionExtractor)
    with torch.inference_mode():
        features = net.features(portraits)
        return features, net.heads(features)


@pytest.fixture(scope="module")
def feature_volume(golden, portraits):
    net = _filled(golden, "F", AppearanceExtractor)
    with torch.inference_mode():
        return net(portraits[:1])


@pytest.fixture(scope="module")
def motions(features_and_heads):
    """The four portraits' motions."""
    _, heads = features_and_heads
    return keypoints.motion_from_heads(**{k: v.numpy() for k, v in heads._asdict().items()})


def _pick(motion, rows):
    return keypoints.Motion(
        motion.kp[rows], motion.exp[rows], motion.rotation[rows], motion.t[rows], motion.scale[rows]
    )


def _relative(motions):
    """Section 6, steps 1 to 7, for a source and driving motions of which the first is the reference."""
    source, driving, reference = _pick(motions, [0]), _pick(motions, slice(1, None)), _pick(motions, [1])
    moved = keypoints.relative_motion(source, driving, reference)
    x_source, x_new = keypoints.transformed(source), keypoints.transformed(moved)
    multiplier = keypoints.motion_multiplier(x_source[0], x_new[0])
    x_scaled = keypoints.driving_keypoints(x_source, x_new, x_new[:1], multiplier)
    return moved, x_source, x_new, multiplier, x_scaled


def _stitch(net, x_source, x_driving):
    delta = net(torch.from_numpy(keypoints.stitching_input(x_source, x_driving))).numpy()
    return keypoints.stitched(x_driving, delta)


@pytest.fixture(scope="module")
def stitched(motions, stitching_net):
    """Source keypoints (1, 21, 3) and stitched driving keypoints (3, 21, 3)."""
    _, x_source, _, _, x_scaled = _relative(motions)
    with torch.inference_mode():
        return x_source, _stitch(stitching_net, x_source, x_scaled)


def test_appearance(golden, feature_volume):
    golden.check("appearance", "feature_3d", feature_volume)
    golden.check("appearance", "channel_mean", feature_volume.mean(dim=(0, 2, 3, 4)))
    golden.check("appearance", "depth_mean", feature_volume.mean(dim=(0, 1, 3, 4)))


def test_motion_extractor(golden, features_and_heads):
    features, heads = features_and_heads
    golden.check("motion_extractor", "feature", features)
    for name in RawMotion._fields:
        golden.check("motion_extractor", name, getattr(heads, name))


def test_keypoints(golden, features_and_heads, motions):
    _, heads = features_and_heads
    for name in ("pitch", "yaw", "roll"):
        degrees = keypoints.angle_from_bins(getattr(heads, name).numpy())
        golden.check("keypoints", f"{name}_deg", degrees)
    golden.check("keypoints", "rotation", motions.rotation)
    golden.check("keypoints", "x", keypoints.transformed(motions))


def _synthetic(data):
    return keypoints.motion_from_heads(
        **{
            name: data[f"synthetic_{name}"].reshape(len(data["synthetic_t"]), -1)
            for name in RawMotion._fields
        }
    )


def test_synthetic_keypoints(golden):
    motion = _synthetic(golden.arrays("keypoints"))
    golden.check("keypoints", "synthetic_rotation", motion.rotation)
    golden.check("keypoints", "synthetic_x", keypoints.transformed(motion))


@pytest.mark.parametrize("kind", ["image", "synthetic"])
def test_relative_motion(golden, motions, stitching_net, kind):
    if kind == "synthetic":
        motions = _synthetic(golden.arrays("relative_motion"))
    moved, x_source, x_new, multiplier, x_scaled = _relative(motions)
    for name in ("rotation", "exp", "scale", "t"):
        golden.check("relative_motion", f"{kind}_{name}_new", getattr(moved, name))
    golden.check("relative_motion", f"{kind}_x_new", x_new)
    golden.check("relative_motion", f"{kind}_multiplier", multiplier)
    golden.check("relative_motion", f"{kind}_x_scaled", x_scaled)
    golden.check("relative_motion", f"{kind}_x_stitched", _stitch(stitching_net, x_source, x_scaled))


def test_hull(golden):
    data = golden.arrays("relative_motion")
    source, driving = data["hull_kp_source"][0], data["hull_kp_driving"][0]
    golden.check("relative_motion", "hull_volume_source", keypoints.hull_volume(source))
    golden.check("relative_motion", "hull_volume_driving", keypoints.hull_volume(driving))
    golden.check("relative_motion", "hull_multiplier", keypoints.motion_multiplier(source, driving))


def test_stitching_and_retargeting(golden, stitching_net):
    data = golden.arrays("stitching")
    source, driving = data["kp_source"], data["kp_driving"]
    delta = stitching_net(torch.from_numpy(keypoints.stitching_input(source, driving))).numpy()
    golden.check("stitching", "delta", delta)
    golden.check("stitching", "kp_out", keypoints.stitched(driving, delta))
    for name, config in (("eye", EYE), ("lip", LIP)):
        net = _filled(golden, name, lambda config=config: KeypointMlp(config))
        row = np.concatenate([source.reshape(len(source), -1), data[f"{name}_ratio"]], axis=1)
        golden.check("stitching", f"{name}_delta", net(torch.from_numpy(row)).reshape(-1, 21, 3))


@pytest.mark.slow  # as for the generator
def test_warping(golden, warping_net):
    data, net = golden.arrays("warping"), warping_net
    feature = golden.input("warping/feature_3d", (1, 32, 16, 64, 64), data["feature_3d.head"])
    source, driving = torch.from_numpy(data["kp_source"]), torch.from_numpy(data["kp_driving"])

    compressed = net.compress(feature)
    golden.check("warping", "compressed", compressed)
    front = net.front_end(compressed, driving, source)
    golden.check("warping", "front_end", front)
    hidden = net.hourglass(front)
    golden.check("warping", "hourglass", hidden)
    logits = net.mask_logits(hidden)
    golden.check("warping", "mask_logits", logits)
    golden.check("warping", "mask", torch.softmax(logits, dim=1))
    deformation = net.deformation(logits, driving, source)
    golden.check("warping", "deformation", deformation)
    golden.check("warping", "deformation_depth8", deformation[0, 8])
    occlusion = net.occlusion_map(hidden)
    golden.check("warping", "occlusion_map", occlusion)
    warped = net.warp(feature, deformation)
    golden.check("warping", "warped", warped)
    golden.check("warping", "out", net.tail(warped, occlusion))


def test_spectral_sigma(golden, generator_net):
    sigmas = {
        name: float(module.sigma())
        for name, module in generator_net.named_modules()
        if isinstance(module, SpectralConv2d)
    }
    names = golden.arrays("generator")["spectral_names"]
    assert set(names) == set(sigmas)
    golden.check("generator", "spectral_sigma", np.array([sigmas[name] for name in names]))


@pytest.mark.slow  # the end-to-end frame below has the same image; this tells which block is wrong
def test_generator(golden, generator_net):
    data, net = golden.arrays("generator"), generator_net
    s = golden.input("generator/feature", (1, 256, 64, 64), data["feature.head"])
    x = net.fc(s)
    golden.check("generator", "fc", x)
    for name in net.block_names:
        x = net.block(name, x, s)
        golden.check("generator", name, x)
    golden.check("generator", "image", net.to_image(x))


def _normalised(picture, mean, std):
    """(N, 224, 224, 3) in 0..1 to the mapping network's input."""
    return ((picture - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)


def test_mapping(golden, mapping_net):
    picture = torch.from_numpy(golden.arrays("mapping_resnet18")["bgr224"]).float() / 255
    x = _normalised(picture, X2C_MEAN, X2C_STD)
    golden.check("mapping_resnet18", "input", x)
    features = mapping_net.features(x)
    golden.check("mapping_resnet18", "features", features)
    golden.check("mapping_resnet18", "controls", mapping_net.head(features))


def test_end_to_end_keypoints(golden, stitched):
    golden.check("end_to_end", "x_source", stitched[0])
    golden.check("end_to_end", "x_driving", stitched[1])


@pytest.mark.parametrize("frame", [2, *(pytest.param(i, marks=pytest.mark.slow) for i in (0, 1))])
def test_end_to_end(golden, feature_volume, stitched, folded_nets, frame):
    warping_net, generator_net, mapping_net = folded_nets
    x_source, x_driving = (torch.from_numpy(x) for x in stitched)
    warped = warping_net(feature_volume, x_driving[frame : frame + 1], x_source)
    golden.check("end_to_end", f"frame{frame}.deformation", warped.deformation)
    golden.check("end_to_end", f"frame{frame}.occlusion_map", warped.occlusion)
    image = generator_net(warped.out)
    golden.check("end_to_end", f"frame{frame}.image", image)

    data = golden.arrays("end_to_end")
    picture = image[0].permute(1, 2, 0).numpy()
    rgb = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    golden.check_bytes("end_to_end", "image_rgb", rgb, data["image_rgb"][frame])
    small = cv2.resize(rgb[..., ::-1], (224, 224), interpolation=cv2.INTER_AREA)
    golden.check_bytes("end_to_end", "bgr224", small, data["bgr224"][frame])
    area = cv2.resize(picture[..., ::-1], (224, 224), interpolation=cv2.INTER_AREA)
    live = F.interpolate(image, (224, 224), mode="bilinear", align_corners=False, antialias=True)
    routes = {
        "controls": _normalised(torch.from_numpy(small)[None].float() / 255, X2C_MEAN, X2C_STD),
        "controls_float_area": _normalised(torch.from_numpy(area)[None], X2C_MEAN, X2C_STD),
        "controls_float_rgb_bilinear": _normalised(live.permute(0, 2, 3, 1), IMAGENET_MEAN, IMAGENET_STD),
    }
    for name, x in routes.items():
        difference = np.abs(mapping_net(x)[0].numpy() - data[name][frame]).max()
        golden.within(f"end_to_end/{name}", difference)
