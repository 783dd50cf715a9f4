"""Every instruction set that is written by hand against the plain loops, and both where a bit could slip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from x2c_edge import _kernels

BY_HAND = [name for name in _kernels.cpu_variants() if name != "baseline"]

# The fixed-point weights are good for 0.03 of a grey level, and the YUV matrix may triple that.
GREY_LEVELS = {"BGR": 0.04, "YUYV": 0.1, "NV12": 0.1}
FRACTIONS = (0.0, 2.0**-16, 2.0**-15, 0.25, 0.5, 1 - 2.0**-14, 1 - 2.0**-15, 1 - 2.0**-16)


def both(variant: str, compute: Callable[[], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What ``compute`` makes with the variant, and with the plain loops."""
    before, made = _kernels.cpu_variant(), []
    try:
        for name in (variant, "baseline"):
            _kernels.set_cpu_variant(name)
            made.append(compute())
    finally:
        _kernels.set_cpu_variant(before)
    return made[0], made[1]


def sharp_frame(pixels: str, height: int, width: int) -> np.ndarray:
    """Bytes of 0 and 255 alone: the error of a weight is nowhere greater."""
    shape = {"YUYV": (height, width, 2), "NV12": (height * 3 // 2, width)}.get(pixels, (height, width, 3))
    return np.random.default_rng(7).choice(np.array([0, 255], np.uint8), shape)


def crop(frame: np.ndarray, affine: list[list[float]], size: tuple[int, int], **options: object):
    out = np.full((3, *size), np.nan, np.float32)
    _kernels.crop_normalize(frame, np.array(affine, float), out, **options)
    return out * 255


@pytest.mark.parametrize("variant", BY_HAND)
@pytest.mark.parametrize("taps", [1, 2])
@pytest.mark.parametrize("pixels", GREY_LEVELS)
def test_crops_agree(variant: str, pixels: str, taps: int) -> None:
    frame = sharp_frame(pixels, 96, 128)
    for width in (1, 2, 3, 4, 5, 7, 131):  # of the crop: whole vectors, and what is left over
        affine = [[60 / width, 0.31, 20.3], [0.07, 1.3, 8.6]]
        hand, plain = both(
            variant, lambda a=affine, w=width: crop(frame, a, (37, w), format=pixels, order="RGB", taps=taps)
        )
        np.testing.assert_allclose(hand, plain, atol=GREY_LEVELS[pixels], rtol=0)


@pytest.mark.parametrize("variant", BY_HAND)
@pytest.mark.parametrize("pixels", GREY_LEVELS)
def test_no_weight_wraps_round(variant: str, pixels: str) -> None:
    """Beside a whole pixel, where a rounded weight is 0 or one step off it."""
    frame = sharp_frame(pixels, 34, 66)
    for right in FRACTIONS:
        for down in FRACTIONS:
            affine = [[1.0, 0, 3 + right], [0, 1.0, 4 + down]]
            hand, plain = both(variant, lambda a=affine: crop(frame, a, (20, 50), format=pixels))
            np.testing.assert_allclose(hand, plain, atol=GREY_LEVELS[pixels], rtol=0)


# Of a picture whose every pixel has a weight of exactly one, and whose rows are no whole number of vectors.
SIDES = (3, 256, 263)


def through_mapping(image: np.ndarray, dtype: type) -> np.ndarray:
    """The image as it is, through a kernel that reads and writes both precisions."""
    out = np.empty(image.shape, dtype)
    _kernels.face_to_mapping(image, out, resize="area", order="RGB")
    return out


@pytest.mark.parametrize("variant", _kernels.cpu_variants())
def test_every_half_is_read_and_written_as_it_is(variant: str) -> None:
    halves = np.resize(np.arange(2**16, dtype=np.uint16), SIDES).view(np.float16)
    read, _ = both(variant, lambda: through_mapping(halves, np.float32))
    written, _ = both(variant, lambda: through_mapping(halves, np.float16))
    np.testing.assert_array_equal(read, halves.astype(np.float32))
    np.testing.assert_array_equal(written, halves)


@pytest.mark.parametrize("variant", _kernels.cpu_variants())
def test_the_nearest_half_is_written(variant: str) -> None:
    """At every value half-way between two halves, and one float to either side of it."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves + np.append(halves[1:], np.float32(65536))) / 2
    values = np.concatenate([np.nextafter(between, np.float32(0)), between, np.nextafter(between, np.inf)])
    values = np.concatenate([values, -values, [np.inf, -np.inf, np.nan]]).astype(np.float32)
    image = np.resize(values, SIDES)
    written, _ = both(variant, lambda: through_mapping(image, np.float16))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(written, image.astype(np.float16))


def keypoints(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of three points: driving, source."""
    driving = rng.uniform(-0.9, 0.9, (3, 3))
    return driving.astype(np.float32), (driving + rng.normal(scale=0.2, size=(3, 3))).astype(np.float32)


# In half precision one bit at the end, which a difference of one float may turn.
@pytest.mark.parametrize("variant", BY_HAND)
@pytest.mark.parametrize(("dtype", "step"), [(np.float32, 4e-5), (np.float16, 2e-3)])
@pytest.mark.parametrize("channels", [1, 3, 4, 7, 32])
@pytest.mark.parametrize("width", [2, 3, 4, 6, 9, 66])
def test_warped_volumes_agree(variant: str, dtype: type, step: float, channels: int, width: int) -> None:
    rng = np.random.default_rng(channels)
    logits = rng.normal(scale=3, size=(4, 3, 5, width)).astype(dtype)
    feature = rng.normal(size=(3, 5, width, channels)).astype(dtype)
    driving, source = keypoints(rng)

    def warp() -> np.ndarray:
        out = np.full((channels * 3, 5, width), np.nan, dtype)
        _kernels.warp_volume(logits, driving, source, feature, out)
        return out

    np.testing.assert_allclose(*both(variant, warp), atol=step, rtol=0)


@pytest.mark.parametrize("variant", BY_HAND)
@pytest.mark.parametrize(("dtype", "step"), [(np.float32, 4e-5), (np.float16, 2e-3)])
@pytest.mark.parametrize("width", [2, 3, 8, 9, 35])
def test_motion_volumes_agree(variant: str, dtype: type, step: float, width: int) -> None:
    rng = np.random.default_rng(5)
    compressed = rng.normal(size=(2, 4, 6, width)).astype(dtype)
    driving, source = keypoints(rng)

    def move() -> np.ndarray:
        out = np.full((4 * 3, 4, 6, width), np.nan, dtype)
        _kernels.motion_volume(compressed, driving, source, out)
        return out

    np.testing.assert_allclose(*both(variant, move), atol=step, rtol=0)
