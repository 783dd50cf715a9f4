"""warp_volume against the plain operations of nets/warping.py in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2c_edge import _kernels
from x2c_edge.nets.warping import WarpingNetwork

pytestmark = pytest.mark.usefixtures("every_variant")

# Sampling positions are good for a few 1e-7 of the volume's side in samples; values are a few units.
TOLERANCE = 4e-5
DEFORMATION_TOLERANCE = 2e-6
HALF = 2.0**-10


def case(rng, keypoints=3, channels=4, size=(5, 9, 12), spread=0.2, contrast=3.0):
    logits = rng.normal(scale=contrast, size=(keypoints + 1, *size)).astype(np.float32)
    driving = rng.uniform(-0.9, 0.9, (keypoints, 3)).astype(np.float32)
    source = driving + rng.normal(scale=spread, size=(keypoints, 3)).astype(np.float32)
    feature = rng.normal(size=(*size, channels)).astype(np.float32)
    return logits, driving, source, feature


def reference(logits, driving, source, feature):
    arrays = (logits, driving, source, np.moveaxis(feature, -1, 0))
    tensors = [torch.from_numpy(np.array(a, np.float64))[None] for a in arrays]
    deformation = WarpingNetwork.deformation(None, *tensors[:3])
    warped = WarpingNetwork.warp(None, tensors[3], deformation)
    return warped[0].numpy(), deformation[0].numpy()


def run(logits, driving, source, feature, dtype=np.float32, threads=1):
    depth, height, width, channels = feature.shape
    out = np.full((channels * depth, height, width), np.nan, dtype)
    deformation = np.full((depth, height, width, 3), np.nan, np.float32)
    _kernels.warp_volume(logits, driving, source, feature, out, deformation=deformation, threads=threads)
    return out, deformation


def check(arrays, threads=1):
    warped, deformation = run(*arrays, threads=threads)
    expected_warped, expected_deformation = reference(*arrays)
    np.testing.assert_allclose(deformation, expected_deformation, atol=DEFORMATION_TOLERANCE, rtol=1e-6)
    np.testing.assert_allclose(warped, expected_warped, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("keypoints", "channels", "size"),
    [
        (21, 32, (16, 32, 32)),
        (1, 1, (2, 2, 2)),
        (3, 5, (3, 7, 13)),
        (4, 33, (7, 33, 6)),
        (2, 3, (2, 5, 130)),
        (0, 8, (4, 5, 6)),
    ],
)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_equals_the_plain_operations(keypoints, channels, size, threads):
    check(case(np.random.default_rng(keypoints), keypoints, channels, size), threads)


@pytest.mark.parametrize("contrast", [0.0, 30.0, 1000.0])
def test_flat_and_one_hot_masks(contrast):
    check(case(np.random.default_rng(1), 5, contrast=contrast))


@pytest.mark.parametrize("spread", [0.0, 2.0, 10.0])
def test_positions_far_outside(spread):
    check(case(np.random.default_rng(2), 2, spread=spread))


def test_infinities_of_the_volume_do_not_leave_it():
    logits, driving, _, feature = case(np.random.default_rng(2), 1)
    logits[1] = 80
    feature[0, 0, 0] = feature[-1, -1, -1] = np.inf
    out, _ = run(logits, driving, driving - 3, feature)
    np.testing.assert_array_equal(out, 0)


def test_a_uniform_mask_without_motion_is_the_stretched_volume():
    """The coordinate grid and the sampling convention do not cancel: docs/spec/liveportrait.md section 1."""
    logits, driving, _, feature = case(np.random.default_rng(3))
    out, deformation = run(logits, driving, driving, feature)
    np.testing.assert_allclose(deformation[0, 0, 0], -1, atol=1e-7)
    np.testing.assert_allclose(out.reshape(4, 5, 9, 12)[:, 0, 0, 0], feature[0, 0, 0] / 8, atol=1e-6)


@pytest.mark.parametrize("types", [(np.float16, np.float32), (np.float32, np.float16), (np.float16,) * 2])
def test_half_precision_storage(types):
    logits, driving, source, feature = case(np.random.default_rng(4), channels=11)
    arrays = logits.astype(types[0]), driving, source, feature.astype(types[1])
    expected, _ = reference(*arrays)
    for dtype, relative in ((np.float16, HALF), (np.float32, 0)):
        out, _ = run(*arrays, dtype, threads=2)
        np.testing.assert_allclose(out, expected, atol=TOLERANCE, rtol=relative)


def test_out_as_a_volume_and_without_deformation():
    arrays = case(np.random.default_rng(5))
    out = np.full((4, 5, 9, 12), np.nan, np.float32)
    _kernels.warp_volume(*arrays, out)
    np.testing.assert_array_equal(out.reshape(20, 9, 12), run(*arrays)[0])


@settings(max_examples=30)
@given(st.data())
def test_random_sizes_and_threads(data):
    side = st.integers(2, 70)
    size = data.draw(st.integers(2, 5)), data.draw(st.integers(2, 9)), data.draw(side)
    seed, threads = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(2, 5))
    keypoints, channels = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 17))
    arrays = case(np.random.default_rng(seed), keypoints, channels, size)
    check(arrays)
    for alone, together in zip(run(*arrays), run(*arrays, threads=threads), strict=True):
        np.testing.assert_array_equal(together, alone)


def test_exponential_of_the_softmax():
    """With one keypoint the deformation shows 1 / (1 + exp(x)) itself, down to exp(-80)."""
    x = np.linspace(-80, 0, 1024, dtype=np.float32)
    logits = np.zeros((2, 2, 2, 1024), np.float32)
    logits[1] = x
    driving, source = np.zeros((1, 3), np.float32), np.array([[0, 2.0**80, 0]], np.float32)
    _, deformation = run(logits, driving, source, np.zeros((2, 2, 1024, 1), np.float32))
    wide = x.astype(np.float64)
    expected = np.exp(wide) / (1 + np.exp(wide)) * 2.0**80
    seen = deformation[0, 0, :, 1].astype(np.float64) + 1  # minus the coordinate grid, which is -1 there
    large = expected > 2.0**30
    assert np.abs(seen / expected - 1)[large].max() < 4e-7


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_logits_are_safe_and_seen(value):
    arrays = case(np.random.default_rng(6))
    before, _ = run(*arrays)
    arrays[0][1, 2, 3, 4] = value
    out, deformation = run(*arrays)
    assert np.isnan(deformation[2, 3, 4]).all()
    voxels = out.reshape(4, 5, 9, 12)
    assert np.isnan(voxels[:, 2, 3, 4]).all()
    voxels[:, 2, 3, 4] = before.reshape(4, 5, 9, 12)[:, 2, 3, 4]
    np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_bad_keypoints_are_safe(value):
    logits, driving, source, feature = case(np.random.default_rng(7))
    driving[1] = value
    out, _ = run(logits, driving, source, feature)
    assert math.isinf(value) or np.isnan(out).all() == np.isnan(value)


LOGITS, DRIVING, SOURCE, FEATURE = case(np.random.default_rng(0), 2, 3, (4, 5, 6))
OUT = np.zeros((12, 5, 6), np.float32)
DEFORMATION = np.zeros((4, 5, 6, 3), np.float32)
READ_ONLY = OUT.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("logits", {"logits": 1.0}),
        ("logits", {"logits": LOGITS.astype(np.float64)}),
        ("logits", {"logits": LOGITS[0]}),
        ("logits", {"logits": LOGITS[..., ::2]}),
        ("logits", {"logits": np.zeros((258, 2, 2, 2), np.float32)}),
        ("logits", {"logits": LOGITS[:, :1]}),
        ("kp_driving", {"kp_driving": DRIVING[:1]}),
        ("kp_driving", {"kp_driving": DRIVING.astype(np.float16)}),
        ("kp_source", {"kp_source": np.asfortranarray(SOURCE)}),
        ("feature", {"feature": np.ascontiguousarray(np.moveaxis(FEATURE, -1, 0))}),
        ("feature", {"feature": np.moveaxis(np.ascontiguousarray(np.moveaxis(FEATURE, -1, 0)), 0, -1)}),
        ("feature", {"feature": FEATURE.astype(np.int16)}),
        ("feature", {"feature": np.zeros((4, 5, 6, 257), np.float32)}),
        ("out", {"out": OUT[:11]}),
        ("out", {"out": OUT.reshape(4, 3, 5, 6)}),
        ("out", {"out": OUT.astype(np.float64)}),
        ("out", {"out": OUT[:, ::-1]}),
        ("out", {"out": READ_ONLY}),
        ("deformation", {"deformation": DEFORMATION.astype(np.float16)}),
        ("deformation", {"deformation": DEFORMATION[0]}),
        ("deformation", {"deformation": DEFORMATION[..., ::-1]}),
        ("threads", {"threads": 65}),
    ],
)
def test_bad_arguments_are_named(argument, change):
    arguments = {
        "logits": LOGITS,
        "kp_driving": DRIVING,
        "kp_source": SOURCE,
        "feature": FEATURE,
        "out": OUT,
    } | change
    with pytest.raises(ValueError, match=rf"^{argument}: [^\n]+$"):
        _kernels.warp_volume(**arguments)


def test_devices(on_device, without_device):
    arrays = LOGITS, DRIVING, SOURCE, FEATURE, OUT
    with pytest.raises(ValueError, match=r"^out: is on the GPU but logits is not"):
        _kernels.warp_volume(*arrays[:4], on_device(OUT))
    with pytest.raises(ValueError, match=r"^deformation: is on the GPU but logits is not"):
        _kernels.warp_volume(*arrays, deformation=on_device(DEFORMATION))
    with pytest.raises(without_device, match=r"cudaLaunchKernel\(warp_volume\)|built without CUDA"):
        _kernels.warp_volume(*map(on_device, arrays))
