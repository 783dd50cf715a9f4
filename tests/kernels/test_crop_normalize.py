"""crop_normalize against its definition in float64 NumPy, for every instruction set this machine has."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import patient
from x2c_edge import _kernels

FORMATS = ("BGR", "RGB", "YUYV", "NV12")
ORDERS = ("RGB", "BGR")

# Allowed error, as a part of full scale (0..255, that is 1 / std in the output). The interpolation's
# fixed-point weights are good for 0.03 of a grey level, and the YUV matrix may triple that: 4e-4. Half
# precision rounds to 2^-11 of the value: 5e-4 more. The contract is 1e-3.
TOLERANCE = 1e-3


@pytest.fixture(params=_kernels.cpu_variants(), autouse=True)
def variant(request):
    before = _kernels.cpu_variant()
    _kernels.set_cpu_variant(request.param)
    yield request.param
    _kernels.set_cpu_variant(before)


def random_frame(rng, pixels, height, width):
    shape = {"YUYV": (height, width, 2), "NV12": (height * 3 // 2, width)}.get(pixels, (height, width, 3))
    return rng.integers(0, 256, shape, dtype=np.uint8)


def planes_of(frame, pixels):
    """(H, W, 3) float64, R G B or Y U V, and what a corner outside the frame counts as."""
    image = frame.astype(np.float64)
    if pixels == "BGR":
        return image[..., ::-1], np.zeros(3)
    if pixels == "RGB":
        return image, np.zeros(3)
    if pixels == "YUYV":
        y = image[..., 0]
        u, v = (np.repeat(image[:, k::2, 1], 2, axis=1) for k in (0, 1))
    else:
        height = frame.shape[0] * 2 // 3
        y = image[:height]
        u, v = (image[height:, k::2].repeat(2, axis=0).repeat(2, axis=1) for k in (0, 1))
    return np.stack([y, u, v], axis=-1), np.array([16.0, 128.0, 128.0])


def reference(frame, affine, size, pixels, order, mean, std, taps=1):
    """The definition: bilinear samples, mean of the taps, then BT.601 and clamp, then normalise."""
    planes, black = planes_of(frame, pixels)
    height, width = planes.shape[:2]
    rows, columns = size
    total = np.zeros((rows, columns, 3))
    offsets = (np.arange(taps) + 0.5) / taps - 0.5
    for dy, dx in itertools.product(offsets, offsets):
        gy, gx = np.mgrid[:rows, :columns].astype(np.float64)
        u, v = np.tensordot(affine, np.stack([gx + dx, gy + dy, np.ones_like(gx)]), axes=1)
        u, v = np.clip(u, -2, width + 1), np.clip(v, -2, height + 1)
        x0, y0 = np.floor(u).astype(int), np.floor(v).astype(int)
        for cy, cx in itertools.product((0, 1), (0, 1)):
            x, y = x0 + cx, y0 + cy
            inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
            corner = np.where(inside[..., None], planes[y.clip(0, height - 1), x.clip(0, width - 1)], black)
            weight = (1 - abs(u - x)) * (1 - abs(v - y))
            total += weight[..., None] * corner
    colour = total / taps**2
    if pixels in ("YUYV", "NV12"):
        y, u, v = np.moveaxis(colour - [16, 128, 128], -1, 0)
        y = y * 255 / 219
        red, blue = y + 1.402 * v * 255 / 224, y + 1.772 * u * 255 / 224
        green = (y - 0.299 * red - 0.114 * blue) / 0.587
        colour = np.stack([red, green, blue], axis=-1).clip(0, 255)
    if order == "BGR":
        colour = colour[..., ::-1]
    return ((colour / 255 - mean) / std).transpose(2, 0, 1)


def run(frame, affine, size, dtype=np.float32, **options):
    out = np.full((3, *size), np.nan, dtype)
    _kernels.crop_normalize(frame, affine, out, **options)
    return out


def check(frame, affine, size, dtype, pixels, order, mean=(0.0,) * 3, std=(1.0,) * 3, taps=1, threads=1):
    options = {"mean": mean, "std": std, "taps": taps}
    out = run(frame, affine, size, dtype, format=pixels, order=order, threads=threads, **options)
    expected = reference(frame, affine, size, pixels, order, **options)
    error = np.abs(out - expected) * np.reshape(std, (3, 1, 1))
    assert error.max() <= TOLERANCE


def affine_about(angle, zoom, size, centre):
    """Output to frame: the output's middle goes to ``centre``, turned and stretched."""
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.array([[c, -s], [s, c]])
    return np.column_stack([linear, np.asarray(centre) - linear @ (np.array(size[::-1]) / 2)])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("pixels", FORMATS)
def test_equals_the_definition(pixels, dtype, order):
    rng = np.random.default_rng(1)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    for _ in range(12):
        height, width = 2 * rng.integers(20, 90, 2)
        size = tuple(rng.integers(1, 150, 2))
        centre = rng.uniform(-0.2, 1.2, 2) * (width, height)
        affine = affine_about(rng.uniform(-4, 4), np.exp(rng.uniform(-2.5, 1.5)), size, centre)
        check(random_frame(rng, pixels, height, width), affine, size, dtype, pixels, order, mean, std)


@pytest.mark.parametrize("pixels", FORMATS)
def test_large_frame_well_inside_and_at_every_edge(pixels):
    rng = np.random.default_rng(2)
    frame = random_frame(rng, pixels, 480, 640)
    for x, y in itertools.product((0, 320, 639), (0, 240, 479)):
        check(frame, affine_about(0.2, 1.6, (130, 131), (x, y)), (130, 131), np.float32, pixels, "RGB")


@pytest.mark.parametrize("pixels", FORMATS)
@pytest.mark.parametrize("mirror", [1, -1])
def test_crops_that_end_with_the_frame(pixels, mirror):
    """Reads of the last pixels must neither leave the frame nor miss them."""
    rng = np.random.default_rng(3)
    for height, width in ((2, 2), (2, 4), (4, 2), (6, 34), (34, 66)):
        frame = random_frame(rng, pixels, height, width)
        for shift in (0.0, -0.3, 0.3, 0.02, -0.02):
            start = shift if mirror > 0 else width - 1 + shift
            affine = np.array([[float(mirror), 0, start], [0, 1.0, shift]])
            check(frame, affine, (height, width), np.float32, pixels, "RGB")


@pytest.mark.parametrize("pixels", ["BGR", "RGB"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (7, 1), (3, 5), (33, 31)])
def test_odd_sizes(pixels, height, width):
    rng = np.random.default_rng(4)
    frame = random_frame(rng, pixels, height, width)
    check(
        frame, affine_about(0.3, 0.7, (17, 19), (width / 2, height / 2)), (17, 19), np.float32, pixels, "BGR"
    )


@pytest.mark.parametrize("pixels", FORMATS)
@pytest.mark.parametrize("taps", [2, 3])
def test_taps_average_evenly_spread_samples(pixels, taps):
    rng = np.random.default_rng(5)
    frame = random_frame(rng, pixels, 120, 160)
    for centre in ((80, 60), (150, 10)):
        affine = affine_about(-0.4, 2.0, (40, 37), centre)
        check(frame, affine, (40, 37), np.float32, pixels, "RGB", (0.5,) * 3, (0.5,) * 3, taps)


@pytest.mark.parametrize("pixels", FORMATS)
@pytest.mark.parametrize("threads", [2, 3, 64])
def test_threads_change_nothing(pixels, threads):
    rng = np.random.default_rng(6)
    frame = random_frame(rng, pixels, 200, 300)
    affine = affine_about(0.5, 2.0, (101, 77), (150, 100))
    alone = run(frame, affine, (101, 77), format=pixels)
    for _ in range(20):
        np.testing.assert_array_equal(run(frame, affine, (101, 77), format=pixels, threads=threads), alone)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("pixels", FORMATS)
@pytest.mark.parametrize(
    "affine",
    [
        [[1, 0, 1e6], [0, 1, 0]],
        [[1e308, 0, 1e308], [0, 1, 0]],
        [[1e308, 1e308, -1e308], [-1e308, 1e308, 1e308]],
        [[-1e308, -1e308, -1e308], [1e-300, 0, 5]],
        [[0, 0, -1.5], [0, 0, 3]],
    ],
)
def test_outside_is_black_and_huge_numbers_are_safe(affine, pixels, dtype):
    frame = np.full_like(random_frame(np.random.default_rng(0), pixels, 8, 8), 255)
    out = run(
        frame, np.array(affine, np.float64), (70, 70), dtype, format=pixels, mean=(0.5,) * 3, std=(0.25,) * 3
    )
    assert np.isfinite(out).all()
    black = np.abs(out - -2.0) <= 1e-3
    assert black.mean() > 0.9


@pytest.mark.parametrize("pixels", FORMATS)
@pytest.mark.parametrize("affine", [[[1e39, 0, 5], [0, 1, 5]], [[1, 0, 5], [1e39, 0, 5]]])
def test_a_single_column_may_have_any_step(affine, pixels):
    frame = random_frame(np.random.default_rng(1), pixels, 64, 64)
    plain = [[1.0, 0, 5], [0, affine[1][1], 5]]
    column = [run(frame, np.array(way, np.float64), (4, 1), format=pixels) for way in (affine, plain)]
    np.testing.assert_array_equal(*column)


def test_yuv_white_grey_and_black_are_exact():
    for luma, expected in ((16, 0.0), (235, 1.0), (0, 0.0), (255, 1.0)):
        frame = np.full((4, 4, 2), 128, np.uint8)
        frame[..., 0] = luma
        out = run(frame, np.array([[1.0, 0, 0], [0, 1, 0]]), (4, 4), format="YUYV")
        np.testing.assert_allclose(out, expected, atol=1e-5)


@settings(max_examples=60)
@given(st.data())
def test_identity_reproduces_the_pixels(data):
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 150))
    pixels, order = data.draw(st.sampled_from(("BGR", "RGB"))), data.draw(st.sampled_from(ORDERS))
    seed, threads = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(1, 3))
    frame = random_frame(np.random.default_rng(seed), pixels, height, width)
    identity = np.array([[1.0, 0, 0], [0, 1, 0]])
    out = run(frame, identity, (height, width), format=pixels, order=order, threads=threads)
    expected = frame if pixels == order else frame[..., ::-1]
    np.testing.assert_array_equal(np.rint(out * 255), expected.transpose(2, 0, 1))
    np.testing.assert_allclose(out, expected.transpose(2, 0, 1) / 255, atol=1e-6)


def test_strided_rows_of_an_output_batch():
    frame = random_frame(np.random.default_rng(7), "BGR", 50, 60)
    batch = np.full((2, 3, 20, 30), np.nan, np.float32)
    affine = affine_about(0.1, 1.0, (20, 30), (30, 25))
    _kernels.crop_normalize(frame, affine, batch[1])
    assert np.isnan(batch[0]).all()
    np.testing.assert_array_equal(batch[1], run(frame, affine, (20, 30)))


FRAME = np.zeros((8, 8, 3), np.uint8)
AFFINE = np.array([[1.0, 0, 0], [0, 1, 0]])
OUT = np.zeros((3, 4, 4), np.float32)
READ_ONLY = OUT.copy()


class OnDevice:
    """An array that says it is on a GPU."""

    def __init__(self, **changes):
        usual = {"shape": (8, 8, 3), "typestr": "|u1", "data": (1, False), "version": 3}
        self.__cuda_array_interface__ = usual | changes


READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("frame", {"frame": None}),
        ("frame", {"frame": FRAME.astype(np.float32)}),
        ("frame", {"frame": FRAME.astype(np.int8)}),
        ("frame", {"frame": FRAME[..., 0]}),
        ("frame", {"frame": np.zeros((8, 8, 4), np.uint8)}),
        ("frame", {"frame": FRAME[:, ::2]}),
        ("frame", {"frame": np.zeros((0, 8, 3), np.uint8)}),
        ("frame", {"frame": np.zeros((8, 0, 3), np.uint8)}),
        ("frame", {"frame": np.uint8(1)}),
        ("frame", {"frame": np.zeros((8, 7, 2), np.uint8), "format": "YUYV"}),
        ("frame", {"format": "YUYV"}),
        ("frame", {"format": "NV12"}),
        ("frame", {"frame": np.zeros((10, 8), np.uint8), "format": "NV12"}),
        ("frame", {"frame": np.zeros((9, 7), np.uint8), "format": "NV12"}),
        ("affine", {"affine": [[1, 0, 0], [0, 1, 0]]}),
        ("affine", {"affine": AFFINE.astype(np.float32)}),
        ("affine", {"affine": AFFINE.astype(">f8")}),
        ("affine", {"affine": np.eye(3)}),
        ("affine", {"affine": AFFINE.T}),
        ("affine", {"affine": np.where(AFFINE == 1, np.nan, AFFINE)}),
        ("affine", {"affine": np.where(AFFINE == 1, np.inf, AFFINE)}),
        ("out", {"out": OUT.astype(np.float64)}),
        ("out", {"out": OUT[:2]}),
        ("out", {"out": OUT[0]}),
        ("out", {"out": OUT.transpose(0, 2, 1)[:, ::2]}),
        ("out", {"out": READ_ONLY}),
        ("format", {"format": "GREY"}),
        ("order", {"order": "GBR"}),
        ("mean", {"mean": (0, 0)}),
        ("mean", {"mean": 0.5}),
        ("mean", {"mean": (0, 0, float("nan"))}),
        ("mean", {"mean": np.array(0.5)}),
        ("mean", {"mean": (0, 1e300, 0)}),
        ("std", {"std": (1, 1, 0)}),
        ("std", {"std": (1e-42, 1, 1)}),
        ("frame", {"frame": OnDevice(data=None)}),
        ("frame", {"frame": OnDevice(shape=None)}),
        ("frame", {"frame": OnDevice(typestr="|u", strides=(24, 3, 1))}),
        ("frame", {"frame": OnDevice(strides=(3,))}),
        ("std", {"std": "abc"}),
        ("taps", {"taps": -1}),
        ("taps", {"taps": 17}),
        ("threads", {"threads": 0}),
        ("threads", {"threads": 65}),
    ],
)
def test_bad_arguments_are_named(argument, change):
    arguments = {"frame": FRAME, "affine": AFFINE, "out": OUT} | change
    with pytest.raises(ValueError, match=rf"^{argument}: [^\n]+$"):
        _kernels.crop_normalize(**arguments)


def test_empty_output_is_fine():
    _kernels.crop_normalize(FRAME, AFFINE, np.zeros((3, 0, 5), np.float32))


def test_calls_from_several_python_threads_agree():
    rng = np.random.default_rng(8)
    frame = random_frame(rng, "NV12", 240, 320)
    affines = [affine_about(a, 2.0, (96, 96), (160, 120)) for a in (0.0, 0.5, 1.0, 1.5)]
    alone = [run(frame, affine, (96, 96), format="NV12") for affine in affines]

    def work(k):
        return all(
            np.array_equal(run(frame, affines[k], (96, 96), format="NV12", threads=1 + k), alone[k])
            for _ in range(100)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_after_fork_and_at_exit():
    """A forked child has none of its parent's helper threads; neither process hangs at its end."""
    script = textwrap.dedent(
        """
        import os, warnings
        import numpy as np
        from x2c_edge import _kernels
        warnings.simplefilter("ignore", DeprecationWarning)
        frame, affine = np.full((64, 64, 3), 51, np.uint8), np.array([[1.0, 0, 0], [0, 1, 0]])

        def crop():
            out = np.full((3, 64, 64), np.nan, np.float32)
            _kernels.crop_normalize(frame, affine, out, threads=4)
            return bool(np.allclose(out, 0.2))

        assert crop()
        child = os.fork()
        ok = crop()
        if child == 0:
            os._exit(0 if ok else 1)
        assert ok and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        """
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=patient(60))


def test_a_thread_that_is_inside_at_the_end_does_not_end_the_process():
    script = textwrap.dedent(
        """
        import threading, time
        import numpy as np
        from x2c_edge import _kernels
        inside = threading.Event()

        def work():
            volume, points = np.zeros((8, 16, 64, 64), np.float32), np.zeros((4, 3), np.float32)
            out = np.zeros((45, 16, 64, 64), np.float32)
            while True:
                _kernels.motion_volume(volume, points, points, out)
                inside.set()

        threading.Thread(target=work, daemon=True).start()
        inside.wait()
        """
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", script], check=True, timeout=patient(60))


def test_cuda_questions_never_fail():
    assert isinstance(_kernels.cuda_built(), bool)
    assert _kernels.cuda_device_count() >= 0


class DeviceArray:
    """An array that says it is on a GPU; nothing may read it."""

    def __init__(self, array):
        self.__cuda_array_interface__ = dict(array.__array_interface__, version=3)


def test_arrays_on_different_devices_are_refused():
    with pytest.raises(ValueError, match=r"^out: is on the GPU"):
        _kernels.crop_normalize(FRAME, AFFINE, DeviceArray(OUT))
    with pytest.raises(ValueError, match=r"^affine: is on the GPU"):
        _kernels.crop_normalize(FRAME, DeviceArray(AFFINE), OUT)
    with pytest.raises(ValueError, match=r"^out: is not on the GPU"):
        _kernels.crop_normalize(DeviceArray(FRAME), AFFINE, OUT)


def test_without_a_device_the_error_is_python_s():
    if _kernels.cuda_device_count() > 0:
        pytest.skip("there is a device")
    error = RuntimeError if _kernels.cuda_built() else ValueError
    with pytest.raises(error, match=r"cudaLaunchKernel|built without CUDA"):
        _kernels.crop_normalize(DeviceArray(FRAME), AFFINE, DeviceArray(OUT))


def test_a_refused_array_is_let_go():
    frame = np.zeros((1,) * 9, np.uint8)
    before = sys.getrefcount(frame)
    for _ in range(5):
        with pytest.raises(ValueError, match="frame: has too many dimensions"):
            _kernels.crop_normalize(
                frame, np.eye(2, 3), np.zeros((3, 8, 8), np.float32), format="BGR", order="RGB"
            )
    assert sys.getrefcount(frame) == before
