import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge.errors import NotFoundError
from x2c_edge.face.crop_geometry import Square, affine_from_box, affine_square
from x2c_edge.face.detect import (
    FaceBox,
    FaceSearch,
    HaarDetector,
    HaarProfileDetector,
    Pass,
    TurnedDetector,
    YuNetDetector,
    haar_passes,
    luma,
)
from x2c_edge.frames import Frame

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def anywhere(_: FaceBox) -> bool:
    return True


def matches(box: FaceBox, truth: Square) -> bool:
    found = box.square
    near = math.hypot(found.x - truth.x, found.y - truth.y) < 0.3 * truth.side
    return near and 0.7 < found.side / truth.side < 1.4


def test_the_first_frames_of_all_clips(clips, capsys) -> None:
    """Every first frame gives the face in one search; its crop is near the exact one."""
    shifts, zooms = [], []
    for name, clip in clips.items():
        numbers = [n for n in clip.labels if n < 60][:4]
        for number, image in zip(numbers, clip.frames(numbers), strict=True):
            truth = clip.square(clip.labels[number])
            boxes = FaceSearch(haar_passes()).search(Frame(0, 0, image), anywhere)
            assert any(matches(box, truth) for box in boxes), f"{name} frame {number}"
            box = max(boxes, key=lambda b: b.score)
            crop = affine_square(affine_from_box(box.x, box.y, box.w, box.h, 128, 1.4), 128)
            shifts.append(math.hypot(crop.x - truth.x, crop.y - truth.y) / truth.side)
            zooms.append(math.log(crop.side / (1.4 * truth.side)))
    with capsys.disabled():
        print(
            f"\nHaar: {len(shifts)} of {len(shifts)} frames; centre off by {np.median(shifts):.3f} "
            f"(max {max(shifts):.3f}) sides, log size by {np.median(np.abs(zooms)):.3f} "
            f"(max {np.abs(zooms).max():.3f}, bias {np.mean(zooms):+.3f})"
        )
    assert np.median(shifts) < 0.08
    assert max(shifts) < 0.25
    assert abs(np.mean(zooms)) < 0.08
    assert np.abs(zooms).max() < 0.3


def test_a_face_of_60_pixels_in_1280x720(clips) -> None:
    clip = clips["d19"]
    number = next(iter(clip.labels))
    image = next(clip.frames([number]))
    truth = clip.square(clip.labels[number])
    k = 60 / truth.side
    small = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    picture = np.full((720, 1280, 3), 120, np.uint8)
    picture[401 : 401 + small.shape[0], 903 : 903 + small.shape[1]] = small
    place = Square((truth.x + 0.5) * k - 0.5 + 903, (truth.y + 0.5) * k - 0.5 + 401, 60)
    boxes = FaceSearch(haar_passes()).search(Frame(0, 0, picture), anywhere)
    assert any(matches(box, place) for box in boxes)


def test_turned_faces_of_both_sides() -> None:
    """Beyond 25 degrees of yaw the frontal cascade misses many; with the profile one, few are missed."""
    file = SHARED / "faces" / "crops_train.npz"
    if not file.is_file():
        pytest.skip("shared/data is not here")
    crops, labels = np.load(file), np.load(SHARED / "faces" / "labels.npz")
    jpeg, offset, index = crops["jpeg"], crops["offset"], crops["index"]
    yaw = labels["ypr_crop"][index, 0]
    frontal, profile = HaarDetector(), HaarProfileDetector()
    rates = []
    for side in (yaw > 25, yaw < -25):
        found = []
        for i in np.flatnonzero(side)[:30]:
            gray = cv2.imdecode(jpeg[offset[i] : offset[i + 1]], cv2.IMREAD_GRAYSCALE)
            truth = Square(95.5, 95.5, 96)
            hits = [any(matches(b, truth) for b in d.detect(gray)) for d in (frontal, profile)]
            found.append((hits[0], any(hits)))
        rates.append(np.mean(found, axis=0))
    for alone, both in rates:
        assert both >= max(0.75, alone)


def test_luma_of_every_format_is_the_same_picture() -> None:
    rng = np.random.default_rng(0)
    bgr = cv2.resize(rng.integers(0, 256, (9, 16, 3), np.uint8), (1280, 720), interpolation=cv2.INTER_CUBIC)
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    i420 = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    nv12 = np.empty((1080, 1280), np.uint8)
    nv12[:720] = i420[:720]
    nv12[720:] = i420[720:].reshape(2, -1).T.reshape(360, 1280)
    yuyv = np.full((720, 1280, 2), 128, np.uint8)
    yuyv[..., 0] = i420[:720]
    video_range = gray[::4, ::4] * (219 / 255) + 16  # YUV cameras send 16..235
    for image, kind, wanted in (
        (bgr, "BGR", gray[::4, ::4]),
        (np.ascontiguousarray(bgr[..., ::-1]), "RGB", gray[::4, ::4]),
        (nv12, "NV12", video_range),
        (yuyv, "YUYV", video_range),
    ):
        got, step = luma(Frame(0, 0, image, kind), 320)
        assert step == 4
        assert got.shape == (180, 320)
        assert got.flags.c_contiguous
        np.testing.assert_allclose(got.astype(float), wanted, atol=2)


@pytest.mark.parametrize(
    ("shape", "max_side", "step"), [((480, 640), 320, 2), ((481, 643), 320, 3), ((16, 16), 320, 1)]
)
def test_luma_fits(shape: tuple[int, int], max_side: int, step: int) -> None:
    got, taken = luma(Frame(0, 0, np.zeros((*shape, 3), np.uint8)), max_side)
    assert taken == step
    assert max(got.shape) <= max_side


def test_magnified_covers_the_same_pixels() -> None:
    # Pixel x of the small picture is pixel 4x of the large one: centres map by times four.
    small, large = FaceBox(10, 20, 30, 30, 1.0), FaceBox(10, 20, 30, 30, 1.0).magnified(4)
    assert (large.square.x, large.square.y) == (4 * small.square.x, 4 * small.square.y)
    assert large.square.side == 120


@pytest.mark.parametrize("shape", [(16, 16, 3), (1, 4000, 3), (300, 400, 3)])
def test_no_face_no_box(shape: tuple[int, int, int]) -> None:
    search = FaceSearch(haar_passes())
    frame = Frame(0, 0, np.random.default_rng(1).integers(0, 256, shape, np.uint8))
    assert all(search.search(frame, anywhere) == [] for _ in range(7))


def test_yunet_without_its_model(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such YuNet model"):
        YuNetDetector(tmp_path / "absent.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(NotFoundError, match="not a YuNet model"):
        YuNetDetector(broken)


def turned_picture(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture turned clockwise about its middle, and the (2, 3) map of its pixels."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    return cv2.warpAffine(image, turn, (width, height), borderValue=(120, 120, 120)), turn


@pytest.mark.parametrize("degrees", [35, -60, 90, 180])
def test_a_head_that_starts_rolled_is_found_in_one_picture(clips, degrees: int) -> None:
    for name in ("d3", "d6", "d19"):
        clip = clips[name]
        number = next(iter(clip.labels))
        truth = clip.square(clip.labels[number])
        picture, turn = turned_picture(next(clip.frames([number])), degrees)
        x, y = turn @ (truth.x, truth.y, 1.0)
        place = Square(x, y, truth.side)
        roll = truth.roll + math.radians(degrees)

        def upright(box: FaceBox, place: Square = place, roll: float = roll) -> bool:
            """The network denies a crop without an upright face; so does this."""
            return matches(box, place) and abs(math.remainder(box.roll - roll, 2 * math.pi)) < 0.4

        assert FaceSearch(haar_passes()).search(Frame(0, 0, picture), upright), f"{name} at {degrees}"


class BrightestPixel:
    """A detector of upright boxes around the brightest pixel."""

    def detect(self, image: np.ndarray) -> list[FaceBox]:
        y, x = np.unravel_index(image.argmax(), image.shape)
        return [FaceBox(x - 5.0, y - 5.0, 11.0, 11.0, 0.5)]


@pytest.mark.parametrize("degrees", [30, -30, 60, 90, -90, 180])
@pytest.mark.parametrize("size", [(48, 64), (61, 33)])
def test_a_turned_detector_s_boxes_are_in_the_picture_s_pixels(degrees: int, size: tuple[int, int]) -> None:
    picture = np.zeros(size, np.uint8)
    picture[9:12, 19:22] = 150
    picture[10, 20] = 250
    (box,) = TurnedDetector(BrightestPixel(), math.radians(degrees)).detect(picture)
    assert math.hypot(box.square.x - 20, box.square.y - 10) < 1.0
    assert box.square.side == 11
    assert box.roll == pytest.approx(math.radians(degrees))


def test_false_faces_do_not_keep_the_other_passes_away() -> None:
    """Each pass has its turn, whatever the others believe to have seen."""
    looked = []

    class Sees:
        def __init__(self, name: str) -> None:
            self.name = name

        def detect(self, image: np.ndarray) -> list[FaceBox]:
            looked.append(self.name)
            return [FaceBox(10, 10, 30, 30, 0.9)] if self.name != "late" else []

    search = FaceSearch(
        [Pass(Sees("always"), 320, every=4, first=1), Pass(Sees("late"), 320, every=4, first=3)]
    )
    frame = Frame(0, 0, np.zeros((64, 64, 3), np.uint8))
    for _ in range(8):
        search.search(frame, anywhere)
    assert looked.count("late") == 2
