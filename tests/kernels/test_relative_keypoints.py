"""relative_keypoints and stitch_keypoints against nets/keypoints.py in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x2c_edge import _kernels
from x2c_edge.nets import keypoints
from x2c_edge.nets.keypoints import Motion

TOLERANCE = 2e-6  # of values around 1


def flat(*parts):
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float32)


def motion_row(motion):
    return flat(motion.rotation, motion.exp, motion.t, motion.scale)


def source_row(motion):
    return flat(motion_row(motion), motion.kp, keypoints.transformed(motion))


def reference_row(motion, x, multiplier=1.0):
    return flat(motion_row(motion), x, multiplier)


def heads_of(rng, count=21, bins=66, angle=30.0):
    """Random heads as M gives them, float32; with one bin the angles are degrees."""
    shape = (1, bins)
    angles = rng.normal(scale=2.0, size=(3, *shape)) if bins > 1 else rng.uniform(-angle, angle, (3, 1, 1))
    heads = {
        "pitch": angles[0],
        "yaw": angles[1],
        "roll": angles[2],
        "t": rng.normal(scale=0.1, size=(1, 3)),
        "exp": rng.normal(scale=0.05, size=(1, 3 * count)),
        "scale": rng.uniform(0.8, 1.6, (1, 1)),
        "kp": rng.normal(scale=0.4, size=(1, 3 * count)),
    }
    return {name: value.astype(np.float32) for name, value in heads.items()}


def motion_of(heads):
    wide = {name: value.astype(np.float64) for name, value in heads.items()}
    motion = keypoints.motion_from_heads(**wide)
    return Motion(motion.kp[0], motion.exp[0], motion.rotation[0], motion.t[0], motion.scale[0])


def run(heads, source, reference, with_motion=False):
    count = heads["exp"].size // 3
    out = np.full((count, 3), np.nan, np.float32)
    motion = np.full(3 * count + 13, np.nan, np.float32) if with_motion else None
    arguments = [heads[name] for name in ("pitch", "yaw", "roll", "t", "exp", "scale")]
    _kernels.relative_keypoints(*arguments, source, reference, out, motion=motion)
    return (out, motion) if with_motion else out


@pytest.mark.parametrize("bins", [66, 1, 7])
@pytest.mark.parametrize("count", [1, 5, 21, 68])
def test_equals_the_plain_formula(count, bins):
    rng = np.random.default_rng(count)
    for _ in range(5):
        source, reference = (motion_of(heads_of(rng, count, bins)) for _ in range(2))
        heads = heads_of(rng, count, bins)
        current = motion_of(heads)
        x_source = keypoints.transformed(source)
        x_reference = keypoints.transformed(keypoints.relative_motion(source, reference, reference))
        x_reference += rng.normal(scale=0.1, size=x_reference.shape)  # it may come from elsewhere
        multiplier = rng.uniform(0.5, 2)
        moved = keypoints.transformed(keypoints.relative_motion(source, current, reference))
        expected = keypoints.driving_keypoints(x_source, moved, x_reference, multiplier)
        row = reference_row(reference, x_reference, multiplier)
        out, motion = run(heads, source_row(source), row, with_motion=True)
        np.testing.assert_allclose(out, expected, atol=2 * TOLERANCE, rtol=1e-6)
        np.testing.assert_allclose(motion, motion_row(current), atol=TOLERANCE, rtol=0)


def test_large_logits():
    heads = heads_of(np.random.default_rng(0))
    for name, peak in (("pitch", 0), ("yaw", 65), ("roll", 30)):
        heads[name][:] = -3e38
        heads[name][0, peak] = 3e38
    current = motion_of(
        heads | {n: np.array([[d]]) for n, d in (("pitch", -97.5), ("yaw", 97.5), ("roll", -7.5))}
    )
    source = motion_of(heads_of(np.random.default_rng(1)))
    row = reference_row(source, keypoints.transformed(source))
    _, motion = run(heads, source_row(source), row, with_motion=True)
    np.testing.assert_allclose(motion, motion_row(current), atol=TOLERANCE, rtol=0)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0.3, 3))
def test_identity_motion_gives_the_source_keypoints(seed, count, multiplier):
    rng = np.random.default_rng(seed)
    source, heads = motion_of(heads_of(rng, count)), heads_of(rng, count)
    x = keypoints.transformed(source)
    out = run(heads, source_row(source), reference_row(motion_of(heads), x, multiplier))
    np.testing.assert_allclose(out, x, atol=4 * TOLERANCE, rtol=0)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_there_and_back_is_the_identity(seed, count):
    """The source moved from a to b, and then from b to a, is where it was."""
    rng = np.random.default_rng(seed)
    source = motion_of(heads_of(rng, count, bins=1))
    heads_a, heads_b = heads_of(rng, count, bins=1), heads_of(rng, count, bins=1)
    a, b = motion_of(heads_a), motion_of(heads_b)
    x = keypoints.transformed(source)
    there = keypoints.relative_motion(source, b, a)
    x_there = run(heads_b, source_row(source), reference_row(a, x))
    np.testing.assert_allclose(x_there, keypoints.transformed(there), atol=6 * TOLERANCE, rtol=0)
    back = run(heads_a, source_row(there), reference_row(b, x_there))
    np.testing.assert_allclose(back, x, atol=12 * TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", ["image", "synthetic"])
def test_golden_relative_motion(golden, kind):
    names = ("pitch", "yaw", "roll", "t", "exp", "scale", "kp")
    if kind == "image":
        data = golden.arrays("motion_extractor")
        rows = {name: data[name] for name in names}
    else:
        data = golden.arrays("relative_motion")
        rows = {name: data[f"synthetic_{name}"].reshape(4, -1) for name in names}
    source, *frames = ({name: value[i : i + 1] for name, value in rows.items()} for i in range(4))
    source, reference = motion_of(source), motion_of(frames[0])
    x_source = keypoints.transformed(source)
    x_reference = keypoints.transformed(keypoints.relative_motion(source, reference, reference))
    multiplier = keypoints.motion_multiplier(x_source, x_reference)
    row = reference_row(reference, x_reference, multiplier)
    out = np.stack([run(heads, source_row(source), row) for heads in frames])
    golden.check("relative_motion", f"{kind}_x_scaled", out)


def test_golden_keypoints(golden):
    """Eq. 5 itself: the relative formula with a reference that changes nothing."""
    data = golden.arrays("motion_extractor")
    rotation, x = golden.arrays("keypoints")["rotation"], []
    for i in range(4):
        heads = {name: value[i : i + 1] for name, value in data.items() if name != "feature"}
        current = motion_of(heads)
        zero = Motion(current.kp, np.zeros((21, 3)), np.eye(3), np.zeros(3), np.ones(1))
        source = flat(motion_row(zero), current.kp, np.zeros((21, 3)))
        out, motion = run(heads, source, reference_row(zero, np.zeros((21, 3))), with_motion=True)
        x.append(out)
        golden.within("keypoints/rotation", np.abs(motion[:9].reshape(3, 3) - rotation[i]).max())
    golden.check("keypoints", "x", np.stack(x))


def test_golden_stitching(golden):
    data = golden.arrays("stitching")
    out = np.full_like(data["kp_driving"], np.nan)
    for i, driving in enumerate(data["kp_driving"]):
        _kernels.stitch_keypoints(driving, data["delta"][i], out[i])
    golden.check("stitching", "kp_out", out)


@pytest.mark.parametrize("count", [1, 4, 21])
def test_stitching_in_place_and_in_the_pair(count):
    rng = np.random.default_rng(count)
    pair = rng.normal(size=(1, 2, count, 3)).astype(np.float32)  # the stitching network's input
    delta = rng.normal(size=(1, 3 * count + 2)).astype(np.float32)
    expected = keypoints.stitched(pair[0, 1].astype(np.float64), delta[0].astype(np.float64))
    before = pair[0, 0].copy()
    _kernels.stitch_keypoints(pair[0, 1], delta, pair[0, 1])
    np.testing.assert_allclose(pair[0, 1], expected, atol=1e-6)
    np.testing.assert_array_equal(pair[0, 0], before)


HEADS = heads_of(np.random.default_rng(0), 2)
GOOD = {name: value for name, value in HEADS.items() if name != "kp"} | {
    "source": np.ones(31, np.float32),
    "reference": np.ones(26, np.float32),
    "out": np.zeros((2, 3), np.float32),
    "motion": np.zeros(19, np.float32),
}
READ_ONLY = np.zeros((2, 3), np.float32)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("pitch", {"pitch": GOOD["pitch"].astype(np.float64)}),
        ("pitch", {"pitch": np.zeros((1, 0), np.float32)}),
        ("yaw", {"yaw": GOOD["yaw"][:, :65]}),
        ("roll", {"roll": np.repeat(GOOD["roll"], 2, axis=1)[:, ::2]}),
        ("t", {"t": np.zeros(4, np.float32)}),
        ("exp", {"exp": np.zeros(7, np.float32)}),
        ("exp", {"exp": np.zeros(0, np.float32)}),
        ("scale", {"scale": np.zeros(2, np.float32)}),
        ("source", {"source": np.zeros(30, np.float32)}),
        ("source", {"source": [1.0]}),
        ("reference", {"reference": np.zeros(27, np.float32)}),
        ("out", {"out": np.zeros((3, 3), np.float32)}),
        ("out", {"out": np.zeros((2, 3), np.float16)}),
        ("out", {"out": READ_ONLY}),
        ("motion", {"motion": np.zeros(18, np.float32)}),
    ],
)
def test_bad_arguments_are_named(argument, change):
    with pytest.raises(ValueError, match=rf"^{argument}: [^\n]+$"):
        _kernels.relative_keypoints(**(GOOD | change))


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("driving", {"driving": np.zeros(7, np.float32)}),
        ("driving", {"driving": np.zeros((2, 6), np.float32)[:, ::2]}),
        ("delta", {"delta": np.zeros(6, np.float32)}),
        ("out", {"out": np.zeros(6)}),
        ("out", {"out": READ_ONLY}),
    ],
)
def test_bad_stitching_arguments_are_named(argument, change):
    good = {
        "driving": np.zeros((2, 3), np.float32),
        "delta": np.zeros(8, np.float32),
        "out": np.zeros(6, np.float32),
    }
    _kernels.stitch_keypoints(**good)
    with pytest.raises(ValueError, match=rf"^{argument}: [^\n]+$"):
        _kernels.stitch_keypoints(**(good | change))


def test_devices(on_device, without_device):
    for name in ("out", "motion", "source"):
        with pytest.raises(ValueError, match=rf"^{name}: is on the GPU but pitch is not"):
            _kernels.relative_keypoints(**(GOOD | {name: on_device(GOOD[name])}))
    arrays = {name: on_device(value) for name, value in GOOD.items()}
    with pytest.raises(without_device, match=r"cudaLaunchKernel\(relative_keypoints\)|built without CUDA"):
        _kernels.relative_keypoints(**arrays)
    pair = [on_device(np.zeros(n, np.float32)) for n in (6, 8, 6)]
    with pytest.raises(without_device, match=r"cudaLaunchKernel\(stitch_keypoints\)|built without CUDA"):
        _kernels.stitch_keypoints(*pair)
