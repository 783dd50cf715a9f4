"""All engines of a pack: export, build, check against PyTorch on a clip, install. All of it or nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from x2c_edge.backends.base import Backend
from x2c_edge.backends.engine_files import EngineKey, EngineSet, Precision, write_set
from x2c_edge.convert.cpu_graphs import graphs_of
from x2c_edge.convert.engine_build import EngineBuilder
from x2c_edge.convert.mixed_int8 import Judge, mixed
from x2c_edge.convert.onnx_export import Arrays, exported
from x2c_edge.convert.rehearsal import Listening, Parity, crops_of, pipeline_of, rehearsed
from x2c_edge.convert.space import require_space
from x2c_edge.convert.trial import Trial
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.nets import engine_nets
from x2c_edge.nets.engine_nets import EngineNet
from x2c_edge.packs import DEFAULT_PACK, Pack, shipped_folder
from x2c_edge.places import is_readable_file

SHIPPED_CLIP: Final = shipped_folder() / DEFAULT_PACK / "clip.mp4"  # for packs that bring none
TIMING_CACHE: Final = "timing.cache"
Report = Callable[[str, float], None]  # what is being done, and the share of the whole that is
Opener = Callable[[Mapping[str, bytes]], Backend]  # a backend that runs engines which are not installed yet


@dataclass(frozen=True, slots=True)
class Order:
    """What to build. clip: a video or folder with a face that moves (None: the pack's own, or ours)."""

    pack: Pack
    precision: Precision
    folder: Path
    clip: str | None = None


def nets_of(pack: Pack) -> list[EngineNet]:
    """Every engine that the pack needs, opened. NotFoundError if the pack does not fit together."""
    volume = engine_nets.volume_shape(pack.files["source"].file) if "source" in pack.files else ()
    nets: list[EngineNet] = []
    for spec in pack.nets.values():
        module = engine_nets.opened(spec.arch, spec.config, spec.file)
        nets += engine_nets.engine_nets(module, spec.input.size if spec.input else 0, volume)
    return nets


def clip_of(order: Order) -> str:
    """The clip to calibrate and judge with. BadArgumentError if there is none."""
    if order.clip is not None:
        return order.clip
    own = order.pack.files.get("clip")
    if own is not None:
        return str(own.file)
    if is_readable_file(SHIPPED_CLIP):
        return str(SHIPPED_CLIP)
    raise BadArgumentError(
        f"pack '{order.pack.name}' brings no clip to check its engines on; "
        "give one: --clip VIDEO (a few seconds of a face that moves)"
    )


def build_set(
    order: Order,
    key: EngineKey,
    builder: EngineBuilder | None,
    reference: Backend,
    open_engines: Opener,
    report: Report,
) -> EngineSet:
    """Build, judge and install a set of engines.

    builder: None for the CPU's. reference: PyTorch in float32. NotFoundError if a net cannot be built or the
    engines fail the gate; nothing is installed then.
    """
    listening = Listening(reference)
    report("follow the clip", 0.0)
    crops = crops_of(clip_of(order), pipeline_of(order.pack, listening))
    for heard in listening.samples.values():
        heard.clear()
    expected = rehearsed(order.pack, listening, crops)

    def judged(backend: Backend) -> Parity:
        return Parity.of(rehearsed(order.pack, backend, crops), expected)

    if builder is None:
        report("make the graphs", 0.2)
        plans = graphs_of(order.pack)
    else:
        nets = nets_of(order.pack)
        files = _exported(order, nets, listening, lambda files: judged(Trial(files, reference)), report)
        plans = _built(order, nets, builder, files, report)
    report("compare with PyTorch", 1.0)
    parity = judged(open_engines(plans))
    parity.require(order.precision, key.target)
    return install(order, key, plans, parity)


def install(order: Order, key: EngineKey, plans: Mapping[str, bytes], parity: Parity) -> EngineSet:
    """Write a set that passed the gate."""
    require_folder(order.folder)
    require_space(order.folder, sum(map(len, plans.values())))
    return write_set(key, plans, order.pack, parity.to_json(), order.folder)


def require_folder(folder: Path) -> None:
    """Make it where it is missing. NotFoundError when that cannot be, or it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise NotFoundError(
            f"{folder}: engines cannot be put there ({error.strerror}); choose another place with --out"
        ) from None


def samples_of(nets: Sequence[EngineNet], heard: Listening) -> dict[str, list[Arrays]]:
    """What each net was given, by port name."""
    return {
        net.name: [
            dict(zip([port.name for port in net.inputs], values, strict=True))
            for values in heard.samples[net.name]
        ]
        for net in nets
    }


def _exported(
    order: Order, nets: Sequence[EngineNet], heard: Listening, judge: Judge, report: Report
) -> dict[str, bytes]:
    """The ONNX files by engine name."""
    samples = samples_of(nets, heard)
    try:
        if order.precision == "int8":
            return mixed(nets, samples, judge, report, heard.threads).files
        files = {}
        for i, net in enumerate(nets):
            report(f"export {net.name}", i / len(nets))
            files[net.name] = exported(net, order.precision)
        return files
    except ValueError as error:
        raise NotFoundError(f"pack '{order.pack.name}' cannot be {order.precision}: {error}") from None


def _built(
    order: Order,
    nets: Sequence[EngineNet],
    builder: EngineBuilder,
    files: Mapping[str, bytes],
    report: Report,
) -> dict[str, bytes]:
    """The engines by name."""
    total = sum(map(len, files.values()))  # what takes long is about proportional to the weights
    done = 0
    plans: dict[str, bytes] = {}
    for net in nets:
        size = len(files[net.name])

        def progress(share: float, name: str = net.name, before: int = done, size: int = size) -> None:
            report(f"build {name}", (before + share * size) / total)

        progress(0.0)
        plans[net.name] = builder.build(net, files[net.name], order.precision, progress)
        done += size
    return plans


def read_timing_cache(folder: Path, key: EngineKey) -> bytes:
    """What an earlier build on this device measured; empty if nothing."""
    file = _timing_file(folder, key)
    return file.read_bytes() if file.is_file() else b""


def write_timing_cache(folder: Path, key: EngineKey, data: bytes) -> None:
    file = _timing_file(folder, key)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.write_bytes(data)
    partial.replace(file)


def _timing_file(folder: Path, key: EngineKey) -> Path:
    return folder / f"{key.device}-{key.runtime}".replace(" ", "-").replace("/", "-") / TIMING_CACHE


def describe(engines: EngineSet) -> str:
    """For people: where, and how good."""
    controls: dict[str, Any] = engines.parity["controls"]
    name = max(controls, key=lambda control: controls[control]["largest"])
    return (
        f"{engines.folder}: {len(engines.files)} engine(s), {engines.key.precision}; largest error "
        f"{controls[name]['largest']:.2g} in '{name}' over {engines.parity['frames']} frames"
    )
