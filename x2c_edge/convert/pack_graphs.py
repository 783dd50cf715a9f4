"""Gives a pack its CPU engine: graphs without weights beside its weights, checked against PyTorch.

New weights of the same sizes need no new graphs, but the check.
"""

from __future__ import annotations

from dataclasses import replace

from x2c_edge import packs
from x2c_edge.backends.cpu_engine import GRAPH, CpuEngine
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.convert.cpu_graphs import graphs_of
from x2c_edge.convert.engine_set import Order, clip_of
from x2c_edge.convert.rehearsal import Parity, crops_of, pipeline_of, rehearsed


def add_graphs(pack: packs.Pack, clip: str | None = None) -> Parity:
    """Write the graphs and the manifest of a pack that lies open in its folder.

    NotFoundError, with the folder as it was, if the controls differ from PyTorch's by more than fp32 may.
    """
    graphs = graphs_of(pack)
    reference = TorchBackend(1)
    crops = crops_of(clip_of(Order(pack, "fp32", pack.path, clip)), pipeline_of(pack, reference))
    expected = rehearsed(pack, reference, crops)
    parity = Parity.of(rehearsed(pack, CpuEngine(graphs, 1), crops), expected)
    parity.require("fp32")
    files = {key: entry for key, entry in pack.files.items() if not key.startswith(GRAPH)}
    for old in pack.files.keys() - files.keys():
        pack.files[old].file.unlink(missing_ok=True)
    for name, graph in graphs.items():
        file = pack.path / f"{name}.onnx"
        file.write_bytes(graph)
        files[GRAPH + name] = packs.PackFile(file, packs.sha256_of(file))
    packs.write_manifest(replace(pack, files=files))
    return parity
