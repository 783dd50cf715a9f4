"""Train a mapping network (robot picture to 30 controls) on a set of pairs.

    python -m tools.train.mapping DATA --out build/mapping/resnet.json --trunk resnet \
        --size 128 --widths 24,48,96,128 --blocks 1,1,1,1 --epochs 30
    torchrun --nproc-per-node 8 -m tools.train.mapping DATA --out build/mapping/vit.json --trunk transformer \
        --device cuda --workers 8

DATA is a folder of ``tools.dataset.make_dataset`` or the published X2C set. ``--trunk look`` is not one of
the paper's: a small ResNet that looks a second time at eyes and mouth, for rendered pairs. The recipe is the
paper's: AdamW with weight decay 0.05, cosine schedule with 2 % warm-up, Huber loss with delta 0.01, batch
128, learning rate 1e-3, gradient norm 1 (docs/spec/liveportrait.md section 12). A run that was stopped goes
on from the checkpoint beside --out; give it the same options. Without --widths and --blocks the trunk has its
published sizes. The seed fixes what is learnt from in which order, not the last bits of the weights: sums
run in another order with other thread counts and processors.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from tools._errors import user_errors
from tools.bench.common import machine as machine_name
from tools.dataset.pair_dataset import PairDataset
from tools.evaluate.mapping_errors import errors_of
from tools.train.look_points import look_points_of
from tools.train.mapping_file import load_trained, save_trained
from tools.train.mapping_pictures import Pairs, SomePairs, in_memory, spread
from tools.train.mapping_recipe import Recipe, trunk_of
from tools.train.mapping_training import Machine, Trained, machine_here, predict, train
from tools.train.torchvision_weights import read_trunk
from tools.train.training_step import require_learning_rate
from x2c_edge.errors import BadArgumentError
from x2c_edge.nets.mapping import TrunkConfig
from x2c_edge.nets.trunks import ResNetConfig

_IN_MEMORY_BYTES = 3 << 30


def main(
    data: Annotated[Path, typer.Argument(help="the set of pairs")],
    out: Path = typer.Option(..., help="the .json to write; the weights lie beside it"),
    trunk: str = typer.Option("resnet", help="resnet, vgg, transformer, efficient or look"),
    size: int = typer.Option(224, help="side of the picture that the net sees"),
    widths: str = typer.Option("", help="of the trunk's stages, as 24,48,96,128"),
    blocks: str = typer.Option("", help="in each stage, as 1,1,1,1"),
    pool: int = typer.Option(
        1, min=1, help="resnet: side of the last map that the head sees; 1 as published"
    ),
    hidden: str = typer.Option("256,256", help="widths of the head"),
    loss: str = typer.Option("huber", help="huber as published, or spread: in units of each control's own"),
    epochs: int = typer.Option(30, min=1),
    batch: int = typer.Option(128, min=2, help="pairs a step, over all processes"),
    lr: float = typer.Option(1e-3, help="highest learning rate"),
    augment: bool = typer.Option(True, help="vary colour, place and sharpness a little"),
    division: str = typer.Option("animation", help="animation or random"),
    limit: int | None = typer.Option(None, min=1, help="at most so many training pairs, evenly spread"),
    init: Path | None = typer.Option(
        None, help="begin with this trained .json, or with torchvision's weights of the trunk (.pth)"
    ),
    device: str = typer.Option("cpu", help="cpu or cuda"),
    precision: str = typer.Option("auto", help="auto, bf16 or fp32"),
    workers: int = typer.Option(0, min=0, help="processes that read pictures when they stay on disk"),
    threads: int | None = typer.Option(None, min=1, help="CPU threads of this process"),
    seed: int = typer.Option(1, min=0),
) -> None:
    """Train, measure on the test side, write."""
    try:
        with user_errors():
            if threads:
                torch.set_num_threads(threads)
            if out.suffix != ".json":
                raise BadArgumentError(f"--out {out}: give a name that ends in .json")
            if precision not in ("auto", "bf16", "fp32"):
                raise BadArgumentError(f"--precision {precision}: choose auto, bf16 or fp32")
            require_learning_rate(lr)
            if loss not in ("huber", "spread"):
                raise BadArgumentError(f"--loss {loss}: choose huber or spread")
            sized = trunk_of(trunk, size, _numbers("--widths", widths), _numbers("--blocks", blocks))
            if pool != 1 and not isinstance(sized, ResNetConfig):
                raise BadArgumentError(f"--pool {pool}: only the resnet pools; leave it out for {trunk}")
            recipe = Recipe(
                trunk=replace(sized, pool=pool) if isinstance(sized, ResNetConfig) else sized,
                size=size,
                hidden=_numbers("--hidden", hidden),
                epochs=epochs,
                batch=batch,
                learning_rate=lr,
                augment=augment,
                seed=seed,
                loss=loss,  # type: ignore[arg-type]
            )
            start = _start(init, trunk, sized) if init else None
            place = machine_here(device, precision, workers)  # type: ignore[arg-type]
            whole = PairDataset(data, "train", division)  # type: ignore[arg-type]
            test = PairDataset(data, "test", division)  # type: ignore[arg-type]
            if not len(test):
                raise BadArgumentError(f"{data}: no pair is left for testing; give a set of more animations")
            some = spread(len(whole), limit)
            source: Pairs = SomePairs(whole, some)
            looks = look_points_of(data, whole)[some] if recipe.net.looks_twice else None
            if len(source) * size * size * 3 <= _IN_MEMORY_BYTES:
                source = in_memory(source, size)
            checkpoint = out.with_suffix(".checkpoint.pt")
            trained = train(recipe, source, machine=place, looks=looks, checkpoint=checkpoint, start=start)
            if place.rank == 0:
                _finish(trained, test, division, out, place)
                checkpoint.unlink(missing_ok=True)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _finish(trained: Trained, test: PairDataset, division: str, out: Path, place: Machine) -> None:
    errors = errors_of(
        predict(trained.net, trained.picture, test, device=place.device), test.controls, test.animation
    )
    command = "python -m tools.train.mapping " + shlex.join(sys.argv[1:])
    where = machine_name() if place.device == "cpu" else torch.cuda.get_device_name(place.device)
    by = f"{command} ({place.world} process{'es' if place.world > 1 else ''}; {where})"
    accuracy = {"division": division, **errors.to_json()}
    save_trained(out, Trained(trained.net, trained.picture, trained.recipe, by, accuracy))
    low, high = errors.sample.ci95
    print(
        f"{out}: MAE {errors.sample.mean:.4f} ({low:.4f} to {high:.4f}) on {errors.sample.n} test pictures, "
        f"worst {errors.worst} {errors.control.max():.4f}"
    )


def _start(init: Path, kind: str, trunk: TrunkConfig) -> dict[str, torch.Tensor]:
    if init.suffix == ".json":
        return load_trained(init).net.state_dict()
    return read_trunk(init, kind, trunk)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = (0,)
    if min(numbers, default=1) < 1:
        raise BadArgumentError(f"{option} {text!r}: give whole numbers above 0 with commas, as 24,48")
    return numbers


if __name__ == "__main__":
    typer.run(main)
