"""Model packs: a folder with ``manifest.toml`` and safetensors weights. Find, open, verify.

Search order for a name (docs/spec/program.md section 5): a path; each folder in ``$X2C_EDGE_PACKS``; the
user's data directory; the packs that ship with the program.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from x2c_edge.errors import NotFoundError, nearest
from x2c_edge.places import expanded, found_in, home, is_readable_file
from x2c_edge.toml_text import from_toml
from x2c_edge.whole_file import write_whole

MANIFEST: Final = "manifest.toml"
FORMAT: Final = 1
DEFAULT_PACK: Final = "default"
# What a stranger's manifest may ask for. The published nets have pictures of 512 pixels, layers 4096 wide.
MOST_PIXELS_A_SIDE: Final = 1024
_MOST_IN_A_NUMBER: Final = 16384
_MOST_IN_A_LIST: Final = 10_000
_DEEPEST: Final = 8


Resize = Literal["bilinear", "area", "bilinear-antialias"]


@dataclass(frozen=True, slots=True)
class NetInput:
    """How pixels enter a net: ``(colour / 255 - mean) / std`` in this channel order.

    resize: how a picture of another size becomes size x size (a crop is sampled directly).
    """

    size: int
    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Resize = "bilinear"


@dataclass(frozen=True, slots=True)
class NetSpec:
    """One net of a pack. ``input`` is None for a net that sees no picture.

    options: facts that only its pipeline understands (crop scale, angle unit, ...).
    """

    arch: str
    file: Path
    sha256: str
    config: dict[str, Any]
    input: NetInput | None
    options: dict[str, Any]

    @property
    def picture(self) -> NetInput:
        """``input`` of a net that sees pictures; NotFoundError if the manifest gives none."""
        if self.input is None:
            raise NotFoundError(f"{self.file}: its manifest gives no input for '{self.arch}'; get it again")
        return self.input

    @property
    def looks_twice(self) -> bool:
        """Whether it cuts patches from its picture, at positions that float16 is too coarse for."""
        return bool(self.config.get("sizes", self.config).get("patch_widths"))

    @property
    def hears_tracker(self) -> bool:
        """Whether the tracker's row is an input of this motion extractor (``nets.face_motion``)."""
        return self.config.get("opinions") == 2


@dataclass(frozen=True, slots=True)
class PackFile:
    """A file of a pack that is not a net: the robot's picture, what was precomputed from it."""

    file: Path
    sha256: str


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
    files: dict[str, PackFile] = field(default_factory=dict)

    @property
    def eyes(self) -> str:
        """Stands for the nets that look at people: others see another face in the same one."""
        seen_by = "".join(self.nets[key].sha256 for key in ("single_stage", "motion") if key in self.nets)
        return hashlib.sha256(seen_by.encode()).hexdigest()[:16]


def user_folder() -> Path:
    """Where the user's own packs live."""
    base = os.environ.get("XDG_DATA_HOME") or str(home() / ".local" / "share")
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
        for manifest in found_in(folder, f"*/{MANIFEST}"):
            name = manifest.parent.name
            half_made = name.startswith(".")  # .NAME.partial
            if name not in seen and not half_made and manifest.is_file():
                seen.add(name)
                yield manifest.parent


def find(name: str | None) -> Path:
    """The folder of a pack (None: the default one). NotFoundError if there is none.

    What has a slash in it is a path, anything else a name: a folder that happens to be called "default"
    in the working directory must not take the place of the installed pack.
    """
    name = name or DEFAULT_PACK
    if os.sep in name or name in (".", ".."):
        path = expanded(name)
        if is_readable_file(path / MANIFEST):
            return path
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
        data = from_toml(raw)
    except (OSError, ValueError) as error:
        raise NotFoundError(f"{where}: cannot be read: {error}; get the pack again") from None
    if data.get("format") != FORMAT:
        raise NotFoundError(
            f"{where}: pack format {data.get('format')!r}, this program reads {FORMAT}; "
            "update x2c-edge or the pack"
        )
    try:
        _require_modest(data, "manifest")
        return Pack(
            name=plain_name(str(data["name"])),
            path=path,
            pipeline=str(data["pipeline"]),
            description=str(data["description"]),
            licence=str(data["licence"]),
            trained_by=str(data["trained_by"]),
            nets={key: _net(path, net) for key, net in data["nets"].items()},
            accuracy=dict(data.get("accuracy", {})),
            digest=hashlib.sha256(raw).hexdigest(),
            files={
                key: PackFile(_inside(path, str(entry["file"])), str(entry["sha256"]))
                for key, entry in data.get("files", {}).items()
            },
        )
    except KeyError as missing:
        raise NotFoundError(f"{where}: key {missing} is missing; get the pack again") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise NotFoundError(f"{where}: {error}; get the pack again") from None


def plain_name(name: str) -> str:
    """A pack's name, which names folders; ValueError for one that leads elsewhere or cannot be shown."""
    if not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise ValueError(f"name {name!r}: no '/', no '.' at its start, and only what can be printed")
    return name


def _net(folder: Path, data: dict[str, Any]) -> NetSpec:
    return NetSpec(
        arch=str(data["arch"]),
        file=_inside(folder, str(data["file"])),
        sha256=str(data["sha256"]),
        config=dict(data.get("config", {})),
        input=_input(data["input"]) if "input" in data else None,
        options=dict(data.get("options", {})),
    )


def _inside(folder: Path, name: str) -> Path:
    """The file of a pack; ValueError when it lies elsewhere, directly or through a symbolic link."""
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"file {name!r} is outside of the pack's folder")
    return file


def _require_modest(value: Any, key: str, most: float = math.inf, depth: int = 0) -> None:
    """ValueError for what no manifest has: depths, lengths and, inside nets, numbers that only exhaust us."""
    if depth > _DEEPEST:
        raise ValueError(f"{key} is nested too deeply")
    limited = most < math.inf  # an accuracy that is not a number harms nobody
    if limited and isinstance(value, (int, float)) and not abs(value) <= most:
        raise ValueError(f"{key} = {value}: at most {most} makes sense")
    if not isinstance(value, (dict, list)):
        return
    if len(value) > _MOST_IN_A_LIST:
        raise ValueError(f"{key} has {len(value)} entries; at most {_MOST_IN_A_LIST} make sense")
    for name, item in value.items() if isinstance(value, dict) else ((key, item) for item in value):
        inside_nets = most if depth else _MOST_IN_A_NUMBER if name == "nets" else math.inf
        _require_modest(item, name, inside_nets, depth + 1)


def _input(data: dict[str, Any]) -> NetInput:
    mean, std = tuple(float(v) for v in data["mean"]), tuple(float(v) for v in data["std"])
    if len(mean) != 3 or len(std) != 3 or data["order"] not in ("RGB", "BGR"):
        raise ValueError("input needs order RGB or BGR and three values of mean and std")
    if not (all(map(math.isfinite, mean)) and all(0 < v < math.inf for v in std)):
        raise ValueError("input needs a std above 0, and finite numbers")
    if not 0 < int(data["size"]) <= MOST_PIXELS_A_SIDE:
        raise ValueError(f"input size {data['size']}: 1 to {MOST_PIXELS_A_SIDE} pixels")
    resize = data.get("resize", "bilinear")
    if resize not in get_args(Resize):
        raise ValueError(f"input resize {resize!r}: one of {', '.join(get_args(Resize))}")
    return NetInput(int(data["size"]), data["order"], mean, std, resize)


def write_manifest(pack: Pack) -> None:
    """Write ``pack.path``'s manifest; ``read_manifest`` gives the same pack (but for its digest).

    NotFoundError when it cannot be written, and when it is not any more what ``pack`` was read from: then
    somebody else's change would be lost.
    """
    import tomli_w  # only packs that are made, not packs that are used, need it

    where = pack.path / MANIFEST
    if pack.digest and sha256_of(where) != pack.digest:
        raise NotFoundError(f"{where}: was changed while this ran; nothing was written, run it again")

    def inside(file: Path) -> str:
        return file.relative_to(pack.path).as_posix()

    data: dict[str, Any] = {
        "format": FORMAT,
        "name": pack.name,
        "pipeline": pack.pipeline,
        "description": pack.description,
        "licence": pack.licence,
        "trained_by": pack.trained_by,
        "nets": {},
    }
    for key, net in pack.nets.items():
        entry: dict[str, Any] = {"arch": net.arch, "file": inside(net.file), "sha256": net.sha256}
        if net.input is not None:
            entry["input"] = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(net.input).items()}
        data["nets"][key] = entry | {"config": net.config, "options": net.options}
    if pack.files:
        data["files"] = {
            key: {"file": inside(entry.file), "sha256": entry.sha256} for key, entry in pack.files.items()
        }
    if pack.accuracy:
        data["accuracy"] = pack.accuracy
    write_whole(where, tomli_w.dumps(data).encode())


def verify(pack: Pack) -> list[str]:
    """What is wrong with a pack's files, one line each; empty when all is well."""
    problems = []
    entries: list[NetSpec | PackFile] = [*pack.nets.values(), *pack.files.values()]
    for entry in entries:
        if not entry.file.is_file():
            problems.append(f"{entry.file}: missing from pack '{pack.name}'; get the pack again")
        elif (found := sha256_of(entry.file)) != entry.sha256:
            problems.append(
                f"{entry.file}: sha256 {found[:12]}... is not the manifest's {entry.sha256[:12]}...; "
                "the file was changed or damaged, get the pack again"
            )
    return problems


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
