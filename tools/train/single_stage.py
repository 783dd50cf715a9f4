"""Train the single-stage network on the real-face set and write it as a model pack of its own.

    python -m tools.train.single_stage --out build/default_pack/single_stage

``train_default_pack`` puts it into the default pack. It took 82 minutes beside other work on two cores.

Choices that matter are constants below; what is known to work is in ``shared/data/faces/BASELINE.md``. The
seed fixes the samples, not the last bits of the weights: sums run in another order with other thread
counts and CPUs.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import typer
from torch import Tensor, nn

from tools._errors import user_errors
from tools.dataset import face_dataset as data
from tools.dataset.face_dataset import MEAN, STD
from tools.evaluate.single_stage_report import evaluate, write_pack
from tools.train.checkpoint import Part, State
from tools.train.pack_place import require_place
from tools.train.training_step import laid_out, mixed_precision
from x2c_edge.nets.landmarks import mirror_order
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig

BATCH = 64
PEAK_LR = 1.5e-3
WEIGHT_DECAY = 0.05
WARM_UP = 0.02
EMA = 0.999
NEGATIVES = 0.12  # share of crops without a face
JITTER = data.Jitter(scale=0.09, rotation_deg=8.0, shift=0.035)
WIDE_JITTER = data.Jitter(scale=0.2, rotation_deg=14.0, shift=0.09)  # a detector's first, rough box
WIDE_SHARE = 0.15
BLEND_WEIGHT, POINT_WEIGHT, POSE_WEIGHT, PRESENCE_WEIGHT = 0.5, 0.5, 0.5, 0.3
POINT_UNIT = 0.02  # half crop sides
POSE_UNIT = math.radians(3)


Crop = Callable[[data.Array, int, data.Jitter, np.random.Generator], tuple[data.Array, float]]


class Batches(torch.utils.data.IterableDataset[dict[str, Tensor]]):
    """Augmented batches without end; a DataLoader makes them in a process of its own."""

    def __init__(
        self,
        faces: data.FaceSet,
        size: int,
        seed: int,
        crop: Crop = data.crop_affine,
        negatives: float = NEGATIVES,
    ) -> None:
        self.faces, self.size, self.crop, self.negatives = faces, size, crop, negatives
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.columns = data.mirror_columns(faces.names)
        self.twins = list(mirror_order())

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        torch.set_num_threads(1)
        while True:
            yield self.make()

    def go_on_from(self, step: int) -> None:
        """Other samples than those before ``step``."""
        self.rng = np.random.default_rng([self.seed, step])

    def make(self) -> dict[str, Tensor]:
        """The next batch."""
        rng, faces, size = self.rng, self.faces, self.size
        rows = rng.integers(0, len(faces.images), BATCH)
        crops = np.empty((BATCH, size, size, 3), np.uint8)
        points = np.zeros((BATCH, len(data.IDS), 2))
        present = rng.random(BATCH) >= self.negatives
        roll = np.zeros(BATCH)
        mirror = rng.random(BATCH) < 0.5
        for i, row in enumerate(rows):
            image = faces.images[row]
            if not present[i]:
                crops[i] = data.roughen(data.no_face(image, size, rng), rng)
                continue
            jitter = WIDE_JITTER if rng.random() < WIDE_SHARE else JITTER
            affine, roll[i] = self.crop(faces.points[row], size, jitter, rng)
            points[i] = data.to_crop(faces.points[row], affine) - (size - 1) / 2
            crops[i] = data.roughen(data.sample(image, affine, size), rng)
        # The crop's frame is the picture's turned by `roll` (y down), so the head turns by it (y up).
        rotation = data.roll_matrix(roll) @ faces.rotation[rows]
        angles = data.angles_from_rotation(rotation)
        blend, controls = faces.blendshapes[rows], faces.controls[rows]
        blend = np.where(mirror[:, None], blend[:, self.columns], blend)
        controls = np.where(mirror[:, None], faces.mirrored_controls[rows], controls)
        angles[mirror, 0] *= -1
        angles[mirror, 2] *= -1
        flipped = points[:, self.twins] * np.array([-1.0, 1.0])
        points = np.where(mirror[:, None, None], flipped, points)
        crops[mirror] = crops[mirror, :, ::-1]
        return {
            "x": self.recolour(crops),
            "points": torch.tensor(points / (size / 2), dtype=torch.float32).flatten(1),
            "blend": torch.tensor(blend, dtype=torch.float32),
            "controls": torch.tensor(controls, dtype=torch.float32),
            "pose": torch.tensor(angles, dtype=torch.float32),
            "present": torch.tensor(present, dtype=torch.float32),
        }

    def recolour(self, crops: np.ndarray) -> Tensor:
        """uint8 BGR HWC -> augmented, normalised float RGB CHW (channels last in memory)."""
        rng, n, size = self.rng, len(crops), self.size

        def per_sample(values: np.ndarray) -> Tensor:
            return torch.tensor(values, dtype=torch.float32).reshape(n, -1, 1, 1)

        x = torch.from_numpy(np.ascontiguousarray(crops[..., ::-1])).permute(0, 3, 1, 2).float() / 255
        x = x ** per_sample(np.exp(rng.normal(0, 0.25, n)))
        x = x * per_sample(np.exp(rng.normal(0, 0.18, n)))
        x = x * per_sample(np.exp(rng.normal(0, 0.07, (n, 3))))
        x = x + per_sample(rng.normal(0, 0.04, n))
        grey = per_sample((rng.random(n) < 0.15).astype(np.float64))
        x = x * (1 - grey) + x.mean(1, keepdim=True) * grey
        ramp = torch.linspace(-1, 1, size)
        x = x * (
            1 + per_sample(rng.normal(0, 0.15, n)) * ramp + per_sample(rng.normal(0, 0.1, n)) * ramp[:, None]
        )
        noise = torch.from_numpy(rng.standard_normal((n, 3, size, size), dtype=np.float32))
        x = x + per_sample(rng.exponential(0.015, n)) * noise
        return ((x.clamp(0, 1) - MEAN) / STD).contiguous(memory_format=torch.channels_last)


class Loss:
    """Weighted sum; every part is in units of its own spread, so the weights are comparable."""

    def __init__(self, faces: data.FaceSet) -> None:
        self.control_unit = torch.tensor(np.maximum(faces.controls.std(0), 0.02), dtype=torch.float32)
        spread = faces.blendshapes.std(0)
        self.blend_unit = torch.tensor(np.maximum(spread, 0.02), dtype=torch.float32)
        self.has_signal = torch.tensor(spread > 0.002)
        self.active = torch.tensor(faces.controls.std(0) > 0)

    def __call__(self, row: Tensor, blend: Tensor, batch: dict[str, Tensor]) -> Tensor:
        face = batch["present"] > 0.5
        points = batch["points"].shape[1]
        presence, landmarks = row[:, 0], row[face, 1 : 1 + points]
        pose, controls = row[face, 1 + points : 4 + points], row[face, 4 + points :]
        huber = nn.functional.smooth_l1_loss
        control = huber(
            (controls / self.control_unit)[:, self.active],
            (batch["controls"][face] / self.control_unit)[:, self.active],
        )
        shapes = huber(
            (blend[face] / self.blend_unit)[:, self.has_signal],
            (batch["blend"][face] / self.blend_unit)[:, self.has_signal],
        )
        point = huber(landmarks / POINT_UNIT, batch["points"][face] / POINT_UNIT)
        angle = huber(pose / POSE_UNIT, batch["pose"][face] / POSE_UNIT)
        exists = nn.functional.binary_cross_entropy_with_logits(presence, batch["present"])
        return (
            control
            + BLEND_WEIGHT * shapes
            + POINT_WEIGHT * point
            + POSE_WEIGHT * angle
            + PRESENCE_WEIGHT * exists
        )


def learning_rate(progress: float, peak: float = PEAK_LR) -> float:
    if progress < WARM_UP:
        return peak * progress / WARM_UP
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def descend(
    net: nn.Module,
    average: nn.Module,
    samples: Batches,
    loss_of: Callable[[dict[str, Tensor]], Tensor],
    steps: int,
    *,
    beside: nn.Module | None = None,
    peak: float = PEAK_LR,
    state: State | None = None,
) -> Iterator[int]:
    """Optimiser steps by the recipe above; gives each step's number after it.

    average: takes the moving average of the net's weights. beside: a head that learns, too, and is not kept.
    state: where the run is written every 100 steps and at its end, and goes on from if it is there; whoever
    has written the result removes it.
    """
    learning = nn.ModuleDict({"net": net} | ({"beside": beside} if beside else {}))
    optimiser = torch.optim.AdamW(learning.parameters(), lr=peak, weight_decay=WEIGHT_DECAY)
    parts: dict[str, Part] = {"learning": learning, "average": average, "optimiser": optimiser}
    first = int(state.restored(parts).get("step", 0)) if state else 0
    samples.go_on_from(first)
    batches = iter(torch.utils.data.DataLoader(samples, batch_size=None, num_workers=1, prefetch_factor=4))
    start, running = time.monotonic(), 0.0
    for step in range(first + 1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step / steps, peak)
        loss = loss_of(next(batches))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(learning.parameters(), 5.0)
        optimiser.step()
        running += (loss.item() - running) / min(step - first, 50)
        average_into(average, net, min(EMA, step / (step + 50)))
        if step % 100 == 0:
            seconds = (time.monotonic() - start) / (step - first)
            left = seconds * (steps - step) / 60
            print(
                f"step {step}/{steps} loss {running:.3f} {BATCH / seconds:.0f} crops/s, {left:.0f} min left",
                flush=True,
            )
        if state and (step % 100 == 0 or step == steps):
            state.keep(parts, step=step)
        yield step


def average_into(average: nn.Module, net: nn.Module, keep: float) -> None:
    """One step of the exponential moving average of the weights."""
    with torch.no_grad():
        for mean, now in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - keep)
            else:
                mean.copy_(now)


def main(
    out: Path = typer.Option(Path("build/default_pack/single_stage"), help="the pack folder to write"),
    steps: int = typer.Option(12000, help="optimiser steps of 64 crops"),
    seed: int = typer.Option(1, min=0),
    threads: int = typer.Option(1, help="CPU threads"),
    every: int = typer.Option(1000, help="steps between validation reports"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Train, report on the val split as it goes, and write the pack. A run that was stopped goes on."""
    with user_errors():
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        require_place(out, alone="single_stage")
        config = SingleStageConfig(landmarks=len(data.IDS))
        train, val, test = (data.load(split, folder) for split in ("train", "val", "test"))
        net = laid_out(SingleStage(config))
        blend_head = nn.Linear(config.hidden, train.blendshapes.shape[1])
        average = copy.deepcopy(net)
        samples, loss_of = Batches(train, config.input_size, seed), Loss(train)

        def loss(batch: dict[str, Tensor]) -> Tensor:
            with mixed_precision():
                face, features = net.embed(batch["x"])
                blend = blend_head(features)
                row = net.read(face, features)
            return loss_of(row, blend.float(), batch)

        state = State(state_of(out), {"steps": steps, "seed": seed, "folder": data.digest(folder)})
        for step in descend(net, average, samples, loss, steps, beside=blend_head, state=state):
            if step % every == 0 or step == steps:
                print(evaluate(average, val).summary(), flush=True)
        command = f"python -m tools.train.single_stage --steps {steps} --seed {seed}"
        write_pack(out, average, command, evaluate(average, test))
        state.remove()


def state_of(out: Path) -> Path:
    """Where a run that will write ``out`` is; there as long as it has not."""
    return out.with_name(out.name + ".state")


if __name__ == "__main__":
    typer.run(main)
