"""What strangers may send for a JPEG: the size is the decoder's, the work is bounded, nothing escapes."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from x2c_edge.capture.jpeg import MOST_BYTES, decode_jpeg, decoded, jpeg_is_sensible, jpeg_size


def jpeg(width: int = 64, height: int = 48, *options: int) -> bytes:
    rng = np.random.default_rng(1)
    picture = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (width, height))
    ok, data = cv2.imencode(".jpg", picture, options)
    assert ok
    return data.tobytes()


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def test_a_lone_marker_has_no_length_to_jump_by() -> None:
    """A parser that reads one lands in a comment, on a small picture's header; the decoder does not."""
    real = jpeg(6000, 6000)
    comment = bytearray(65535)
    comment[65538 - 6 :] = b"\xff\x01\x00"  # where that parser lands: a jump on, into the second comment
    small = b"\xff\xc0\x00\x11\x08\x00\x30\x00\x40" + bytes(20)
    second = bytearray(600)
    for at in range(40, 500, len(small)):
        second[at : at + len(small)] = small
    data = b"\xff\xd8\xff\x01\xff\xfe\xff\xff" + bytes(comment[2:]) + b"\xff\xfe\x02\x5a" + second + real[2:]
    assert jpeg_size(data) == (6000, 6000)
    assert not jpeg_is_sensible(data)
    assert decode_jpeg(array(data)) is None


@pytest.mark.parametrize("before", [b"\xff\x01", b"\xff\xd3", b"\xff\xff\xff\x01", b"\xff\xfe\x00\x05abc"])
def test_markers_that_the_decoder_passes_over_hide_nothing(before: bytes) -> None:
    data = jpeg()[:2] + before + jpeg()[2:]
    assert jpeg_size(data) == (64, 48)
    image = decode_jpeg(array(data))
    assert image is not None
    assert image.shape == (48, 64, 3)


@pytest.mark.parametrize(
    "options",
    [
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        (cv2.IMWRITE_JPEG_QUALITY, 100),
    ],
)
def test_every_kind_that_cameras_send_is_read(options: tuple[int, int]) -> None:
    data = jpeg(320, 240, *options)
    assert jpeg_size(data) == (320, 240)
    image = decode_jpeg(array(data))
    assert image is not None
    assert image.shape == (240, 320, 3)


@pytest.mark.parametrize(
    "middle",
    [
        b"\xff" * (MOST_BYTES - 8),
        b"\xff\x01" * (MOST_BYTES // 2 - 4),
        b"\xff\xfe\x00\x02" * (MOST_BYTES // 4 - 4),
        b"\xff\xff\xff\x01" * (MOST_BYTES // 4 - 4),
        bytes(MOST_BYTES - 8),
    ],
    ids=["fill", "lone markers", "empty comments", "fill and markers", "zeros"],
)
def test_the_work_for_one_picture_is_bounded(middle: bytes) -> None:
    """Four megabytes of the dearest bytes cost less than decoding an honest picture does."""
    data = b"\xff\xd8" + middle + b"\xff\xd9"
    honest, hostile = array(jpeg(1280, 720)), array(data)
    costs = {"hostile": float("inf"), "honest": float("inf")}
    for _ in range(15):
        start = time.thread_time()  # what other programs take meanwhile does not count
        assert decode_jpeg(hostile) is None
        costs["hostile"] = min(costs["hostile"], time.thread_time() - start)
        start = time.thread_time()
        assert decode_jpeg(honest) is not None
        costs["honest"] = min(costs["honest"], time.thread_time() - start)
    assert costs["hostile"] < 2 * costs["honest"]


def test_a_picture_of_endless_scans_is_not_decoded() -> None:
    """A scan of ten bytes makes the decoder walk the whole picture once more."""
    data = jpeg(64, 48, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = data.rindex(b"\xff\xda")
    hostile = data[:-2] + data[last:-2] * 5000 + b"\xff\xd9"
    assert jpeg_size(hostile) == (64, 48)
    assert decode_jpeg(array(hostile)) is None
    assert decode_jpeg(array(data)) is not None


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff\xd9", b"P6 99999 99999 255\n", b"\x89PNG\r\n\x1a\n" + bytes(30)]
)
def test_what_no_decoder_takes_is_none_and_no_exception(data: bytes) -> None:
    assert decoded(array(data)) is None
    assert decode_jpeg(array(data)) is None
