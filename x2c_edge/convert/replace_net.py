"""A newly trained net into a pack: weights, sizes, hash, accuracy, and the CPU engine's graphs made anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from x2c_edge import packs
from x2c_edge.backends.cpu_engine import GRAPH
from x2c_edge.convert.checkpoints import saved_net
from x2c_edge.convert.pack_graphs import add_graphs
from x2c_edge.convert.trained_mapping import read_trained
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.locked import alone_in
from x2c_edge.nets.published import stored

ADDED: Final = ("direct",)  # nets that a pack can do without
# A net's own part of the accuracy.
STATED: Final = {"mapping": "mapping_mae", "single_stage": "single_stage", "direct": "direct"}

# What writes the net into a folder, what is stated of it alone, and how it was trained.
Found = tuple[Callable[[Path], packs.NetSpec], dict[str, Any], str]


def replace_net(pack: packs.Pack, net: str, source: Path, out: Path | None = None) -> packs.Pack:
    """The pack with ``net`` taken from ``source``, written to ``out``, or in its own place.

    source: the .json of a trained mapping network, or a pack's folder (its net of the same name). What the
    manifest stated of the gears that use it is left out: it was measured with another net. A pack with
    graphs gets new ones, checked against PyTorch. On any error everything is as it was.
    """
    if net not in (*pack.nets, *ADDED):
        raise NotFoundError(f"pack '{pack.name}' has no net '{net}'; it has {', '.join(pack.nets)}")
    home = (out or pack.path).resolve()
    if out is not None and home.exists():
        raise BadArgumentError(f"{out}: exists already; give a folder that does not")
    found = _from_pack(net, source) if source.is_dir() else _from_mapping(net, source)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(home.parent):
            _replace(pack, net, found, home)
    except OSError as error:
        raise NotFoundError(f"{home}: cannot be written ({error.strerror}); give another --out") from None
    return packs.open_pack(str(home))


def _replace(pack: packs.Pack, net: str, found: Found, home: Path) -> None:
    """The pack with the net that was found, made beside ``home``, opened there, and then put in its place."""
    put, stated, trained_by = found
    with made_beside(home) as work:
        shutil.copytree(pack.path, work, dirs_exist_ok=True)
        copy = packs.read_manifest(work)
        others = {spec.file for key, spec in copy.nets.items() if key != net}
        if work / f"{net}.safetensors" in others:
            raise NotFoundError(f"{pack.path}: {net}.safetensors there is another net's file; rename it")
        if net in copy.nets and copy.nets[net].file not in others:
            copy.nets[net].file.unlink()
        spec = put(work)
        own = STATED.get(net)
        stale = {own} if net in ADDED else {"two_stage", "direct", own}
        accuracy = {key: value for key, value in copy.accuracy.items() if key not in stale}
        if copy.pipeline == "single-stage":
            accuracy = stated
        elif own is not None and stated:
            accuracy[own] = stated
        packs.write_manifest(
            replace(
                copy,
                name=home.name,
                nets={**copy.nets, net: spec},
                accuracy=accuracy,
                trained_by=f"{copy.trained_by}; {net}: {trained_by}",
            )
        )
        made = packs.read_manifest(work)
        if any(key.startswith(GRAPH) for key in made.files):
            add_graphs(made)
        packs.open_pack(str(work))


@contextmanager
def made_beside(home: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``home`` when all went well; on any error that is as it was."""
    work = home.with_name(f".{home.name}.partial")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        yield work
        _swap(work, home)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _swap(work: Path, home: Path) -> None:
    if not home.exists():
        work.rename(home)
        return
    old = home.with_name(f".{home.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    home.rename(old)
    try:
        work.rename(home)
    except OSError:
        old.rename(home)
        raise
    shutil.rmtree(old)


def _from_pack(net: str, folder: Path) -> Found:
    source = packs.open_pack(str(folder.resolve()))
    if net not in source.nets:
        raise NotFoundError(f"pack '{source.name}' has no net '{net}'; it has {', '.join(source.nets)}")
    alone = source.pipeline == "single-stage" == net.replace("_", "-")
    stated = source.accuracy if alone else source.accuracy.get(STATED.get(net, ""), {})
    spec = source.nets[net]

    def put(folder: Path) -> packs.NetSpec:
        return replace(spec, file=Path(shutil.copy2(spec.file, folder / f"{net}.safetensors")))

    return put, dict(stated), source.trained_by


def _from_mapping(net: str, path: Path) -> Found:
    if net != "mapping":
        raise BadArgumentError(f"{path}: for '{net}' give the folder of a pack that has one")
    trained = read_trained(path)
    weights, options = stored(trained.net, half=True), {"angle_unit": trained.angle_unit}

    def put(folder: Path) -> packs.NetSpec:
        return saved_net(folder, "mapping", weights, trained.net.config, trained.picture, options)

    return put, trained.accuracy, trained.trained_by
