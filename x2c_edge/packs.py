"""Model packs: a folder with ``manifest.toml`` and safetensors weights. Find, open, verify.

Search order for a name (design, section 5): a path; each folder in ``$X2C_EDGE_PACKS``; the user's
data directory; the packs that ship with the program.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from x2c_edge.errors import NotFoundError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANIFEST: Final = "manifest.toml"
FORMAT: Final = 1
DEFAULT_PACK: Final = "default"


@dataclass(frozen=True, slots=True)
class NetInput:
    """How pixels enter a net: ``(colour / 255 - mean) / std`` in this channel order."""

    size: int
    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class NetSpec:
    """One net of a pack. ``options``: facts that only its pipeline understands (crop scale, ...)."""

    arch: str
    file: Path
    sha256: str
    config: dict[str, Any]
    input: NetInput
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pack:
    """An opened manifest. ``digest`` covers the manifest, and through its hashes the weights."""

    name: str
    path: Path
    pipeline: str
    description: str
    licence: str
    trained_by: str
    nets: dict[str, NetSpec]
    accuracy: dict[str, Any]
    digest: str


def user_folder() -> Path:
    """Where the user's own packs live."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "x2c-edge" / "packs"


def shipped_folder() -> Path:
    """The packs that come with the program: inside the wheel, or ``engines/`` of a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "engines"
    return inside if inside.is_dir() else package.parent / "engines"


def search_folders() -> list[Path]:
    extra = [Path(p) for p in os.environ.get("X2C_EDGE_PACKS", "").split(os.pathsep) if p]
    return [*extra, user_folder(), shipped_folder()]


def installed() -> Iterator[Path]:
    """Every pack folder that a name can reach, best first; a name found twice counts once."""
    seen: set[str] = set()
    for folder in search_folders():
        for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
            if manifest.parent.name not in seen:
                seen.add(manifest.parent.name)
                yield manifest.parent


def find(name: str | None) -> Path:
    """The folder of a pack given by name or path (None: the default). NotFoundError if there is none."""
    name = name or DEFAULT_PACK
    path = Path(name).expanduser()
    if (path / MANIFEST).is_file():
        return path
    if os.sep in name or path.is_dir():
        raise NotFoundError(f"pack '{name}': no {MANIFEST} there; give the folder that holds one")
    known = list(installed())
    for folder in known:
        if folder.name == name:
            return folder
    names = ", ".join(p.name for p in known) or "none"
    raise NotFoundError(
        f"pack '{name}' is not installed{nearest(name, [p.name for p in known])}; installed: {names}"
    )


def open_pack(name: str | None = None) -> Pack:
    """Find, read and verify a pack. NotFoundError in one line for anything wrong with it."""
    path = find(name)
    pack = read_manifest(path)
    problems = verify(pack)
    if problems:
        raise NotFoundError(problems[0])
    return pack


def read_manifest(path: Path) -> Pack:
    """Parse a pack's manifest without touching its weights."""
    where = path / MANIFEST
    try:
        raw = where.read_bytes()
        data = tomllib.loads(raw.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NotFoundError(f"{where}: cannot be read: {error}; get the pack again") from None
    if data.get("format") != FORMAT:
        raise NotFoundError(
            f"{where}: pack format {data.get('format')!r}, this program reads {FORMAT}; "
            "update x2c-edge or the pack"
        )
    try:
        return Pack(
            name=str(data["name"]),
            path=path,
            pipeline=str(data["pipeline"]),
            description=str(data["description"]),
            licence=str(data["licence"]),
            trained_by=str(data["trained_by"]),
            nets={key: _net(path, net) for key, net in data["nets"].items()},
            accuracy=dict(data.get("accuracy", {})),
            digest=hashlib.sha256(raw).hexdigest(),
        )
    except KeyError as missing:
        raise NotFoundError(f"{where}: key {missing} is missing; get the pack again") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise NotFoundError(f"{where}: {error}; get the pack again") from None


def _net(folder: Path, data: dict[str, Any]) -> NetSpec:
    source = data["input"]
    mean, std = tuple(float(v) for v in source["mean"]), tuple(float(v) for v in source["std"])
    if len(mean) != 3 or len(std) != 3 or source["order"] not in ("RGB", "BGR"):
        raise ValueError("input needs order RGB or BGR and three values of mean and std")
    return NetSpec(
        arch=str(data["arch"]),
        file=folder / str(data["file"]),
        sha256=str(data["sha256"]),
        config=dict(data.get("config", {})),
        input=NetInput(int(source["size"]), source["order"], mean, std),
        options=dict(data.get("options", {})),
    )


def verify(pack: Pack) -> list[str]:
    """What is wrong with a pack's files, one line each; empty when all is well."""
    problems = []
    for net in pack.nets.values():
        if not net.file.is_file():
            problems.append(f"{net.file}: missing from pack '{pack.name}'; get the pack again")
        elif (found := sha256_of(net.file)) != net.sha256:
            problems.append(
                f"{net.file}: sha256 {found[:12]}... is not the manifest's {net.sha256[:12]}...; "
                "the file was changed or damaged, get the pack again"
            )
    return problems


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
