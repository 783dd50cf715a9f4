from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.capture.base import EndOfStream
from x2c_edge.capture.images import eight_bit, image_folder, natural_order, read_image
from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.errors import NotFoundError


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def save(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (47, 33)])
def test_bgr_is_taken_as_it_is(tmp_path: Path, size: tuple[int, int]):
    image = picture(*size)
    assert np.array_equal(read_image(save(tmp_path / "a.png", image)), image)


def test_grayscale_becomes_three_equal_channels(tmp_path: Path):
    gray = picture(16, 20)[..., 0]
    got = read_image(save(tmp_path / "a.png", gray))
    assert got.shape == (16, 20, 3)
    assert all(np.array_equal(got[..., c], gray) for c in range(3))


def test_alpha_is_left_out(tmp_path: Path):
    image = picture(16, 20, 4)
    assert np.array_equal(read_image(save(tmp_path / "a.png", image)), image[..., :3])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_is_scaled_from_its_full_range(tmp_path: Path, channels: int, suffix: str):
    image = picture(16, 20, channels)
    wide = image.astype(np.uint16) * 257
    got = read_image(save(tmp_path / f"a.{suffix}", wide if channels > 1 else wide[..., 0]))
    assert got.dtype == np.uint8
    assert np.array_equal(got, image[..., :3] if channels > 1 else np.repeat(image, 3, axis=2))


@given(st.integers(0, 65535))
def test_sixteen_bit_rounds_to_nearest(value: int):
    assert abs(int(eight_bit(np.array([[value]], np.uint16))[0, 0]) - value / 257) <= 0.5


def test_float_samples_span_zero_to_one():
    values = np.array([[0.0, 0.5, 1.0, 2.0, -1.0, np.nan, np.inf]], np.float32)
    assert eight_bit(values).tolist() == [[0, 128, 255, 255, 0, 0, 255]]


def test_other_sample_types_are_refused():
    with pytest.raises(ValueError, match="int32"):
        eight_bit(np.zeros((2, 2), np.int32))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff"])
def test_damaged_image_is_refused_by_name(tmp_path: Path, suffix: str):
    path = save(tmp_path / f"broken.{suffix}", picture(64, 64))
    path.write_bytes(path.read_bytes()[:200])
    source = open_source(SourceSpec(input=str(path)))
    with pytest.raises(NotFoundError, match=rf"broken\.{suffix} is truncated, damaged") as caught:
        source.read(1.0)
    assert "\n" not in str(caught.value)
    assert source.status().state == "ended"
    assert source.status().last_error == str(caught.value)


def test_a_single_image_is_looked_at_for_two_seconds(tmp_path: Path):
    image = picture(16, 16)
    source = open_source(SourceSpec(input=str(save(tmp_path / "a.png", image))))
    frames = [source.read(1.0) for _ in range(60)]
    assert (frames[0].seq, frames[0].t_capture_ns, frames[0].format) == (0, 0, "BGR")
    assert (frames[59].seq, frames[59].t_capture_ns) == (59, round(59e9 / 30))
    assert np.array_equal(frames[0].image, image)
    assert all(frame.image is frames[0].image for frame in frames)
    with pytest.raises(EndOfStream):
        source.read(1.0)
    assert source.status().state == "ended"


@pytest.mark.parametrize(
    ("names", "film"),
    [
        (["f1", "f2", "f3"], True),
        (["f007", "f008"], True),
        (["f1", "f3"], False),
        (["anna", "ben"], False),
        (["f1", "g2"], False),
        (["1"], False),
    ],
    ids=str,
)
def test_numbered_frames_are_a_film_and_other_pictures_are_not(tmp_path: Path, names, film: bool):
    for name in names:
        save(tmp_path / f"{name}.png", picture(4, 4))
    source = image_folder(tmp_path)
    assert source.unrelated is not film
    source.open()
    count = len(names) * (1 if film else 60)
    assert all(source.read(1.0) for _ in range(count))
    with pytest.raises(EndOfStream):
        source.read(1.0)
    assert not image_folder(tmp_path, 10.0).unrelated


def test_folder_in_natural_order_with_every_kind_of_image(tmp_path: Path):
    save(tmp_path / "frame10.png", picture(10, 10))
    save(tmp_path / "frame2.png", picture(2, 2)[..., 0])
    save(tmp_path / "frame1.jpg", picture(1, 1))
    save(tmp_path / "Frame3.PNG", picture(3, 3, 4).astype(np.uint16) * 257)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "frame4.png").mkdir()
    source = open_source(SourceSpec(input=str(tmp_path), fps=10.0))
    frames = [source.read(1.0) for _ in range(4)]
    with pytest.raises(EndOfStream):
        source.read(1.0)
    assert [frame.image.shape for frame in frames if frame] == [(n, n, 3) for n in (1, 2, 3, 10)]
    assert [frame.t_capture_ns for frame in frames if frame] == [0, 100_000_000, 200_000_000, 300_000_000]
    assert source.nominal_fps == 10.0


def test_folder_rate_is_thirty_unless_told(tmp_path: Path):
    save(tmp_path / "a.png", picture(4, 4))
    assert image_folder(tmp_path).nominal_fps == 30.0


def test_folder_without_images(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(NotFoundError, match="no images in folder"):
        open_source(SourceSpec(input=str(tmp_path)))


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "is empty"), (b"text in a png's clothes", "is damaged or not an image")]
)
def test_folder_with_a_bad_image_is_refused_at_once(tmp_path: Path, content: bytes, why: str):
    save(tmp_path / "1.png", picture(4, 4))
    (tmp_path / "2.png").write_bytes(content)
    with pytest.raises(NotFoundError, match=rf"2\.png {why}"):
        open_source(SourceSpec(input=str(tmp_path)))


@given(st.lists(st.integers(0, 10**6), min_size=1, unique=True))
def test_natural_order_is_numeric_order(numbers: list[int]):
    paths = [Path(f"f{n}.png") for n in numbers]
    assert [p.name for p in sorted(paths, key=natural_order)] == [f"f{n}.png" for n in sorted(numbers)]


@given(st.lists(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1), min_size=2))
def test_natural_order_takes_any_name(names: list[str]):
    sorted((Path("folder") / name for name in names), key=natural_order)


def test_hidden_files_are_passed_over_and_said_once(tmp_path: Path):
    """macOS keeps ._face.jpg beside face.jpg: not an image, though its name says so."""
    for name in ("f1.jpg", "f2.jpg"):
        assert cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 90, np.uint8))
    (tmp_path / "._f2.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    (tmp_path / ".f3.jpg").write_bytes(b"")
    source = image_folder(tmp_path)
    source.open()
    assert source.read(1.0) is not None
    assert source.read(1.0) is not None
    with pytest.raises(EndOfStream):
        source.read(1.0)
    assert source.status().last_error == (
        f"{tmp_path}: passed over ._f2.jpg and 1 more: their names begin with a dot"
    )
    (tmp_path / "f1.jpg").unlink()
    (tmp_path / "f2.jpg").unlink()
    with pytest.raises(NotFoundError, match=r"no images .* ._f2.jpg and others that begin with a dot"):
        image_folder(tmp_path)
