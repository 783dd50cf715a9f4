"""Download a set of checkpoints: what is there already is kept, what broke off goes on where it stopped."""

from __future__ import annotations

import http
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from x2c_edge import __version__, packs
from x2c_edge.convert.sources import SETS, RemoteFile, RemoteSet
from x2c_edge.convert.space import require_space
from x2c_edge.errors import BadArgumentError, NotFoundError, nearest
from x2c_edge.locked import alone_in

MIRROR_VARIABLE: Final = "X2C_EDGE_MIRROR"
_TIMEOUT_S: Final = 30.0
_FRUITLESS_TRIES: Final = 5  # in a row, without a byte gained
_BLOCK: Final = 1 << 18
_PARTIAL: Final = ".partial"

Progress = Callable[[str, int, int], None]  # file name, bytes so far, bytes in all


def checkpoint_folder(name: str) -> Path:
    """Where a set is put unless told otherwise."""
    return packs.user_folder().parent / "checkpoints" / name


def remote_set(name: str) -> RemoteSet:
    """BadArgumentError for a name that is not in the table."""
    if name not in SETS:
        raise BadArgumentError(f"nothing is known as '{name}'{nearest(name, SETS)}; known: {', '.join(SETS)}")
    return SETS[name]


def pull(
    remote: RemoteSet,
    folder: Path,
    base_url: str | None = None,
    on_progress: Progress = lambda _name, _done, _total: None,
    pause_s: float = 1.0,
) -> list[Path]:
    """Bring every file of the set into ``folder``, flat or in folders as the publisher has them.

    base_url: of a mirror with the same paths (default: $X2C_EDGE_MIRROR, then the publisher's). pause_s:
    before the first new try after a broken connection; doubled each time. NotFoundError in one line.
    """
    base = base_url or os.environ.get(MIRROR_VARIABLE) or remote.base_url
    if urlsplit(base).scheme not in ("http", "https"):
        raise BadArgumentError(f"base URL '{base}': http:// or https:// is needed")
    base = base.rstrip("/") + "/"
    places = [folder / file.path for file in remote.files]
    try:
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(folder):
            _bring(remote, base, folder, places, on_progress, pause_s)
    except OSError as error:
        raise NotFoundError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return places


def _bring(
    remote: RemoteSet, base: str, folder: Path, places: list[Path], on_progress: Progress, pause_s: float
) -> None:
    """What is not there yet, file after file."""
    wanted = [pair for pair in zip(remote.files, places, strict=True) if not _complete(*pair)]
    require_space(folder, sum(file.size - _have(_partial(place)) for file, place in wanted))
    for file, place in wanted:
        _download(file, urljoin(base, file.path), place, on_progress, pause_s)


def _partial(place: Path) -> Path:
    return place.with_name(place.name + _PARTIAL)


def _have(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _complete(file: RemoteFile, place: Path) -> bool:
    return _have(place) == file.size and (file.sha256 is None or packs.sha256_of(place) == file.sha256)


def _download(file: RemoteFile, url: str, place: Path, on_progress: Progress, pause_s: float) -> None:
    partial = _partial(place)
    if _have(partial) > file.size:
        partial.unlink()
    fruitless = 0
    while (have := _have(partial)) < file.size:
        reason = _continue(file, url, partial, on_progress)
        if _have(partial) > have:
            fruitless = 0
            continue
        fruitless += 1
        if fruitless == _FRUITLESS_TRIES:
            raise NotFoundError(
                f"{url}: {reason} ({fruitless} tries), {have / 1e6:.0f} of "
                f"{file.size / 1e6:.0f} MB are here; run it again to go on"
            )
        time.sleep(pause_s * 2 ** (fruitless - 1))
    if file.sha256 is not None and (found := packs.sha256_of(partial)) != file.sha256:
        partial.unlink()
        raise NotFoundError(
            f"{url}: sha256 {found[:12]}... is not the published {file.sha256[:12]}...; "
            "the download was thrown away, try again or another mirror"
        )
    partial.replace(place)


def _continue(file: RemoteFile, url: str, partial: Path, on_progress: Progress) -> str:
    """One connection, from where ``partial`` ends. Why it ended early; NotFoundError if trying is no use."""
    have = _have(partial)
    request = urllib.request.Request(url, headers={"User-Agent": f"x2c-edge/{__version__}"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
            if resumed and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
                return "the server sent another part than was asked for"
            with partial.open("ab" if resumed else "wb") as out:
                done = have if resumed else 0
                while True:
                    try:
                        block = answer.read(min(_BLOCK, file.size - done + 1))
                    except (OSError, http.client.HTTPException) as error:  # of the network, not of the disk
                        return f"the connection broke off ({type(error).__name__})"
                    if not block:
                        break
                    if done + len(block) > file.size:
                        raise NotFoundError(
                            f"{url}: larger than the published {file.size} bytes: another file; "
                            "check the mirror"
                        )
                    out.write(block)
                    done += len(block)
                    on_progress(partial.name.removesuffix(_PARTIAL), done, file.size)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            partial.unlink(missing_ok=True)
            return "the server cannot resume"
        if error.code >= 500 or error.code in (408, 429):
            return f"the server answered {error.code}"
        raise NotFoundError(
            f"{url}: the server answered {error.code} {error.reason}; give a mirror with --base-url"
        ) from None
    except urllib.error.URLError as error:
        return f"no connection ({getattr(error.reason, 'strerror', None) or error.reason}); are you online?"
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        return f"the connection broke off ({type(error).__name__})"
    return "the connection broke off"
