"""Teach the default pack's generator to draw what the mapping network reads of people.

    python -m tools.train.generator_course --pack default --out build/generator
    x2c-edge packs replace-net default generator build/generator

``transfer`` taught G to draw poses; what people do is mostly smaller. Here it goes on with what W makes of
the motions that M sees in human crops. The wanted picture is the renderer's, and what the pack's mapping
network reads in the drawn one counts in units of what people do, so that a jaw that goes sideways by a fifth
of a pixel is drawn as well as one that drops, and a control that is lost more than others counts up to three
times. All other nets stay as they are. Stages, each with its files in --work, so that a stopped run goes on.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tools._errors import user_errors
from tools.dataset import face_dataset as data
from tools.dataset.robot_pairs import pictures_of
from tools.evaluate.tables import load_mapping
from tools.train.checkpoint import Part, State, kept_array, say
from tools.train.default_pack import watcher
from tools.train.one_net import write_with
from tools.train.pack_place import require_place
from tools.train.people_motions import PeopleMotions, Row, Values, kept_shards, lost_of, most
from tools.train.single_stage import average_into
from tools.train.training_step import laid_out, mixed_precision, require_learning_rate
from tools.train.transfer import SIZE, Parts, difference, picture_tensor, picture_weight
from x2c_edge import packs
from x2c_edge.controls import INDEX
from x2c_edge.nets import engine_nets
from x2c_edge.nets.generator import Generator
from x2c_edge.pipelines.two_stage import TwoStagePipeline

Reads = Callable[[Tensor], Tensor]  # RGB pictures in 0..1 (N, 3, S, S) to controls (N, 30), paper units
BATCH, EMA, SAY_EVERY = 16, 0.995, 50
LEAST_SPREAD = 0.02  # paper units
READ_BETA = 0.2  # people's spreads; smaller errors count by their square
READ_WEIGHT = 1.0
CHECK = 200  # motions of other people


def main(
    pack: str = typer.Option("default", help="the default pack, whose generator it is"),
    out: Path = typer.Option(Path("build/generator"), help="the pack folder to write; it holds the new net"),
    work: Path = typer.Option(Path("build/generator_course"), help="folder for the stages"),
    motions: int = typer.Option(12000, min=BATCH, help="motions of people, and mixtures of them"),
    steps: int = typer.Option(1800, min=1, help=f"of {BATCH} pictures"),
    lr: float = typer.Option(4e-4, help="highest learning rate"),
    seed: int = typer.Option(1, min=0),
    threads: int = typer.Option(1, help="CPU threads"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """All stages; prints what the mapping network reads of people whom nobody has learnt from."""
    with user_errors():
        torch.set_num_threads(threads)
        require_learning_rate(lr)
        require_place(out)
        opened = packs.open_pack(pack)
        loaded = load_mapping(None, pack)
        assert loaded is not None
        people = PeopleMotions.of(opened, work, motions, seed, threads, folder, ("train", "val"))
        val = people.heads["val"]
        some = val[np.random.default_rng(seed).permutation(len(val))[:CHECK]]
        lessons, check = (
            Lessons.made(people, name, rows) for name, rows in (("train", people.learnt), ("val", some))
        )
        spec = opened.nets["generator"]
        net = engine_nets.opened(spec.arch, spec.config, spec.file)
        assert isinstance(net, Generator)
        reads = watcher(loaded[0])
        usual = people.meant(people.heads["train"])
        grey, found = seen(net, reads, check)
        lost = lost_of(found, check.values, usual)
        say(f"before: {in_words(grey, found, check)}; most lost: {most(lost)}")
        spread = np.maximum(usual.std(0), LEAST_SPREAD) / lost
        made = trained(
            net,
            reads,
            lessons,
            check,
            spread,
            Course(steps, lr, seed),
            State(people.work / f"generator-{steps}-{lr:g}.state"),
        )
        options = f"--motions {motions} --steps {steps} --lr {lr:g} --seed {seed}"
        write_with(
            out, opened, "generator", "generator", made, f"python -m tools.train.generator_course {options}"
        )


@dataclass(frozen=True)
class Course:
    """How long and how fast: steps of BATCH pictures, the highest learning rate."""

    steps: int
    peak: float
    seed: int

    def rate_at(self, step: int) -> float:
        """Learning rate: a short warm-up, then half a cosine."""
        return self.peak * min(1.0, step / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / self.steps)))


@dataclass(frozen=True)
class Lessons:
    """What G sees, moved (N, C, H, W) and driving keypoints (N, K, 3), and what it shall draw: controls
    (N, 30) in paper units, pictures (N, S, S, 3) uint8 BGR."""

    moved: NDArray[np.float16]
    driving: Row
    values: Values
    pictures: NDArray[np.uint8]

    @staticmethod
    def made(people: PeopleMotions, name: str, rows: Row) -> Lessons:
        """Of motions (M's heads, N rows); a run that was stopped finds them again."""
        folder, values = people.work / name, people.meant(rows)
        maps = kept_shards(folder, rows, partial(_maps, people.chain))
        drawn = kept_array(folder / "pictures.npy", lambda: pictures_of(values, SIZE))
        return Lessons(**maps, values=values, pictures=drawn)

    def some(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of some rows: what G sees, the keypoints, the controls, the picture (RGB in 0..1)."""
        moved = torch.from_numpy(self.moved[rows]).float().contiguous(memory_format=torch.channels_last)
        values = torch.from_numpy(self.values[rows]).float()
        return moved, torch.from_numpy(self.driving[rows]), values, picture_tensor(self.pictures[rows])


def _maps(chain: TwoStagePipeline, row: Row) -> dict[str, NDArray[np.floating]]:
    chain.driven(row)
    return {"moved": np.array(chain.moved[0], np.float16), "driving": np.array(chain.kp_driving)}


def trained(
    start: Generator, reads: Reads, taught: Lessons, check: Lessons, spread: Values, course: Course,
    state: State,
) -> Generator:  # fmt: skip
    """The moving average of G's weights. spread: (30,), the units of what is read."""
    net = laid_out(copy.deepcopy(start).requires_grad_(True).train())
    average = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=course.peak, weight_decay=0.01, betas=(0.9, 0.99))
    parts: dict[str, Part] = {"net": net, "average": average, "optimiser": optimiser}
    first = int(state.restored(parts).get("step", 0))
    rng, unit = np.random.default_rng([course.seed, first]), torch.from_numpy(spread).float()
    weight, face = picture_weight(taught.pictures), Parts()
    steps = course.steps
    begun, running = time.monotonic(), np.zeros(2)
    for step in range(first + 1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = course.rate_at(step)
        moved, driving, values, wanted = taught.some(rng.integers(0, len(taught.values), BATCH))
        with mixed_precision():
            made = net(moved).float()
            read = reads(made).float()
        drawn = difference(made, wanted, weight)
        for cut, weighs in ((face.eyes, 1.5), (face.mouth, 1.0)):
            drawn = drawn + weighs * (cut(made, driving) - cut(wanted, driving)).abs().mean()
        said = F.smooth_l1_loss(read / unit, values / unit, beta=READ_BETA)
        optimiser.zero_grad(set_to_none=True)
        (drawn + READ_WEIGHT * said).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        average_into(average, net, min(EMA, step / (step + 20)))
        running += (np.array([drawn.item(), said.item()]) - running) / min(step - first, 50)
        if step % SAY_EVERY == 0 or step == steps:
            state.keep(parts, step=step)
            left = (time.monotonic() - begun) / (step - first) * (steps - step) / 60
            say(f"step {step}/{steps} picture {running[0]:.4f} read {running[1]:.4f}, {left:.0f} min left")
        if step % (4 * SAY_EVERY) == 0 or step == steps:
            say(in_words(*seen(average, reads, check), check))
    return average.eval().requires_grad_(False)


def seen(net: Generator, reads: Reads, check: Lessons) -> tuple[float, Values]:
    """How many grey levels pictures are from the renderer's, and what is read in them (N, 30)."""
    grey, found = [], []
    with torch.inference_mode():
        for start in range(0, len(check.values), BATCH):
            rows = np.arange(start, min(start + BATCH, len(check.values)))
            moved, _, _, wanted = check.some(rows)
            made = net(moved).float().clamp(0, 1)
            grey.append(255 * (made - wanted).abs().mean((1, 2, 3)))
            found.append(reads(made))
    return float(torch.cat(grey).mean()), torch.cat(found).double().numpy()


def in_words(grey: float, found: Values, check: Lessons) -> str:
    """The same in words."""
    apart = np.abs(found - check.values)
    jaw = INDEX["Jaw Yaw"]
    return (
        f"{grey:.2f} grey levels from the renderer; {apart.mean():.4f} read from meant, "
        f"jaw yaw {apart[:, jaw].mean():.4f}, people's spread {check.values[:, jaw].std():.4f}"
    )


if __name__ == "__main__":
    typer.run(main)
