"""The side-by-side video: what the camera saw, and what the 30 controls did."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from x2c_edge.capture.pictures_in import pictures_in
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.locked import opened_alone
from x2c_edge.nets.landmarks import IRISES, LANDMARK_IDS, OUTLINES
from x2c_edge.places import opencv_name
from x2c_edge.record.bars import MIN_HEIGHT, draw_bars
from x2c_edge.record.drawing import ORANGE, SKY, YELLOW, Colour, Image

_BARS_WIDTH: Final = 7 / 9  # of the panel height
_LONGEST_GAP_S: Final = 2.0
_LOOK_EVERY: Final = 8  # pictures
_ROOM: Final = 16 << 20  # bytes that must be free: what may come before the next look, and the file's end
_SUBPIXEL_BITS: Final = 4
_CROP_COLOUR: Final = ORANGE
_OUTLINE_COLOUR: Final = SKY
_POINT_COLOUR: Final = YELLOW


def _chain(ids: tuple[int, ...]) -> list[int]:
    return [LANDMARK_IDS.index(i) for i in ids]


_CHAINS: Final = tuple((_chain(ids), closed) for ids, closed in OUTLINES)
_IRIS_POINTS: Final = _chain(IRISES)


class SideBySideWriter:
    """Writes an MP4 with panels next to each other: camera | bars.

    The file is a *fragmented* MP4 (MPEG-4 Part 2 video): its index comes first and the pictures follow
    in pieces that each play without what comes later. While the run lasts it is called
    ``NAME.partial.ismv`` and ``close`` renames it to the name asked for, so that a finished name always
    holds a finished video (``close`` counts its pictures first: the encoder does not say when the disk is
    full), and a process that was killed leaves a partial file that plays up to the last half megabyte.
    ``.ismv`` is the extension by which OpenCV's FFmpeg picks the fragmented form; a plain MP4 has its index
    at the end and is lost whole when the end is never written.

    The video keeps the run's time: a ``Frame`` is placed by its ``t_capture_ns``. Where frames are
    missing the picture before is repeated (a gap above 2 s is cut instead), and frames that come faster
    than ``fps`` are left out.

    Not thread-safe: one thread at a time.
    """

    def __init__(self, path: str | Path, fps: float, panel_height: int = 720) -> None:
        """path: ends in ``.mp4``; an older file of the name, or that a link of the name leads to, is
        replaced on ``close``. fps: of the video.

        panel_height: pixels, even. Raises ``NotFoundError`` when the place cannot be written to and
        ``BadArgumentError`` for another extension: both before anything is started.
        """
        if panel_height % 2 or panel_height < MIN_HEIGHT:
            raise ValueError(f"panel_height: {panel_height} is not an even number from {MIN_HEIGHT}")
        self._path = Path(os.path.realpath(path) if os.path.islink(path) else path)
        self._partial = self._path.with_name(f"{self._path.stem}.partial.ismv")
        opencv_name(self._partial)  # said now, not when the first picture is there
        self._lock: int | None = _opened_partial(self._path, self._partial)
        self._fps = fps
        self._height = panel_height
        self._camera_size: tuple[int, int] | None = None
        self._encoder: cv2.VideoWriter | None = None
        self._frames = 0
        self._start_ns: int | None = None
        self._previous: Image | None = None

    @property
    def frames(self) -> int:
        """Pictures in the video so far."""
        return self._frames

    def write(
        self,
        frame: Frame | NDArray[np.uint8],
        crop: FaceCrop | None,
        landmarks: NDArray[np.floating] | None,
        values: NDArray[np.floating],
        state: str,
        note: str = "",
        faces: Sequence[Image] = (),
    ) -> None:
        """Add one picture.

        frame: any format of ``Frame``, or (H, W, 3) uint8 BGR; sizes may change during a run, the first
        one decides the camera panel's and later ones are fitted into it. crop, landmarks: drawn when
        given; landmarks (L, 2) in frame pixels, with outlines when they are the 140 of
        ``nets.landmarks``. values: (30,), paper units. state, note: for the bars' header.
        faces: square BGR pictures of the robot, between the camera and the bars; as many every time.
        """
        if isinstance(frame, Frame) and not self._keep_time(frame.t_capture_ns):
            return
        picture = to_bgr(frame)
        if self._camera_size is None:
            height, width = picture.shape[:2]
            self._camera_size = _even(width * self._height / height), self._height
        camera, to_panel = _fitted(picture, self._camera_size)
        if crop is not None:
            _draw_crop(camera, crop, to_panel)
        if landmarks is not None and np.isfinite(landmarks).all():
            _draw_landmarks(camera, landmarks, to_panel)
        bars = draw_bars(values, _even(self._height * _BARS_WIDTH), self._height, state=state, note=note)
        size = (self._height, self._height)
        robots = [cv2.resize(face, size, interpolation=cv2.INTER_CUBIC) for face in faces]
        self._previous = np.hstack([camera, *robots, bars])
        self._encode(self._previous)

    def close(self) -> None:
        """Finish the video and give it its name; nothing is left behind when no picture was written.

        NotFoundError when what is in the file is not what was written; it keeps its partial name then.
        """
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            self._finish()
        finally:
            os.close(lock)

    def _finish(self) -> None:
        if self._encoder is not None:
            self._encoder.release()
            self._encoder = None
        if self._frames == 0:
            self._partial.unlink(missing_ok=True)
            return
        there = pictures_in(self._partial)
        if there < self._frames:
            raise NotFoundError(
                f"{self._path}: only {there} of {self._frames} pictures reached the disk; they are in "
                f"{self._partial.name}; make room before the next run"
            )
        try:
            os.replace(self._partial, self._path)
        except OSError as error:
            raise NotFoundError(
                f"{self._path}: cannot be written ({error.strerror}); the video is {self._partial}"
            ) from None

    def __enter__(self) -> SideBySideWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep_time(self, t_ns: int) -> bool:
        """Repeat the picture before until it is time for this one; False when that is long past."""
        if self._start_ns is None or self._previous is None:
            self._start_ns = t_ns
            return True
        missing = round((t_ns - self._start_ns) * self._fps / 1e9) - self._frames
        if abs(missing) > _LONGEST_GAP_S * self._fps:
            self._start_ns = t_ns - round(self._frames * 1e9 / self._fps)
            return True
        for _ in range(missing):
            self._encode(self._previous)
        return missing >= -1

    def _encode(self, picture: Image) -> None:
        if self._frames % _LOOK_EVERY == 0:
            self._require_room()
        if self._encoder is None:
            size = (picture.shape[1], picture.shape[0])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._encoder = cv2.VideoWriter(opencv_name(self._partial), cv2.CAP_FFMPEG, code, self._fps, size)
            if not self._encoder.isOpened():
                self._encoder = None
                raise NotFoundError(
                    f"{self._path}: this OpenCV cannot encode MP4 (no FFmpeg in it); "
                    "install the opencv-python wheel or leave --save-video out"
                )
        self._encoder.write(picture)
        self._frames += 1

    def _require_room(self) -> None:
        """NotFoundError, before the encoder meets a full disk and keeps it to itself."""
        try:
            free = shutil.disk_usage(self._partial.parent.absolute()).free
        except OSError:
            return  # the count at the end will tell
        if free < _ROOM:
            raise NotFoundError(
                f"{self._path}: {free >> 20} MiB left on the disk; the video ends early, after "
                f"{self._frames / self._fps:.0f} s; make room before the next run"
            )


def to_bgr(frame: Frame | NDArray[np.uint8]) -> Image:
    """(H, W, 3) uint8 BGR of a frame in any format; arrays and BGR frames are passed through."""
    if not isinstance(frame, Frame):
        return frame
    if frame.format == "BGR":
        return frame.image
    code = {
        "RGB": cv2.COLOR_RGB2BGR,
        "YUYV": cv2.COLOR_YUV2BGR_YUY2,
        "NV12": cv2.COLOR_YUV2BGR_NV12,
    }[frame.format]
    return np.asarray(cv2.cvtColor(frame.image, code), dtype=np.uint8)


def _opened_partial(path: Path, partial: Path) -> int:
    """The partial file, locked."""
    if path.suffix.lower() != ".mp4":
        raise BadArgumentError(f"{path}: the side-by-side video is an MP4; give a name that ends in .mp4")
    try:
        if path.is_dir():
            raise NotFoundError(f"{path}: is a folder; give a file name that ends in .mp4")
        lock = opened_alone(partial)
        if _takes_another_writer(partial):
            return lock
        os.close(lock)
        return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotFoundError(
            f"{path}: cannot write the video there ({reason}); "
            "choose an existing folder that you may write to"
        ) from None


def _takes_another_writer(locked: Path) -> bool:
    """Whether OpenCV can write there beside our lock: not on a Windows share, whose locks are for real."""
    try:
        with locked.open("wb") as file:
            file.write(b"x")
    except PermissionError:
        return False
    return True


def _even(size: float) -> int:
    """The nearest even number: the encoder stores colour at half the resolution."""
    return max(2 * round(size / 2), 2)


def _fitted(picture: Image, size: tuple[int, int]) -> tuple[Image, NDArray[np.float64]]:
    """The picture scaled into (width, height) with black borders, and the (2, 3) map of its pixels there.

    The map keeps pixel centres: it takes index coordinates to index coordinates.
    """
    width, height = size
    source_height, source_width = picture.shape[:2]
    scale = min(width / source_width, height / source_height)
    inner = min(round(source_width * scale), width), min(round(source_height * scale), height)
    inner = max(inner[0], 1), max(inner[1], 1)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    panel = np.zeros((height, width, 3), dtype=np.uint8)
    panel[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=method)
    kx, ky = inner[0] / source_width, inner[1] / source_height
    to_panel = np.array([[kx, 0, left + (kx - 1) / 2], [0, ky, top + (ky - 1) / 2]], dtype=np.float64)
    return panel, to_panel


def _mapped(points: NDArray[np.floating], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points @ affine[:, :2].T + affine[:, 2], dtype=np.float64)


def _fixed_point(points: NDArray[np.float64]) -> NDArray[np.int32]:
    bounded = np.clip(points, -20_000, 20_000)  # far outside, and safe in the drawing's integers
    return np.rint(bounded * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _line(image: Image, points: NDArray[np.float64], closed: bool, colour: Colour) -> None:
    cv2.polylines(image, [_fixed_point(points)], closed, colour, 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _dot(image: Image, point: NDArray[np.float64], radius: float, colour: Colour) -> None:
    x, y = _fixed_point(point).tolist()
    cv2.circle(
        image, (x, y), round(radius * (1 << _SUBPIXEL_BITS)), colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS
    )


def _draw_crop(panel: Image, crop: FaceCrop, to_panel: NDArray[np.float64]) -> None:
    """The crop's outline; the side that is the crop's top is drawn double."""
    low, high = -0.5, crop.size - 0.5
    corners = np.array([[low, low], [high, low], [high, high], [low, high]])
    quad = _mapped(_mapped(corners, crop.affine), to_panel)
    if not np.isfinite(quad).all():
        return
    _line(panel, quad, True, _CROP_COLOUR)
    inwards = (quad[3] - quad[0]) * 0.012
    _line(panel, quad[:2] + inwards, False, _CROP_COLOUR)


def _draw_landmarks(panel: Image, landmarks: NDArray[np.floating], to_panel: NDArray[np.float64]) -> None:
    points = _mapped(landmarks, to_panel)
    if len(points) != len(LANDMARK_IDS):
        for point in points:
            _dot(panel, point, 1.5, _POINT_COLOUR)
        return
    for chain, closed in _CHAINS:
        _line(panel, points[chain], closed, _OUTLINE_COLOUR)
    radius = min(max(float(np.ptp(points[:, 0])) * 0.012, 1.0), 3.0)
    for point in points[_IRIS_POINTS]:
        _dot(panel, point, radius, _POINT_COLOUR)
