"""Teach a pack's mapping network the generator's own pictures of people's motions.

    python -m tools.train.mapping_on_motion --pairs build/default_pack/pairs --out build/read_motion
    x2c-edge packs replace-net default mapping build/read_motion

For a pack of ours, whose motions say which controls they mean: the net reads what W and G draw of the motions
that M sees in human crops (and of mixtures of them, ``direct``), and half as many pictures of rendered
animations, so that it forgets nothing. It goes on from the pack's weights, norms folded, with a small rate.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tools.dataset import face_dataset as data
from tools.dataset.pair_dataset import PairDataset
from tools.dataset.robot_motion import controls_of, head_angles, posed, robot_motion
from tools.train.checkpoint import keep, restored
from tools.train.direct import average_rest, engine, heads_of, mixtures, say
from tools.train.mapping_pictures import from_bytes, in_memory, normalised
from tools.train.one_net import write_with
from tools.train.single_stage import average_into
from tools.train.training_step import laid_out, layout_of, mixed_precision
from x2c_edge import packs
from x2c_edge.nets import engine_nets, keypoints
from x2c_edge.pipelines.two_stage import TwoStagePipeline

Pictures = NDArray[np.uint8]
BATCH, OTHERS = 64, 32  # pictures of people's motions in a step, and of animations
PEAK_LR, WEIGHT_DECAY, EMA = 4e-4, 0.02, 0.998
BETA = 0.1  # of a control's spread; smaller errors count by their square
CHECKED = 1500  # pictures of held-out animations


@dataclass(frozen=True)
class Read:
    """Pictures (N, S, S, 3) BGR and what they show (N, 30), paper units."""

    pictures: Pictures
    controls: NDArray[np.float32]

    def rows(self, some: NDArray[np.int64]) -> Read:
        """A part of them."""
        return Read(self.pictures[some], self.controls[some])

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.pictures[rows]), torch.from_numpy(self.controls[rows])


def meant(heads: NDArray[np.floating], count: int) -> NDArray[np.float32]:
    """(N, 30) controls that M's heads (N, columns) with ``count`` keypoints mean, relative to nobody."""
    wide = heads.astype(np.float64)
    rotation = keypoints.rotation(wide[:, 0], wide[:, 1], wide[:, 2])
    exp = wide[:, 6 : 6 + 3 * count]
    code = exp @ np.linalg.pinv(robot_motion().expression.reshape(-1, 3 * count))
    return posed(controls_of(code), head_angles(rotation)).astype(np.float32)


def drawn(pack: packs.Pack, chain: TwoStagePipeline, bank: NDArray[np.float32]) -> Read:
    """What W and G make of every motion of a bank."""
    pictures, begun = [], time.monotonic()
    for i, row in enumerate(bank, 1):
        chain.driven(row)
        pictures.append(chain.picture()[..., ::-1])
        if i % 1000 == 0:
            left = (len(bank) - i) * (time.monotonic() - begun) / i / 60
            say(f"{i} of {len(bank)} pictures, {left:.0f} min left")
    return Read(np.stack(pictures), meant(bank, int(pack.nets["motion"].config["keypoints"])))


def trained(
    net: nn.Module, picture: packs.NetInput, people: Read, others: Read, checks: dict[str, Read],
    epochs: int, seed: int, state: Path,
) -> tuple[nn.Module, dict[str, float]]:  # fmt: skip
    """The moving average of the weights, and its mean absolute errors by check."""
    net = laid_out(net.requires_grad_(True))
    layout = layout_of(net)
    average = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    parts = {"net": net, "average": average, "optimiser": optimiser}
    first = restored(state, parts)
    unit = torch.from_numpy(people.controls.std(0)).clamp_min(0.02)
    rng, steps = np.random.default_rng([seed, first]), epochs * len(people.controls) // BATCH
    say(f"as it starts: {errors(average, picture, checks)}")
    begun = time.monotonic()
    for step in range(first + 1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = PEAK_LR * min(1.0, step / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        sides = [(people, BATCH), (others, OTHERS)]
        some = [side.batch(rng.integers(0, len(side.controls), n)) for side, n in sides]
        images, wanted = (torch.cat(part) for part in zip(*some, strict=True))
        with mixed_precision():
            found = net(normalised(from_bytes(images), picture).contiguous(memory_format=layout))
        loss = F.smooth_l1_loss(found.float() / unit, wanted / unit, beta=BETA)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        average_into(average, net, min(EMA, step / (step + 20)))
        if step % 100 == 0 or step == steps:
            left = (time.monotonic() - begun) / (step - first) * (steps - step) / 60
            say(f"step {step}/{steps} loss {loss.item():.4f}, {left:.0f} min left")
            keep(state, step, parts)
    found_errors = errors(average, picture, checks)
    say(f"mean absolute errors: {found_errors}")
    return average.eval().requires_grad_(False), found_errors


def errors(net: nn.Module, picture: packs.NetInput, checks: dict[str, Read]) -> dict[str, float]:
    """Mean absolute error in paper units on each check."""
    found = {}
    with torch.inference_mode():
        for name, read in checks.items():
            parts = torch.from_numpy(read.pictures).split(64)
            values = torch.cat([net(normalised(from_bytes(part), picture)) for part in parts]).numpy()
            found[name] = round(float(np.abs(values - read.controls).mean()), 5)
    return found


def main(
    pairs: Path = typer.Option(..., help="a set of tools.dataset.make_dataset, 128 pixels"),
    pack: str = typer.Option("default", help="the two-stage pack whose mapping network goes on"),
    out: Path = typer.Option(
        Path("build/read_motion"), help="the pack folder to write; it holds the new net"
    ),
    work: Path = typer.Option(Path("build/read_motion_work"), help="folder for the state to go on from"),
    lessons: int = typer.Option(12000, help="motions to learn from"),
    epochs: int = typer.Option(4, help="times that each of them is seen"),
    seed: int = 1,
    threads: int = typer.Option(1, help="CPU threads"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Draw, train and write; a run that was stopped goes on with the training."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    opened = packs.open_pack(pack)
    spec = opened.nets["mapping"]
    chain = TwoStagePipeline(opened, engine(opened, threads))
    seen = {split: heads_of(chain, split, seed, folder) for split in ("train", "val")}
    chain.refer_to(average_rest(opened, seen["train"]))
    bank = mixtures(seen["train"], lessons, np.random.default_rng([seed, 1]), 1)
    people, strangers = (drawn(opened, chain, motions) for motions in (bank, seen["val"]))
    sides = [in_memory(PairDataset(pairs, side), spec.picture.size) for side in ("train", "test")]
    played, held_out = (Read(side.images, side.controls) for side in sides)
    some = np.arange(0, len(held_out.controls), max(1, len(held_out.controls) // CHECKED))
    checks = {"made_people_s_poses": strangers, "held_out_animations": held_out.rows(some)}
    net = engine_nets.opened(spec.arch, spec.config, spec.file)
    state = work / "mapping.state"
    net, stated = trained(net, spec.picture, people, played, checks, epochs, seed, state)
    command = f"python -m tools.train.mapping_on_motion --lessons {lessons} --epochs {epochs} --seed {seed}"
    write_with(
        out,
        opened,
        "mapping",
        "mapping",
        net,
        command,
        picture=spec.picture,
        options=spec.options,
        stated=stated,
    )


if __name__ == "__main__":
    typer.run(main)
