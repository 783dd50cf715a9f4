"""Teach the default pack's mapping network what its own chain draws of people, without unlearning the rest.

    python -m tools.train.mapping_course --pack default --out build/mapping/course.json
    x2c-edge packs replace-net default mapping build/mapping/course.json

It goes on from the pack's weights with the pictures that W and G make of the motions that M sees in human
crops (twice; their controls are what the motions mean, as far as the robot can do it), with animations, more
of them than it has seen before, and with some of everything else that it could read before. An error on what
a person does counts in units of what people do: their jaws go sideways by a seventh of what animated ones do,
and beside these nobody would miss it. Stages, each with its files in --work, so that a stopped run goes on.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn

from tools._errors import user_errors
from tools.dataset import face_dataset as data
from tools.dataset.make_dataset import Settings, make_dataset
from tools.dataset.pair_dataset import PairDataset
from tools.dataset.robot_pairs import cached, people, render
from tools.evaluate.tables import load_mapping
from tools.train.checkpoint import kept_array, say
from tools.train.default_pack import ANIMATION_PAIRS, MAPPING_FINAL, read_error
from tools.train.look_points import many_look_points
from tools.train.mapping_file import save_trained
from tools.train.mapping_pictures import ArrayPairs, SomePairs, from_bytes, in_memory, normalised
from tools.train.mapping_training import Machine, Trained, train
from tools.train.people_motions import SHARD, PeopleMotions, Row
from tools.train.training_step import require_learning_rate
from tools.train.transfer import SIZE
from x2c_edge import packs
from x2c_edge.nets.mapping import MappingNetwork
from x2c_edge.pipelines.two_stage import TwoStagePipeline
from x2c_edge.robot.face import PORTRAIT

Pictures = NDArray[np.uint8]
Values = NDArray[np.float64]
NECKS, POSES, PEOPLE = 7000, 8000, 6000  # rendered pictures of each kind
NORMS_ON = 512  # pictures
MORE_SEED = 7  # of the further animations, added to the run's; one more for the next course
MOST_LOUD = 10.0  # times, an error on a person's motion


def main(
    pack: str = typer.Option("default", help="the default pack, whose mapping network it is"),
    out: Path = typer.Option(Path("build/mapping/course.json"), help="the .json to write"),
    work: Path = typer.Option(Path("build/mapping_course"), help="folder for the stages"),
    motions: int = typer.Option(24000, min=1, help="motions of people, and mixtures of them"),
    animations: int = typer.Option(48000, min=2, help="pairs of animations that it has not seen before"),
    epochs: int = typer.Option(3, min=1),
    lr: float = typer.Option(MAPPING_FINAL.learning_rate, help="highest learning rate"),
    seed: int = typer.Option(1, min=0),
    threads: int = typer.Option(1, help="CPU threads"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """All stages; prints what it reads before and after, on animations and people that it has not seen."""
    with user_errors():
        torch.set_num_threads(threads)
        require_learning_rate(lr)
        opened = packs.open_pack(pack)
        loaded = load_mapping(None, pack)
        assert loaded is not None
        before = loaded[0]
        people_seen = PeopleMotions.of(opened, work, motions, seed, threads, folder, ("train", "val"))
        sees = opened.nets["mapping"].picture
        seen = {
            split: (drawn(people_seen.chain, sees, rows, people_seen.work, split), people_seen.meant(rows))
            for split, rows in (("train", people_seen.learnt), ("val", people_seen.heads["val"]))
        }
        played, held_out = sides(work / "pairs", ANIMATION_PAIRS, seed)
        further = sides(work / f"more-{animations}", animations, seed + MORE_SEED)
        rendered = [
            cached(work / "necks.npz", partial(render, NECKS, SIZE, 11 + seed, neck=True)),
            cached(work / "poses.npz", partial(render, POSES, SIZE, 10 + seed)),
            cached(work / "people.npz", lambda: people(data.load("train", folder), PEOPLE, SIZE, seed)),
        ]
        parts = [(r.pictures, r.values) for r in rendered] + [played, *further, seen["train"]]
        pictures, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        pairs = ArrayPairs(pictures, values.astype(np.float32))
        weights = np.ones_like(pairs.controls)
        weights[-motions:] = loudness(pairs.controls, people_seen.meant(people_seen.heads["train"]))
        twice = np.concatenate([np.arange(len(pairs)), np.arange(len(pairs))[-motions:]])
        # Another pack, seed, set or number of motions has another folder; a course that is over has no file.
        kept = people_seen.work / f"mapping-{animations}-{epochs}-{lr:g}.checkpoint"
        trained = train(
            replace(MAPPING_FINAL, epochs=epochs, learning_rate=lr, seed=seed),
            SomePairs(pairs, twice),
            machine=Machine(workers=1),
            looks=many_look_points(pairs.controls, PORTRAIT)[twice],
            weights=weights[twice],
            checkpoint=kept,
            start=start_of(before, pairs, seed).state_dict(),
            say=say,
        )
        checks = {"held_out_animations": held_out, "chain_of_people": seen["val"]}
        errors = {
            name: [read_error(net, *check) for net in (before, trained)] for name, check in checks.items()
        }
        for name, (was, now) in errors.items():
            say(f"{name}: mean absolute error {was:.4f} before, {now:.4f} after")
        command = f"python -m tools.train.mapping_course --motions {motions} --animations {animations}"
        stated = {name: round(now, 5) for name, (_, now) in errors.items()}
        by = f"{command} --epochs {epochs} --lr {lr:g} --seed {seed}"
        save_trained(out, replace(trained, trained_by=by, accuracy=stated))
        kept.unlink(missing_ok=True)


def sides(folder: Path, pairs: int, seed: int) -> list[tuple[Pictures, Values]]:
    """The train and the test side of a set of animations, which is made if it is not there."""
    make_dataset(Settings(pairs, SIZE, seed, "portrait"), folder)
    found = (in_memory(PairDataset(folder, side), SIZE) for side in ("train", "test"))  # type: ignore[arg-type]
    return [(side.images, side.controls.astype(np.float64)) for side in found]


def drawn(chain: TwoStagePipeline, mapping: packs.NetInput, rows: Row, work: Path, name: str) -> Pictures:
    """What the chain draws of motions (M's heads, N rows), as ``mapping`` sees it: (N, S, S, 3) BGR."""
    mean, std = (np.float32(v)[:, None, None] for v in (mapping.mean, mapping.std))

    def draw(some: Row) -> Pictures:
        pictures = []
        for row in some:
            chain.driven(row)
            pictures.append(np.rint(np.clip(chain.picture[0] * std + mean, 0, 1) * 255))
        say(f"{name}: {len(some)} of {len(rows)} pictures drawn")
        return np.stack(pictures).astype(np.uint8).transpose(0, 2, 3, 1)

    parts = [
        kept_array(work / f"drawn_{name}_{number:03d}.npy", partial(draw, rows[start : start + SHARD]))
        for number, start in enumerate(range(0, len(rows), SHARD))
    ]
    pictures: Pictures = np.concatenate(parts)
    return pictures[..., ::-1] if mapping.order == "RGB" else pictures


def loudness(controls: NDArray[np.float32], of_people: Values) -> NDArray[np.float32]:
    """(30,): how many times as much each control varies in the pairs (N, 30) as in what people do (M, 30);
    from 1 to MOST_LOUD."""
    times = controls.std(0) / np.maximum(of_people.std(0), 1e-6)
    return np.clip(times, 1.0, MOST_LOUD).astype(np.float32)


def start_of(before: Trained, pairs: ArrayPairs, seed: int) -> MappingNetwork:
    """The pack's net as it learns, with batch norms, saying what the folded one says: each norm has the mean
    and the spread that it takes out of some of the pictures."""
    some = np.random.default_rng(seed).permutation(len(pairs))[:NORMS_ON]
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, _conv: nn.Module, _in: object, out: Tensor) -> None:
        seen[name] = (out.mean((0, 2, 3)), out.var((0, 2, 3), unbiased=False))

    folded = before.net
    hooks = [
        module.register_forward_hook(partial(watch, name))
        for name, module in folded.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.inference_mode():
        folded(normalised(from_bytes(torch.from_numpy(pairs.images[some])), before.picture))
    for hook in hooks:
        hook.remove()
    held, net = folded.state_dict(), MappingNetwork(folded.config)
    state = net.state_dict() | {k: v for k, v in held.items() if k in net.state_dict()}
    modules = list(net.named_modules())
    for at, (name, module) in enumerate(modules):
        if not isinstance(module, nn.Conv2d):
            continue
        norm_name, norm = next((n, m) for n, m in modules[at:] if isinstance(m, nn.BatchNorm2d))
        mean, variance = seen[name]
        state[f"{norm_name}.weight"] = torch.sqrt(variance + norm.eps)
        state[f"{norm_name}.bias"] = mean
        state[f"{norm_name}.running_mean"] = mean - held[f"{name}.bias"]
        state[f"{norm_name}.running_var"] = variance
    net.load_state_dict(state)
    return net


if __name__ == "__main__":
    typer.run(main)
