"""motion_volume against the plain operations of nets/warping.py in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2c_edge import _kernels
from x2c_edge.nets.warping import WarpingNetwork

pytestmark = pytest.mark.usefixtures("every_variant")

# Positions are good for a few 1e-7 of the volume's side in samples; values are a few units.
TOLERANCE = 3e-5
HALF = 2.0**-10


def case(rng, keypoints=3, channels=2, size=(5, 9, 12), spread=0.2):
    compressed = rng.normal(size=(channels, *size)).astype(np.float32)
    driving = rng.uniform(-0.9, 0.9, (keypoints, 3)).astype(np.float32)
    source = driving + rng.normal(scale=spread, size=(keypoints, 3)).astype(np.float32)
    return compressed, driving, source


def reference(compressed, driving, source):
    tensors = (torch.from_numpy(np.asarray(a, np.float64))[None] for a in (compressed, driving, source))
    return WarpingNetwork.front_end(None, *tensors)[0].numpy()


def run(compressed, driving, source, dtype=np.float32, **options):
    shape = ((len(driving) + 1) * (1 + len(compressed)), *compressed.shape[1:])
    out = np.full(shape, np.nan, dtype)
    _kernels.motion_volume(compressed, driving, source, out, **options)
    return out


@pytest.mark.parametrize(
    ("keypoints", "channels", "size"),
    [
        (21, 4, (16, 32, 32)),
        (1, 1, (2, 2, 2)),
        (3, 5, (3, 7, 13)),
        (4, 2, (7, 33, 6)),
        (2, 3, (2, 5, 67)),
    ],
)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_equals_the_plain_operations(keypoints, channels, size, threads):
    arrays = case(np.random.default_rng(keypoints), keypoints, channels, size)
    np.testing.assert_allclose(run(*arrays, threads=threads), reference(*arrays), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("spread", [0.0, 1e-6, 1.0, 3.0, 1e6])
def test_any_distance(spread):
    arrays = case(np.random.default_rng(3), 6, 2, (4, 9, 11), spread)
    np.testing.assert_allclose(run(*arrays), reference(*arrays), atol=TOLERANCE, rtol=0)


def test_whole_sample_shifts():
    """Positions that fall exactly on samples or on the volume's ends."""
    compressed, driving, _ = case(np.random.default_rng(4), 5, 2, (4, 8, 16))
    moves = np.array([[2 / 16, 0, 0], [-2 / 16, 2 / 8, 0], [1 / 16, 1 / 8, 1 / 4], [2, 0, 0], [0, -2, 2]])
    arrays = compressed, driving, (driving + moves).astype(np.float32)
    np.testing.assert_allclose(run(*arrays), reference(*arrays), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("width", [3, 4, 16, 64])
def test_a_shift_that_rounds_to_a_sample_at_the_end(width):
    """Half a sample less a hair: a hair that the last column's float32 position cannot show."""
    compressed, driving, _ = case(np.random.default_rng(4), 1, 1, (2, 2, width))
    driving[:] = 0
    source = np.array([[np.float32((1 - 2**-24) / width), 0, 0]], np.float32)
    arrays = compressed, driving, source
    np.testing.assert_allclose(run(*arrays), reference(*arrays), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("source_type", [np.float16, np.float32])
def test_half_precision_storage(source_type):
    compressed, driving, source = case(np.random.default_rng(5), 4, 3, (4, 9, 21))
    compressed = compressed.astype(source_type)
    expected = reference(compressed, driving, source)
    for dtype, relative in ((np.float16, HALF), (np.float32, 0)):
        out = run(compressed, driving, source, dtype, threads=2)
        np.testing.assert_allclose(out, expected, atol=TOLERANCE, rtol=relative)


def test_background_is_left_alone_on_request():
    arrays = case(np.random.default_rng(6))
    out = run(*arrays, background=False, threads=2)
    assert np.isnan(out[:3]).all()
    np.testing.assert_array_equal(out[3:], run(*arrays)[3:])
    none = np.zeros((0, 3), np.float32)
    np.testing.assert_array_equal(run(arrays[0], none, none), run(*arrays)[:3])
    assert np.isnan(run(arrays[0], none, none, background=False)).all()


@settings(max_examples=30)
@given(st.data())
def test_random_sizes_and_threads(data):
    side = st.integers(2, 40)
    size = data.draw(st.integers(2, 6)), data.draw(side), data.draw(side)
    seed, threads = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(2, 5))
    keypoints, channels = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    arrays = case(np.random.default_rng(seed), keypoints, channels, size)
    alone = run(*arrays)
    np.testing.assert_allclose(alone, reference(*arrays), atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(run(*arrays, threads=threads), alone)


def test_infinities_of_the_volume_stay_where_they_are():
    compressed, driving, _ = case(np.random.default_rng(7), 1, 1, (4, 6, 8))
    compressed[0, 0] = np.inf
    moved = driving + np.float32(0)
    moved[0, 2] += 1.5  # three samples of four along z
    out = run(compressed, driving, moved)
    assert np.isfinite(out[2:]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bad_keypoints_are_safe_and_seen(value):
    compressed, driving, source = case(np.random.default_rng(8), 2, 1, (3, 6, 8))
    driving[0, 0] = value
    out = run(compressed, driving, source)
    if np.isnan(value):
        assert np.isnan(out[2:4]).any()
    expected = run(compressed, driving[1:], source[1:])
    np.testing.assert_array_equal(out[4:], expected[2:])


def test_golden(golden):
    data, weights = golden.arrays("warping"), golden.weights
    feature = golden.input("warping/feature_3d", (1, 32, 16, 64, 64), data["feature_3d.head"])[0].numpy()
    names = ("compress.weight", "compress.bias", "norm.weight", "norm.bias", "norm.running_mean")
    keys = {k: v for k, v in golden.keys["W"].items() if k.startswith("dense_motion_network.")}
    prefix = "dense_motion_network."
    wanted = {f"{prefix}{name}": keys[f"{prefix}{name}"] for name in (*names, "norm.running_var")}
    weight, bias, gamma, beta, mean, variance = weights.state_dict("W", wanted).values()
    mixed = np.tensordot(weight[:, :, 0, 0, 0], feature, axes=1)
    per_channel = [a[:, None, None, None] for a in (bias, gamma, beta, mean, variance)]
    bias, gamma, beta, mean, variance = per_channel
    compressed = np.maximum((mixed + bias - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0)
    compressed = np.ascontiguousarray(compressed, np.float32)
    golden.check("warping", "compressed", compressed[None])
    front = run(compressed, data["kp_driving"][0], data["kp_source"][0], threads=2)
    golden.check("warping", "front_end", front[None])


COMPRESSED, DRIVING, SOURCE = case(np.random.default_rng(0), 2, 3, (4, 5, 6))
OUT = np.zeros((12, 4, 5, 6), np.float32)
READ_ONLY = OUT.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("compressed", {"compressed": None}),
        ("compressed", {"compressed": COMPRESSED.astype(np.float64)}),
        ("compressed", {"compressed": COMPRESSED.transpose(0, 3, 2, 1)}),
        ("compressed", {"compressed": COMPRESSED[0]}),
        ("compressed", {"compressed": COMPRESSED[:0]}),
        ("compressed", {"compressed": np.zeros((3, 1, 5, 6), np.float32)}),
        ("compressed", {"compressed": np.zeros((3, 2, 2, 1025), np.float32)}),
        ("kp_driving", {"kp_driving": DRIVING.astype(np.float64)}),
        ("kp_driving", {"kp_driving": DRIVING[:1]}),
        ("kp_driving", {"kp_driving": DRIVING[:, :2]}),
        ("kp_driving", {"kp_driving": np.asfortranarray(DRIVING)}),
        ("kp_source", {"kp_source": SOURCE[None]}),
        ("kp_source", {"kp_source": SOURCE[:, ::-1]}),
        ("out", {"out": OUT.astype(np.float64)}),
        ("out", {"out": OUT[:11]}),
        ("out", {"out": OUT[:0]}),
        ("out", {"out": OUT[..., :5]}),
        ("out", {"out": np.zeros((12, 4, 6, 5), np.float32)}),
        ("out", {"out": READ_ONLY}),
        ("threads", {"threads": 0}),
        ("threads", {"threads": 65}),
    ],
)
def test_bad_arguments_are_named(argument, change):
    arguments = {"compressed": COMPRESSED, "kp_driving": DRIVING, "kp_source": SOURCE, "out": OUT} | change
    with pytest.raises(ValueError, match=rf"^{argument}: [^\n]+$"):
        _kernels.motion_volume(**arguments)


def test_devices(on_device, without_device):
    with pytest.raises(ValueError, match=r"^out: is on the GPU but compressed is not"):
        _kernels.motion_volume(COMPRESSED, DRIVING, SOURCE, on_device(OUT))
    with pytest.raises(ValueError, match=r"^kp_driving: is not on the GPU but compressed is"):
        _kernels.motion_volume(on_device(COMPRESSED), DRIVING, SOURCE, OUT)
    arrays = [on_device(a) for a in (COMPRESSED, DRIVING, SOURCE, OUT)]
    with pytest.raises(without_device, match=r"cudaLaunchKernel\(motion_volume\)|built without CUDA"):
        _kernels.motion_volume(*arrays)
