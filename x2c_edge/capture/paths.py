"""Inputs that are paths: a video, an image, a folder of images, a device."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote

from x2c_edge.capture.base import OpenSource, SourceSpec
from x2c_edge.capture.camera import v4l2_source
from x2c_edge.capture.images import Images, image_folder, is_image
from x2c_edge.capture.video_file import VideoFile
from x2c_edge.errors import NotFoundError, nearest
from x2c_edge.places import exists, expanded
from x2c_edge.schemes import parts_of


def scheme_of(text: str) -> str | None:
    """The scheme of an input that is a URI; None for a path, also one that looks like a URI and is there."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)
    return None if scheme is None or exists(expanded(text)) else scheme[1]


def file_source(uri: str, spec: SourceSpec) -> OpenSource:
    """The source of ``file:///path``, not yet open."""
    return path_source(_path_of(uri), spec)


def local_path(text: str) -> Path | None:
    """The file or folder that an input names, if it names one."""
    scheme = scheme_of(text)
    if scheme is None:
        return expanded(text)
    return _path_of(text) if scheme == "file" else None


def _path_of(uri: str) -> Path:
    return Path(unquote(parts_of(uri, "input").path))


def path_source(path: Path, spec: SourceSpec) -> OpenSource:
    """The video, image, folder or device that ``path`` is, judged by what is in it.

    NotFoundError in one line when it is missing or unusable.
    """
    try:
        info = path.stat()
        readable = os.access(path, os.R_OK)
        if stat.S_ISDIR(info.st_mode):
            return image_folder(path, spec.fps)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"no such file or folder: {path}{_neighbour(path)}") from None
    except OSError as error:
        raise NotFoundError(f"input {path} cannot be read: {error.strerror}") from error
    if stat.S_ISCHR(info.st_mode):
        return v4l2_source(str(path.resolve()), spec)
    if not stat.S_ISREG(info.st_mode):
        raise NotFoundError(f"input {path} is neither a file, a folder nor a camera")
    if info.st_size == 0:
        raise NotFoundError(f"input {path} is empty (zero bytes); write or copy it again")
    if not readable:
        raise NotFoundError(f"input {path} cannot be read: Permission denied")
    return Images(str(path), [path], spec.fps) if is_image(path) else VideoFile(path)


def _neighbour(path: Path) -> str:
    """A hint at the entry of the same folder whose name is nearest."""
    try:
        return nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""
