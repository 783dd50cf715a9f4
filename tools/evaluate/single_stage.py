"""Agreement of a pack's single-stage network with the labels of a split it was not trained on.

    python -m tools.evaluate.single_stage --pack default --split test

Prints Pearson r and mean absolute error per control, angles, landmarks and presence; --write puts the
figures into the pack's manifest.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import typer

from tools.bench import common
from tools.dataset import face_dataset as data
from tools.evaluate.single_stage_report import evaluate
from x2c_edge import packs
from x2c_edge.controls import CONTROLS
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig


def load_net(pack: packs.Pack) -> SingleStage:
    """The network of an opened pack, unfolded."""
    from safetensors.torch import load_file

    spec = pack.nets["single_stage"]
    net = SingleStage(SingleStageConfig.from_manifest(spec.config))
    net.load_state_dict({k: v.float() for k, v in load_file(spec.file).items()})
    return net


def main(
    pack: str = "default",
    split: str = "test",
    write: bool = typer.Option(False, help="put the figures into the manifest"),
    page: Path | None = typer.Option(None, help="put the table into this Markdown page"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Evaluate and print."""
    torch.set_num_threads(1)
    opened = packs.open_pack(pack)
    net = load_net(opened)
    report = evaluate(net, data.load(split, folder))
    print(report.table())
    if page is not None:
        rows = [[c.name, f"{report.pearson[c.index]:.3f}", f"{report.mae[c.index]:.4f}"] for c in CONTROLS]
        table = common.markdown_table(["control", "r", "MAE"], rows)
        command = common.command_given("tools.evaluate.single_stage")
        common.replace_section(page, "accuracy", f"`{command}`\n\n{table}\n{report.summary()}")
    if write:
        figures = report.to_manifest()
        if opened.pipeline != "single-stage":
            figures = opened.accuracy | {"single_stage": figures}
        packs.write_manifest(replace(opened, accuracy=figures))
        print(f"written to {opened.path / packs.MANIFEST}")


if __name__ == "__main__":
    typer.run(main)
