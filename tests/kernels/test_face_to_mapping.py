"""face_to_mapping against its definition in float64, OpenCV and PyTorch."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from x2c_edge import _kernels

pytestmark = pytest.mark.usefixtures("every_variant")

TOLERANCE = 1e-6  # of full scale
HALF = 2.0**-10
MEAN, STD = (0.4885, 0.4294, 0.3233), (0.1382, 0.1195, 0.1087)


def weights(kind, size, out):
    """(out, size): how much each input sample counts for each output sample, from the definition."""
    ratio = size / out
    centres = (np.arange(out)[:, None] + 0.5) * ratio
    samples = np.arange(size)[None] + 0.5
    if kind == "area":
        low = np.maximum(centres - ratio / 2, samples - 0.5)
        high = np.minimum(centres + ratio / 2, samples + 0.5)
        table = np.maximum(high - low, 0)
    else:
        table = np.maximum(1 - np.abs(samples - centres) / max(ratio, 1), 0)
    return table / table.sum(axis=1, keepdims=True)


def reference(image, size, kind, order="RGB", mean=(0.0,) * 3, std=(1.0,) * 3):
    image = image.astype(np.float64)
    rows, columns = weights(kind, image.shape[1], size[0]), weights(kind, image.shape[2], size[1])
    small = np.einsum("cij,yi,xj->cyx", image, rows, columns, optimize=True)
    small = small if order == "RGB" else small[::-1]
    return (small - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))


def run(image, size, dtype=np.float32, **options):
    out = np.full((3, *size), np.nan, dtype)
    _kernels.face_to_mapping(image, out, **options)
    return out


def picture(rng, height, width):
    return rng.uniform(0, 1, (3, height, width)).astype(np.float32)


SIZES = [
    ((512, 512), (224, 224)),
    ((448, 448), (224, 224)),
    ((256, 192), (224, 100)),
    ((64, 64), (224, 224)),
    ((1, 1), (5, 3)),
    ((7, 301), (1, 1)),
    ((33, 31), (33, 31)),
    ((37, 20), (11, 53)),
]


@pytest.mark.parametrize("kind", ["area", "bilinear"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize(("size", "out"), SIZES)
def test_equals_the_definition(kind, order, size, out):
    image = picture(np.random.default_rng(1), *size)
    options = {"order": order, "mean": MEAN, "std": STD}
    got = run(image, out, resize=kind, threads=2, **options)
    error = np.abs(got - reference(image, out, kind, **options)) * np.reshape(STD, (3, 1, 1))
    assert error.max() <= TOLERANCE


@settings(max_examples=60)
@given(st.data())
def test_random_sizes_and_threads(data):
    side = st.integers(1, 90)
    size, out = (data.draw(side), data.draw(side)), (data.draw(side), data.draw(side))
    kind = data.draw(st.sampled_from(["area", "bilinear"]))
    seed, threads = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(2, 5))
    image = picture(np.random.default_rng(seed), *size)
    alone = run(image, out, resize=kind, order="RGB")
    np.testing.assert_allclose(alone, reference(image, out, kind), atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(run(image, out, resize=kind, order="RGB", threads=threads), alone)


@pytest.mark.parametrize(
    ("size", "out"), [((512, 512), (224, 224)), ((448, 672), (224, 224)), ((300, 417), (224, 224))]
)
def test_area_is_opencv_s(size, out):
    image = picture(np.random.default_rng(2), *size)
    expected = cv2.resize(image.transpose(1, 2, 0), out[::-1], interpolation=cv2.INTER_AREA)
    # OpenCV leaves slivers of less than a thousandth of a pixel out.
    np.testing.assert_allclose(run(image, out, order="RGB"), expected.transpose(2, 0, 1), atol=1e-3)
    if size == (512, 512):
        np.testing.assert_allclose(run(image, out, order="RGB"), expected.transpose(2, 0, 1), atol=TOLERANCE)


@pytest.mark.parametrize(("size", "out"), SIZES)
def test_bilinear_is_pytorch_s(size, out):
    image = picture(np.random.default_rng(3), *size)
    expected = F.interpolate(
        torch.from_numpy(image).double()[None], out, mode="bilinear", align_corners=False, antialias=True
    )[0].numpy()
    got = run(image, out, resize="bilinear", order="RGB")
    np.testing.assert_allclose(got, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", ["area", "bilinear"])
@pytest.mark.parametrize("input_type", [np.float16, np.float32])
def test_half_precision_storage(kind, input_type):
    image = picture(np.random.default_rng(4), 61, 75).astype(input_type)
    expected = reference(image, (30, 29), kind)
    for dtype, relative in ((np.float16, HALF), (np.float32, 0)):
        got = run(image, (30, 29), dtype, resize=kind, order="RGB", threads=2)
        np.testing.assert_allclose(got, expected, atol=TOLERANCE, rtol=relative)


def test_largest_sides():
    image = np.full((3, 2, 2048), 0.25, np.float32)
    for kind in ("area", "bilinear"):
        np.testing.assert_allclose(run(image, (2, 2048), resize=kind), 0.25, atol=TOLERANCE)
        np.testing.assert_allclose(run(image, (2048, 1), resize=kind), 0.25, atol=TOLERANCE)
        np.testing.assert_allclose(run(image[..., :1].copy(), (1, 2048), resize=kind), 0.25, atol=TOLERANCE)


def test_golden_area(golden):
    data = golden.arrays("end_to_end")
    small = []
    for rgb in data["image_rgb"]:
        image = np.ascontiguousarray(rgb.transpose(2, 0, 1) / np.float32(255))
        small.append(np.rint(run(image, (224, 224)) * 255).transpose(1, 2, 0))
    golden.check_bytes("end_to_end", "bgr224", np.stack(small), data["bgr224"])


IMAGE, OUT = np.zeros((3, 8, 9), np.float32), np.zeros((3, 4, 5), np.float32)
READ_ONLY = OUT.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("image", {"image": None}),
        ("image", {"image": IMAGE.astype(np.uint8)}),
        ("image", {"image": IMAGE[:2]}),
        ("image", {"image": IMAGE[0]}),
        ("image", {"image": IMAGE[:, ::2]}),
        ("image", {"image": IMAGE.transpose(0, 2, 1)}),
        ("image", {"image": np.zeros((3, 0, 4), np.float32)}),
        ("image", {"image": np.zeros((3, 1, 2049), np.float32)}),
        ("out", {"out": OUT.astype(np.float64)}),
        ("out", {"out": OUT[:, :0]}),
        ("out", {"out": OUT[..., ::-1]}),
        ("out", {"out": READ_ONLY}),
        ("resize", {"resize": "cubic"}),
        ("order", {"order": "GBR"}),
        ("mean", {"mean": (0, 0)}),
        ("std", {"std": (1, 0, 1)}),
        ("threads", {"threads": 0}),
    ],
)
def test_bad_arguments_are_named(argument, change):
    with pytest.raises(ValueError, match=rf"^{argument}: [^\n]+$"):
        _kernels.face_to_mapping(**({"image": IMAGE, "out": OUT} | change))


def test_devices(on_device, without_device):
    with pytest.raises(ValueError, match=r"^out: is on the GPU but image is not"):
        _kernels.face_to_mapping(IMAGE, on_device(OUT))
    with pytest.raises(without_device, match=r"cudaLaunchKernel\(face_to_mapping\)|built without CUDA"):
        _kernels.face_to_mapping(on_device(IMAGE), on_device(OUT))
