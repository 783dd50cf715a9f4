"""What cameras there are, and what each offers, asked of the driver itself (V4L2)."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# linux/videodev2.h
_QUERYCAP: Final = 0x80685600
_ENUM_FMT: Final = 0xC0405602
_ENUM_FRAMESIZES: Final = 0xC02C564A
_ENUM_FRAMEINTERVALS: Final = 0xC034564B
_CAPTURE: Final = 0x1
_HAS_DEVICE_CAPS: Final = 0x80000000
_BUFFER_CAPTURE: Final = 1
_DISCRETE: Final = 1
_MOST: Final = 64  # of anything that a driver lists


@dataclass(frozen=True, slots=True)
class Mode:
    """One picture size in one pixel format. fps: the fastest rate, 0 when the driver does not say."""

    format: str
    width: int
    height: int
    fps: float


@dataclass(frozen=True, slots=True)
class CameraFound:
    """A device that gives pictures. path: a lasting name of it where there is one.

    trouble: why it could not be asked; then there is neither a name nor a mode.
    """

    path: str
    name: str = ""
    modes: tuple[Mode, ...] = ()
    trouble: str = ""

    @property
    def summary(self) -> str:
        """The formats, each with its largest size and the rate there."""
        best: dict[str, Mode] = {}
        for mode in self.modes:
            known = best.setdefault(mode.format, mode)
            if mode.width * mode.height > known.width * known.height:
                best[mode.format] = mode
        return ", ".join(
            f"{m.format} to {m.width}x{m.height}" + (f" at {m.fps:g}" if m.fps else "") for m in best.values()
        )


def find_cameras(folder: Path = Path("/dev")) -> list[CameraFound]:
    """Every video device that captures, by number. Other nodes of the same drivers are left out."""
    found = []
    devices = [path for path in folder.glob("video*") if path.name[5:].isdigit()]
    for path in sorted(devices, key=lambda path: int(path.name[5:])):
        camera = _asked(path, lasting_name(path, folder / "v4l" / "by-id"))
        if camera is not None:
            found.append(camera)
    return found


def lasting_name(path: Path, by_id: Path) -> str:
    """The link in ``by_id`` that leads to ``path``: numbers change when things are plugged in again."""
    try:
        links = sorted(by_id.iterdir())
        return str(next((link for link in links if link.resolve() == path.resolve()), path))
    except OSError:
        return str(path)


def _asked(path: Path, name: str) -> CameraFound | None:
    """None for a device that is there but gives no pictures."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.EACCES:
            return CameraFound(
                name, trouble="no permission (sudo usermod -aG video $USER, then log in again)"
            )
        return CameraFound(name, trouble=os.strerror(error.errno or 0))
    try:
        about = _query(fd, _QUERYCAP, bytes(104))
        if about is None:
            return None
        capabilities, device = struct.unpack_from("<II", about, 84)
        if not (device if capabilities & _HAS_DEVICE_CAPS else capabilities) & _CAPTURE:
            return None
        card = about[16:48].split(b"\0")[0].decode(errors="replace")
        return CameraFound(name, card, tuple(_modes(fd)))
    finally:
        os.close(fd)


def _modes(fd: int) -> Iterator[Mode]:
    for index in range(_MOST):
        answer = _query(fd, _ENUM_FMT, struct.pack("<II56x", index, _BUFFER_CAPTURE))
        if answer is None:
            return
        (code,) = struct.unpack_from("<I", answer, 44)
        for width, height in _sizes(fd, code):
            text = struct.pack("<I", code).decode("latin-1").strip()
            yield Mode(text, width, height, _fastest(fd, code, width, height))


def _sizes(fd: int, code: int) -> Iterator[tuple[int, int]]:
    for index in range(_MOST):
        answer = _query(fd, _ENUM_FRAMESIZES, struct.pack("<II36x", index, code))
        if answer is None:
            return
        kind, *numbers = struct.unpack_from("<7I", answer, 8)
        if kind != _DISCRETE:  # smallest, largest and step of the width, then of the height
            yield numbers[1], numbers[4]
            return
        yield numbers[0], numbers[1]


def _fastest(fd: int, code: int, width: int, height: int) -> float:
    best = 0.0
    for index in range(_MOST):
        answer = _query(fd, _ENUM_FRAMEINTERVALS, struct.pack("<IIII36x", index, code, width, height))
        if answer is None:
            break
        kind, numerator, denominator = struct.unpack_from("<III", answer, 16)
        if numerator:
            best = max(best, denominator / numerator)
        if kind != _DISCRETE:  # the first of a range is the shortest interval
            break
    return best


def _query(fd: int, request: int, argument: bytes) -> bytes | None:
    """None when the driver has no answer (the end of a list, or it knows no such question)."""
    import fcntl

    try:
        return fcntl.ioctl(fd, request, argument)
    except OSError:
        return None
