"""Built engines on the disk: where they live, what they are keyed by, and which set fits here.

A set is a folder ``<user data>/x2c-edge/engines/<pack>-<precision>-<hash of the key>`` with one ``.engine``
file for each net, a copy of the pack's manifest, and ``engines.json``. A TensorRT engine runs only on the GPU
and the release it was built with, so both are part of the key; a CPU engine would run with other releases of
ONNX Runtime, but the parity that it was installed for was measured with one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from x2c_edge import packs
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.errors import BadArgumentError, NotFoundError, nearest
from x2c_edge.packs import Pack
from x2c_edge.places import found_in

Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["gpu", "cpu"]

INDEX: Final = "engines.json"
FORMAT: Final = 3
# To be raised with every change that makes other engines of the same pack (x2c_edge.convert, nets'
# engine_nets and cpu_nets), so that those from before are built again.
EXPORTER: Final = "1"
CPU: Final = "CPU"
_PARTS: Final[Mapping[tuple[str, str], str]] = {
    ("warping", "dense motion"): "dense_motion",
    ("warping", "tail"): "warp_tail",
    ("direct", "dense motion"): "direct_motion",
}


class NoEnginesError(NotFoundError):
    """None were built for the pack."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What must be the same where engines are built and where they run.

    device: "Orin", or "CPU". capability: "8.7", or "x86_64". runtime: "TensorRT 10.3.0". exporter: how the
    program that built them makes them, ``EXPORTER``.
    """

    pack: str
    pack_digest: str
    device: str
    capability: str
    runtime: str
    precision: Precision
    exporter: str

    @property
    def target(self) -> Target:
        """What the engines run on."""
        return "cpu" if self.device == CPU else "gpu"

    @property
    def folder_name(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.pack}-{self.precision}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class EngineSet:
    """A folder of engines. files: name to path; hashes: name to sha256; parity: what the gate measured."""

    folder: Path
    key: EngineKey
    files: dict[str, Path]
    hashes: dict[str, str]
    parity: dict[str, Any]


def engine_name(arch: str, part: str = "") -> str:
    """The engine that runs a net, or a part of it (``Backend.bind``)."""
    return _PARTS.get((arch, part), arch)


def engines_folder() -> Path:
    """Where engine sets live: ``$X2C_EDGE_ENGINES``, else in the user's data directory."""
    return Path(os.environ.get("X2C_EDGE_ENGINES") or packs.user_folder().parent / "engines")


def precision_named(name: str) -> Precision:
    """BadArgumentError if there is none of this name."""
    known: tuple[Precision, ...] = get_args(Precision)
    for precision in known:
        if precision == name:
            return precision
    raise BadArgumentError(f"precision '{name}'{nearest(name, known)}: choose {', '.join(known)}")


def target_named(name: str) -> Target:
    """BadArgumentError if there is none of this name."""
    known: tuple[Target, ...] = get_args(Target)
    for target in known:
        if target == name:
            return target
    raise BadArgumentError(f"target '{name}'{nearest(name, known)}: choose {', '.join(known)}")


def key_for(pack: Pack, device: CudaDevice, tensorrt: str, precision: Precision) -> EngineKey:
    runtime = f"TensorRT {tensorrt}"
    return EngineKey(pack.name, pack.digest, device.name, device.capability, runtime, precision, EXPORTER)


def cpu_key_for(pack: Pack, onnxruntime: str) -> EngineKey:
    runtime = f"ONNX Runtime {onnxruntime}"
    return EngineKey(pack.name, pack.digest, CPU, platform.machine(), runtime, "fp32", EXPORTER)


def build_command(pack: Pack, precision: Precision = "fp16", target: Target = "gpu") -> str:
    name = pack.name
    try:
        if packs.find(name).resolve() != pack.path.resolve():
            name = str(pack.path)
    except NotFoundError:
        name = str(pack.path)
    how = "--target cpu" if target == "cpu" else f"--precision {precision}"
    return f"x2c-edge build-engines --pack {name} {how}"


def installed_sets(pack: Pack, folder: Path | None = None) -> Iterator[EngineSet]:
    """The readable sets that were built from a pack of this name, the newest first."""
    folder = folder or engines_folder()
    for index in sorted(found_in(folder, f"*/{INDEX}"), key=_changed_ns, reverse=True):
        engines = _read(index)
        if engines is not None and engines.key.pack == pack.name:
            yield engines


def find_set(pack: Pack, device: CudaDevice, tensorrt: str, folder: Path | None = None) -> EngineSet:
    """The newest set that was built for exactly this pack, device and TensorRT.

    NoEnginesError if there is none at all; NotFoundError with both sides of what differs in the nearest one;
    both with the command that builds.
    """
    return _fitting(pack, key_for(pack, device, tensorrt, "fp16"), folder)


def find_cpu_set(pack: Pack, onnxruntime: str, folder: Path | None = None) -> EngineSet:
    """The same for this machine's CPU."""
    return _fitting(pack, cpu_key_for(pack, onnxruntime), folder)


def _fitting(pack: Pack, wanted: EngineKey, folder: Path | None) -> EngineSet:
    nearest: list[str] | None = None
    precision = wanted.precision
    for engines in installed_sets(pack, folder):
        if engines.key.target != wanted.target:
            continue
        differences = [d for d in _differences(engines.key, wanted) if d]
        if not differences:
            return engines
        if nearest is None or len(differences) < len(nearest):
            nearest, precision = differences, engines.key.precision
    command = build_command(pack, precision, wanted.target)
    if nearest is None:
        raise NoEnginesError(f"no engines are built for pack '{pack.name}'; run: {command}")
    raise NotFoundError(f"the engines of pack '{pack.name}' do not fit: {'; '.join(nearest)}; run: {command}")


def read_plans(engines: EngineSet) -> dict[str, bytes]:
    """The engines by name. NotFoundError if a file is missing or not as it was built."""
    plans = {}
    for name, file in engines.files.items():
        try:
            plans[name] = file.read_bytes()
        except OSError:  # damaged, or the set is being replaced
            plans[name] = b""
        if hashlib.sha256(plans[name]).hexdigest() != engines.hashes[name]:
            raise NotFoundError(f"{file}: missing or damaged; build the engines again with --force")
    return plans


def write_set(
    key: EngineKey, plans: Mapping[str, bytes], pack: Pack, parity: Mapping[str, Any], folder: Path
) -> EngineSet:
    """Put a whole set in the place of what was there: a reader sees the old one, the new one, or none."""
    target = folder / key.folder_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{key.folder_name}.", dir=folder) as scratch:
            work = Path(scratch) / "new"
            work.mkdir(mode=0o755)
            hashes = {name: _written(work / f"{name}.engine", plan) for name, plan in plans.items()}
            (work / packs.MANIFEST).write_bytes((pack.path / packs.MANIFEST).read_bytes())
            index = {"format": FORMAT, "key": asdict(key), "engines": hashes, "parity": dict(parity)}
            (work / INDEX).write_text(json.dumps(index, indent=1))
            if target.exists():
                target.rename(Path(scratch) / "old")
            work.rename(target)
    except OSError as error:
        raise NotFoundError(f"{folder}: cannot be written: {error.strerror}; choose another --out") from None
    engines = _read(target / INDEX)
    assert engines is not None
    return engines


def _written(file: Path, data: bytes) -> str:
    with file.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return hashlib.sha256(data).hexdigest()


def _changed_ns(file: Path) -> int:
    """When it was written; 0 where it has just been taken away."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _read(index: Path) -> EngineSet | None:
    """None for what is not a set of this format: it cannot be used, and so is not there."""
    try:
        data = json.loads(index.read_text())
        key = EngineKey(**data["key"])
        if data["format"] != FORMAT or not all(isinstance(part, str) for part in astuple(key)):
            return None
        hashes = {str(name): str(value) for name, value in data["engines"].items()}
        return EngineSet(
            folder=index.parent,
            key=key,
            files={name: index.parent / f"{name}.engine" for name in hashes},
            hashes=hashes,
            parity=dict(data["parity"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _differences(built: EngineKey, here: EngineKey) -> Iterator[str]:
    """One phrase for each thing that differs; the precision is the user's choice and does not count."""
    if built.pack_digest != here.pack_digest:
        yield f"built from pack digest {built.pack_digest[:12]}, the pack is {here.pack_digest[:12]} now"
    if (built.device, built.capability) != (here.device, here.capability):
        kind = "" if built.target == "cpu" else "compute capability "
        yield (
            f"built for {built.device} ({kind}{built.capability}), here is {here.device} ({here.capability})"
        )
    if built.runtime != here.runtime:
        yield f"built with {built.runtime}, here is {here.runtime}"
    if built.exporter != here.exporter:
        yield f"built by exporter {built.exporter}, this program has exporter {here.exporter}"
