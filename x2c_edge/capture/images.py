"""One image, or a folder of them, as frames."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2c_edge.capture.base import EndOfStream, SourceState, SourceStatus, Usable
from x2c_edge.capture.opencv import contiguous_bytes, cv2
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Frame
from x2c_edge.places import opencv_name

DEFAULT_FPS = 30.0
PICTURE_S = 2.0
# Formats that hold one picture; a GIF is opened as a video.
# fmt: off
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff",
    ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".avif", ".hdr", ".exr",
))
# fmt: on


def is_image(path: Path) -> bool:
    """True when the file's first bytes are those of a still image that OpenCV reads."""
    moving = (".gif", ".mjpg", ".mjpeg")
    return path.suffix.lower() not in moving and bool(cv2.haveImageReader(opencv_name(path)))


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as (H, W, 3) uint8 BGR, turned upright as its EXIF says.

    Grayscale becomes three equal channels; an alpha channel is left out (the colours as stored). 16-bit
    samples are taken to span 0..65535 and divided by 257, rounded; floating-point samples are taken to
    span 0..1 and multiplied by 255, clipped and rounded, NaN as 0.

    Raises ``NotFoundError``, naming the file, when it is missing, empty, damaged or of another type.
    """
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise NotFoundError(f"image {path} cannot be read: {error.strerror}") from error
    if content.size == 0:
        raise NotFoundError(f"image {path} is empty (zero bytes); write it again or leave it out")
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise NotFoundError(f"image {path} cannot be decoded: {error.err or 'too large'}") from error
    if image is None:
        raise NotFoundError(f"image {path} is truncated, damaged or not an image; replace it or leave it out")
    try:
        return eight_bit(image)
    except ValueError as error:
        raise NotFoundError(f"image {path} {error}; save it as 8-bit PNG or JPEG") from error


def eight_bit(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples to uint8 by the rule of ``read_image``. Raises ``ValueError`` for other sample types."""
    if image.dtype == np.uint8:
        return contiguous_bytes(image)
    if image.dtype == np.uint16:
        return contiguous_bytes((image.astype(np.uint32) + 128) // 257)
    if image.dtype.kind == "f":
        return contiguous_bytes(np.rint(np.clip(np.nan_to_num(image), 0.0, 1.0) * 255.0))
    raise ValueError(f"has {image.dtype} samples, which are not read here")


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts] + [(-2, path.name)]


def numbered(paths: list[Path]) -> bool:
    """Whether these are a film's frames: one name with consecutive numbers (f001.png, f002.png, ...)."""
    parts = [re.fullmatch(r"(.*?)(\d+)", path.stem) for path in paths]
    names = {(part[1], path.suffix) for part, path in zip(parts, paths, strict=True) if part}
    if len(paths) < 2 or None in parts or len(names) != 1:
        return False
    numbers = [int(part[2]) for part in parts if part]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


class Images(Usable):
    """Image files as a sequence at a fixed rate: frame k has time k / fps.

    unrelated: pictures of their own, not a film's frames (``numbered``, or a rate that the user gave). Each
    of them is then given for ``PICTURE_S``, as the same array.
    """

    live = False

    def __init__(
        self, name: str, paths: list[Path], fps: float | None = None, note: str | None = None
    ) -> None:
        """note: what to say about files that are not among ``paths``."""
        self.name = name
        self._note = note
        self.nominal_fps = fps or DEFAULT_FPS
        # Pictures that are no film are looked at for a while each: a robot needs time to get to a pose.
        self.unrelated = fps is None and not numbered(paths)
        self._each = round(PICTURE_S * self.nominal_fps) if self.unrelated else 1
        self._paths = paths
        self._image: NDArray[np.uint8] | None = None
        self._frames = 0
        self._state: SourceState = "up"
        self._width = self._height = 0
        self._opened = False
        self._last_error: str | None = None

    @property
    def is_still(self) -> bool:
        """One picture only: played in real time it stays in view, like what a camera sees of it."""
        return len(self._paths) == 1

    def open(self) -> None:
        """Raises ``NotFoundError`` for the first file that is empty or does not begin like an image."""
        if self._opened:
            return
        for path in self._paths:
            if path.stat().st_size == 0:
                raise NotFoundError(f"image {path} is empty (zero bytes); write it again or leave it out")
            if not cv2.haveImageReader(opencv_name(path)):
                raise NotFoundError(f"image {path} is damaged or not an image; replace it or leave it out")
        self._frames, self._state, self._last_error, self._opened = 0, "up", self._note, True

    def read(self, timeout_s: float) -> Frame | None:
        """The next image at once; ``timeout_s`` is for sources that wait."""
        picture, again = divmod(self._frames, self._each)
        if not self._opened or picture == len(self._paths):
            self._state = "ended"
            raise EndOfStream(self.name)
        if again == 0 or self._image is None:
            try:
                self._image = read_image(self._paths[picture])
            except NotFoundError as error:
                self._state, self._last_error = "ended", str(error)
                raise
        self._height, self._width = self._image.shape[:2]
        t_ns = round(self._frames * 1e9 / self.nominal_fps)
        self._frames += 1
        return Frame(seq=self._frames - 1, t_capture_ns=t_ns, image=self._image)

    def close(self) -> None:
        self._opened = False

    def status(self) -> SourceStatus:
        return SourceStatus(
            state=self._state,
            frames=self._frames,
            width=self._width,
            height=self._height,
            format="image",
            fps=self.nominal_fps,
            last_error=self._last_error,
        )


def image_folder(folder: Path, fps: float | None = None) -> Images:
    """The images of a folder (not of its sub-folders) in natural order; other files are passed over.

    So are hidden ones (``._face.jpg``: what macOS keeps beside a picture), with a word in the status.
    Raises ``NotFoundError`` when there is none.
    """
    found = sorted(
        (path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES),
        key=natural_order,
    )
    paths = [path for path in found if not path.name.startswith(".")]
    hidden = [path.name for path in found if path.name.startswith(".")]
    if not paths:
        only = f"; {hidden[0]} and others that begin with a dot are passed over" if hidden else ""
        raise NotFoundError(
            f"no images in folder {folder} (looked for .jpg, .png, .bmp, .webp, .tif ...{only})"
        )
    more = f" and {len(hidden) - 1} more" if len(hidden) > 1 else ""
    note = f"{folder}: passed over {hidden[0]}{more}: their names begin with a dot" if hidden else None
    return Images(str(folder), paths, fps, note)
