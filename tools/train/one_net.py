"""A pack with one net taken anew: what ``x2c-edge packs replace-net`` takes that net from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from tools.train.pack_place import pack_beside
from x2c_edge import packs
from x2c_edge.backends.cpu_engine import GRAPH
from x2c_edge.convert.checkpoints import saved_net
from x2c_edge.nets import published


def write_with(
    out: Path,
    pack: packs.Pack,
    role: str,
    arch: str,
    net: nn.Module,
    command: str,
    *,
    picture: packs.NetInput | None = None,
    options: dict[str, Any] | None = None,
) -> packs.Pack:
    """``pack`` with ``net`` as its ``role``, written to the folder ``out`` (``pack_place``).

    Its graphs are left out: ``replace-net`` makes them anew.
    """
    with pack_beside(out) as home:
        shutil.copytree(pack.path, home, ignore=shutil.ignore_patterns("*.onnx"), dirs_exist_ok=True)
        here = packs.read_manifest(home)
        if role in here.nets:
            here.nets[role].file.unlink()
        spec = saved_net(home, arch, published.stored(net, half=True), net.config, picture, options)
        packs.write_manifest(
            replace(
                here,
                name=out.name,
                nets={**here.nets, role: spec},
                files={key: entry for key, entry in here.files.items() if not key.startswith(GRAPH)},
                trained_by=command,
            )
        )
    return packs.open_pack(str(out.resolve()))
