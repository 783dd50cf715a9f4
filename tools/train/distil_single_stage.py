"""Teach a thinner single-stage network what the present one does, and write it as a pack of its own.

    python -m tools.train.distil_single_stage --teacher build/default_pack/single_stage --out build/lean

It starts from the teacher's own weights (``slim_single_stage``), so its parts correspond: what is compared
are the features of the trunk and of the looks at eyes and mouth as well as what comes out; the labels count,
too. A run that was stopped goes on from the file in --work; with fewer --steps or --minutes it comes to its
end sooner.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import typer
from torch import Tensor, nn

from tools._errors import user_errors
from tools.dataset import face_dataset as data
from tools.evaluate.single_stage import load_net
from tools.evaluate.single_stage_report import evaluate, write_pack
from tools.train.checkpoint import Part, State
from tools.train.pack_place import require_place
from tools.train.single_stage import EMA, Batches, average_into, learning_rate
from tools.train.slim_single_stage import slimmed
from tools.train.training_step import laid_out
from x2c_edge import packs
from x2c_edge.nets.single_stage import SingleStage, folded

LEAN = {
    "stem": 16,
    "widths": (32, 64, 128, 128),
    "block_widths": (16, 32, 64, 8),
    "patch_widths": (8, 16, 32),
}
LR = 0.6  # of the usual peak: the weights are nearly right
WEIGHT_DECAY = 0.01
EXAMPLES = 6  # batches that the thinner net's first weights are fitted on
CROPS = 32  # in a step
SEEN = 10  # steps from a batch of Batches: to make one and to ask the teacher takes longer than a step
SHELF = 32  # batches to choose from
FEATURE_WEIGHT = 1.0
POINT_WEIGHT, POSE_WEIGHT, PRESENCE_WEIGHT = 0.5, 0.5, 0.3
POINT_UNIT, POSE_UNIT = 0.02, 0.05

Batch = dict[str, Tensor]


class Watched(nn.Module):
    """A single-stage net whose features between input and output come out, too."""

    def __init__(self, net: SingleStage) -> None:
        super().__init__()
        self.net = net
        self.features: dict[str, Tensor] = {}
        for name in ("features", "eye", "mouth", "mixed"):
            net.get_submodule(name).register_forward_hook(self._keep(name))

    def _keep(self, name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _input: object, out: Tensor) -> None:
            self.features[name] = out

        return hook

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """``row`` (N, outputs), and each part's features."""
        return {"row": self.net(x), **self.features}


class Loss:
    """Difference from the teacher and from the labels, each part in units of its own spread."""

    def __init__(self, faces: data.FaceSet) -> None:
        spread = torch.tensor(faces.controls.std(0), dtype=torch.float32)
        self.active = spread > 0
        self.unit = spread.clamp(min=0.02)[self.active]

    def __call__(self, out: dict[str, Tensor], teacher: dict[str, Tensor], batch: Batch) -> Tensor:
        face = batch["present"] > 0.5
        points = batch["points"].shape[1]
        total = nn.functional.binary_cross_entropy_with_logits(out["row"][:, 0], batch["present"])
        total = PRESENCE_WEIGHT * total
        truth = torch.cat([batch["points"], batch["pose"], batch["controls"]], dim=1)
        found = out["row"][face, 1:]
        for target in (teacher["row"][face, 1:], truth[face]):
            total = total + 0.5 * self.rows(found, target, points)
        for name in ("features", "eye", "mouth", "mixed"):
            twice = len(out[name]) // len(face)  # the eyes' features stand one below the other
            a, b = out[name][face.repeat(twice)], teacher[name][face.repeat(twice)]
            unit = b.square().mean(0).sqrt() + 0.1 * b.square().mean().sqrt()
            total = total + FEATURE_WEIGHT / 4 * nn.functional.smooth_l1_loss(a / unit, b / unit)
        return total

    def rows(self, found: Tensor, target: Tensor, points: int) -> Tensor:
        def part(columns: slice, unit: float) -> Tensor:
            return nn.functional.smooth_l1_loss(found[:, columns] / unit, target[:, columns] / unit)

        controls = [rows[:, points + 3 :][:, self.active] / self.unit for rows in (found, target)]
        return (
            nn.functional.smooth_l1_loss(*controls)
            + POINT_WEIGHT * part(slice(0, points), POINT_UNIT)
            + POSE_WEIGHT * part(slice(points, points + 3), POSE_UNIT)
        )


Lesson = tuple[Batch, dict[str, Tensor]]


def lessons(samples: Batches, teacher: Watched) -> Iterator[Lesson]:
    """CROPS crops with what the teacher makes of them, without end; SEEN for every batch made."""
    fresh = iter(torch.utils.data.DataLoader(samples, batch_size=None, num_workers=1, prefetch_factor=4))
    shelf: list[Lesson] = []
    while True:
        batch = next(fresh)
        with torch.inference_mode():
            answer = teacher(batch["x"])
        if len(shelf) == SHELF:
            shelf.pop(0)
        shelf.append((batch, answer))
        for _ in range(SEEN):
            yield some(*shelf[int(torch.randint(len(shelf), ()))])


def some(batch: Batch, answer: dict[str, Tensor]) -> Lesson:
    """CROPS random rows."""
    count = len(batch["x"])
    rows = torch.randperm(count)[:CROPS]
    both = torch.cat([rows, rows + count])  # the left eyes' features stand below the right eyes'
    return (
        {name: value[rows] for name, value in batch.items()},
        {name: value[rows if len(value) == count else both].clone() for name, value in answer.items()},
    )


def shaded(x: Tensor) -> Tensor:
    """The same pictures in a slightly different light."""
    gain, lift = 0.1 * torch.randn(2, len(x), 1, 1, 1)
    return x * gain.exp() + lift


@dataclass
class Run:
    """What a training needs to go on."""

    net: SingleStage
    average: SingleStage
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    @staticmethod
    def of(net: SingleStage) -> Run:
        # The batch norms stay what they are: their statistics belong to weights that are nearly right.
        net = laid_out(net.eval())
        optimiser = torch.optim.AdamW(net.parameters(), weight_decay=WEIGHT_DECAY)
        return Run(net, copy.deepcopy(net), optimiser)

    @property
    def _parts(self) -> dict[str, Part]:
        return {"net": self.net, "average": self.average, "optimiser": self.optimiser}

    def save(self, state: State) -> None:
        state.keep(self._parts, step=self.step, seconds=self.seconds)

    def load(self, state: State) -> None:
        counts = state.restored(self._parts)
        self.step, self.seconds = int(counts["step"]), counts["seconds"]


def descend(
    run: Run, big: SingleStage, samples: Batches, loss_of: Loss, steps: int, minutes: float = math.inf
) -> Iterator[int]:
    """Optimiser steps until ``steps`` were made or ``minutes`` spent in all; gives each step's number."""
    student = Watched(run.net)
    teacher = Watched(laid_out(folded(big)))
    first, running, lesson = run.step, 0.0, lessons(samples, teacher)
    start = time.monotonic() - run.seconds
    while (progress := max(run.step / steps, run.seconds / 60 / minutes)) < 1:
        run.step += 1
        for group in run.optimiser.param_groups:
            group["lr"] = LR * learning_rate(progress)
        batch, answer = next(lesson)
        loss = loss_of(student(shaded(batch["x"])), answer, batch)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(run.net.parameters(), 5.0)
        run.optimiser.step()
        average_into(run.average, run.net, min(EMA, run.step / (run.step + 50)))
        run.seconds = time.monotonic() - start
        running += (loss.item() - running) / min(run.step - first, 50)
        if run.step % 50 == 0:
            print(f"step {run.step}, {progress:.0%} loss {running:.4f}", flush=True)
        yield run.step


def main(
    teacher: str = typer.Option(
        "build/default_pack/single_stage", help="the pack whose single-stage net teaches"
    ),
    out: Path = typer.Option(Path("build/lean"), help="the pack folder to write"),
    work: Path = typer.Option(Path("build/lean_work"), help="folder for the state to go on from"),
    steps: int = typer.Option(4000, help=f"optimiser steps of {CROPS} crops"),
    minutes: float = typer.Option(math.inf, help="the schedule ends at the latest after so many"),
    seed: int = typer.Option(1, min=0),
    threads: int = typer.Option(1, help="CPU threads"),
    every: int = typer.Option(500, help="steps between validation reports"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Slim, train, report on the val split as it goes, and write the pack at the end."""
    with user_errors():
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        require_place(out, alone="single_stage")
        taught_by = packs.open_pack(teacher)
        big = load_net(taught_by)
        config = replace(big.config, **LEAN)
        train, val, test = (data.load(split, folder) for split in ("train", "val", "test"))
        state = State(
            work / "state.pt",
            {"teacher": taught_by.nets["single_stage"].sha256, "seed": seed, "folder": data.digest(folder)},
        )
        if state.file.exists():
            run = Run.of(SingleStage(config))
            run.load(state)
        else:
            examples = Batches(train, config.input_size, seed + 1, negatives=0.0)
            run = Run.of(slimmed(big, config, torch.cat([examples.make()["x"] for _ in range(EXAMPLES)])))
            print(f"slimmed: {evaluate(run.net, val).summary()}", flush=True)
        limit = "" if minutes == math.inf else f" --minutes {minutes:g}"
        command = f"python -m tools.train.distil_single_stage --steps {steps} --seed {seed}{limit}"
        samples = Batches(train, config.input_size, seed + 1000 * run.step)
        for step in descend(run, big, samples, Loss(train), steps, minutes):
            if step % 100 == 0:
                run.save(state)
            if step % every == 0:
                print(evaluate(run.average, val).summary(), flush=True)
        write_pack(out, run.average, command, evaluate(run.average, test))
        state.remove()


if __name__ == "__main__":
    typer.run(main)
