"""Arithmetic of each gear's nets, for the default pack and for the published sizes.

    python -m tools.bench.gear_flops --write docs/benchmarks.md

Counted by ``x2c_edge.nets.cost`` on tensors without memory: two operations a multiply-add, convolutions and
matrix products alone. What the kernels between the nets do is not in it; it is below a hundredth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import typer

from tools.bench import common
from tools.train.direct import thin_sizes
from x2c_edge import packs
from x2c_edge.nets import arch, engine_nets
from x2c_edge.nets.cost import cost
from x2c_edge.nets.engine_nets import EngineNet
from x2c_edge.nets.generator import GeneratorConfig
from x2c_edge.nets.mapping import MappingConfig
from x2c_edge.nets.motion_extractor import MotionConfig
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig
from x2c_edge.nets.stitching import STITCHING
from x2c_edge.nets.warping import WarpingConfig
from x2c_edge.runtime.prediction import ENGINES

PICTURE, VOLUME = 256, (1, 32, 16, 64, 64)  # published: M's picture, the feature volume


def published() -> dict[str, Any]:
    """Sizes by arch: the publishers', our tracker, and a direct gear as we would distil it."""
    return {
        "motion": MotionConfig(),
        "stitching": STITCHING,
        "warping": WarpingConfig(),
        "generator": GeneratorConfig(),
        "mapping": MappingConfig(),
        "direct": thin_sizes(WarpingConfig(), VOLUME[-1]),
        "single_stage": SingleStageConfig(),
    }


def of_pack(pack: packs.Pack) -> dict[str, Any]:
    """The same of a pack."""
    made: dict[str, Any] = {}
    for role, spec in pack.nets.items():
        if spec.arch == "single_stage":
            made[role] = SingleStageConfig.from_manifest(spec.config)
        else:
            made[spec.arch] = arch.config_from_manifest(spec.arch, spec.config)
    return made


def engines(kind: str, config: Any, picture: int, volume: tuple[int, ...]) -> Iterator[EngineNet]:
    """The engines of a net that has no weights."""
    with torch.device("meta"):
        net = SingleStage(config) if kind == "single_stage" else arch.ARCHS[kind].net(config)
    yield from engine_nets.engine_nets(net.eval(), picture, volume)


def counted(sizes: Mapping[str, Any], pictures: Mapping[str, int], volume: tuple[int, ...]) -> dict[str, int]:
    """Operations by engine."""
    return {
        net.name: cost(net).flop
        for kind, config in sizes.items()
        for net in engines(kind, config, pictures.get(kind, 0), volume)
    }


def main(
    pack: str = "default", write: Path | None = typer.Option(None, help="put the table into this page")
) -> None:
    """Count and print."""
    opened = packs.open_pack(pack)
    own_pictures = {spec.arch: spec.input.size for spec in opened.nets.values() if spec.input}
    own = counted(of_pack(opened), own_pictures, engine_nets.volume_shape(opened.files["source"].file))
    size = {"motion": PICTURE, "mapping": 224, "single_stage": SingleStageConfig().input_size}
    theirs = counted(published(), size, VOLUME)
    sides = (own, theirs)
    names = [name for name in dict.fromkeys(chain(*ENGINES.values())) if name in own or name in theirs]
    rows = [[name, *(f"{side[name] / 1e9:.3f}" if name in side else "" for side in sides)] for name in names]
    for gear, used in ENGINES.items():
        totals = (sum(flop for name, flop in side.items() if name in used) / 1e9 for side in sides)
        rows.append([f"**{gear}**", *(f"{total:.3f}" for total in totals)])
    table = common.markdown_table(["net", f"{opened.name} pack, GFLOP", "published sizes, GFLOP"], rows)
    print(table)
    if write is not None:
        common.replace_section(write, "gear-flops", f"`python -m tools.bench.gear_flops`\n\n{table}")


if __name__ == "__main__":
    typer.run(main)
