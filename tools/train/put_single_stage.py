"""Put the single-stage net of one pack, with its accuracy, into another.

    python -m tools.train.put_single_stage build/lean --into engines/default

All other nets stay. ``two_stage_report --write`` brings the other pack's accuracy up to date after it.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import typer

from x2c_edge import packs


def put(source: packs.Pack, into: packs.Pack) -> packs.Pack:
    """The pack ``into`` with the net of ``source``, written."""
    spec = source.nets["single_stage"]
    file = into.nets["single_stage"].file
    shutil.copyfile(spec.file, file)
    accuracy = source.accuracy.get("single_stage", source.accuracy)
    figures = into.accuracy | {"single_stage": accuracy} if into.pipeline != "single-stage" else accuracy
    nets = {**into.nets, "single_stage": replace(spec, file=file)}
    packs.write_manifest(replace(into, nets=nets, accuracy=figures))
    return packs.open_pack(str(into.path))


def main(
    source: str = typer.Argument(help="the pack whose net is wanted"),
    into: Path = typer.Option(Path("engines/default"), help="the pack folder that takes it"),
) -> None:
    """Put it there."""
    made = put(packs.open_pack(source), packs.open_pack(str(into)))
    print(f"written to {made.path / packs.MANIFEST}")


if __name__ == "__main__":
    typer.run(main)
