"""The training loop of the mapping network: one process on a CPU or a GPU, or many under ``torchrun``.

The recipe is the paper's (``mapping_recipe``). What a step learns from depends on the seed, the step and
the rank alone, so a run that was stopped and goes on from its checkpoint ends as one that was not, up to
rounding.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn import functional as F  # noqa: N812

from tools.train.checkpoint import State
from tools.train.mapping_checkpoint import options_of
from tools.train.mapping_pictures import Pairs, augmented, from_bytes, normalised, resized, statistics
from tools.train.mapping_recipe import Recipe
from tools.train.torchvision_weights import TRUNK
from tools.train.training_step import has_bfloat16, laid_out, layout_of, mixed_precision
from x2c_edge.controls import from_robot
from x2c_edge.errors import BadArgumentError, UserError
from x2c_edge.nets.arch import folded
from x2c_edge.nets.look_trunk import LookTwiceTrunk
from x2c_edge.nets.mapping import MappingNetwork
from x2c_edge.packs import NetInput

Precision = Literal["auto", "bf16", "fp32"]
_SAY_EVERY_S = 10.0
KEEP_EVERY_S = 120.0  # an epoch of a large set takes hours on a CPU
_SPREAD_BETA = 0.2  # the errors that count are smaller than a control's spread by then
_POINT_UNIT = 0.03  # half picture sides


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to train. workers: processes that read pictures, 0 for none. world, rank: of torchrun."""

    device: str = "cpu"
    precision: Precision = "auto"
    workers: int = 0
    world: int = 1
    rank: int = 0

    @property
    def bf16(self) -> bool:
        """Whether convolutions run in bfloat16 ("auto": where the hardware computes in it)."""
        if self.precision != "auto":
            return self.precision == "bf16"
        return has_bfloat16(self.device)


def machine_here(device: str, precision: Precision, workers: int) -> Machine:
    """This process's place, and its process group joined when torchrun started it. BadArgumentError when
    the device is not there."""
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if device not in ("cpu", "cuda"):
        raise BadArgumentError(f"--device {device}: choose cpu or cuda")
    if device == "cuda":
        if not torch.cuda.is_available():
            raise BadArgumentError("--device cuda: torch finds no CUDA device here; use --device cpu")
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if world > 1:
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Machine(device, precision, workers, world, rank)


@dataclass(frozen=True)
class Trained:
    """A mapping network, its input, and what is known about it. Outputs are paper units (radians)."""

    net: MappingNetwork
    picture: NetInput
    recipe: dict[str, Any]
    trained_by: str = ""
    accuracy: dict[str, Any] | None = None


def train(
    recipe: Recipe,
    pairs: Pairs,
    *,
    machine: Machine | None = None,
    twins: Pairs | None = None,
    looks: NDArray[np.float32] | None = None,
    weights: NDArray[np.float32] | None = None,
    checkpoint: Path | None = None,
    start: Mapping[str, Tensor] | None = None,
    say: Callable[[str], None] = print,
) -> Trained:
    """Train on all of ``pairs`` and give the network back on the CPU, in eval mode.

    twins: pictures of the same length whose picture i shows what picture i of ``pairs`` shows (another
    renderer's, the generator's own): their features are drawn together (cosine term) and both are read.
    looks: (N, 5, 2), where in the pictures a trunk that looks twice has to look (``look_points``).
    weights: (N, 30), how much louder than others an error counts; none given: all alike.
    checkpoint: written after every epoch and every few minutes; one of the same recipe, data, start and
    machine (processes, precision) is gone on from; whoever has written the result removes it.
    start: weights to begin with, of the whole net or of its feature extractor alone. BadArgumentError for
    fewer pairs than a batch, a batch that the processes cannot share, twins, looks or weights that are not as
    many, a trunk that looks twice and is not told where, or a checkpoint of another run; NotFoundError for
    one that is none or cannot be written; UserError when the loss is no number any more.
    """
    machine = machine or Machine()
    steps_per_epoch = _steps_per_epoch(recipe, pairs, twins, machine)
    _check_looks(recipe, pairs, looks)
    if weights is not None and weights.shape != pairs.controls.shape:
        raise BadArgumentError(
            f"weights: expected {pairs.controls.shape} for these pairs, got {weights.shape}"
        )
    steps = steps_per_epoch * recipe.epochs
    torch.manual_seed(recipe.seed)
    mean, std = statistics(pairs, recipe.size)
    picture = NetInput(recipe.size, "RGB", (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), "area")
    spread = _Spread.of(recipe, pairs)
    net = laid_out(_new_net(recipe, pairs, spread, start).to(machine.device))
    layout = layout_of(net)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    parts = {"net": net, "optimiser": optimiser}
    state, first = None, 0
    if checkpoint:
        options = options_of(recipe, pairs, twins, looks, weights, start, machine.world, machine.bf16)
        state = State(checkpoint, options)
        first = int(state.restored(parts).get("step", 0))
    _agree_on(first, machine)
    if first and machine.rank == 0:
        say(f"going on from step {first} of {steps} in {checkpoint}")
    model: nn.Module = _WithFeatures(net)
    if machine.world > 1:
        model = nn.parallel.DistributedDataParallel(model)
    model.train()
    reader = _Reader(pairs, twins, looks, weights, recipe.size)
    batches = _batches(recipe, reader, machine, first, steps, steps_per_epoch)
    begun = said = kept = time.monotonic()
    for step, (images, controls, places, louder) in enumerate(batches, first + 1):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate_at(step / steps)
        x = from_bytes(images.to(machine.device, non_blocking=True))
        if recipe.augment:
            generator = torch.Generator().manual_seed(_number(recipe.seed, step, machine.rank))
            x, moved = augmented(x, generator)
            if looks is not None:
                places = places + moved[: len(places), None].to(places)
        wanted = controls.to(machine.device, non_blocking=True)
        with mixed_precision(machine.device, bf16=machine.bf16):
            values, features, points = model(normalised(x, picture).contiguous(memory_format=layout))
        louder = louder.to(machine.device)
        loss = _loss(recipe, values.float(), features.float(), spread.taken_out(wanted), louder)
        if looks is not None:
            loss = loss + _look_loss(recipe, points[: len(places)], places.to(machine.device))
        if not math.isfinite(loss.item()):
            raise UserError(f"step {step}: the loss is {loss.item()}; train again with a smaller --lr")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), recipe.gradient_norm)
        optimiser.step()
        if machine.rank == 0:
            if time.monotonic() - said > _SAY_EVERY_S or step == steps:
                said = time.monotonic()
                rate = (step - first) / (said - begun)
                left = (steps - step) / rate
                say(
                    f"step {step}/{steps}  loss {loss.item():.5f}  {rate * recipe.batch:.0f} pictures/s  "
                    f"{left / 60:.1f} min left"
                )
            if state and (step % steps_per_epoch == 0 or time.monotonic() - kept > KEEP_EVERY_S):
                kept = time.monotonic()
                state.keep(parts, step=step)
    net = net.cpu().eval().requires_grad_(False)
    spread.put_back(net)
    return Trained(net, picture, recipe.to_json())


def predict(
    net: nn.Module,
    picture: NetInput,
    pairs: Pairs,
    *,
    degrees: bool = False,
    device: str = "cpu",
    batch: int = 128,
) -> np.ndarray:
    """Controls (N, 30) float64 in paper units. degrees: the net's angles are the robot's own units."""
    net = folded(net).eval().to(device, memory_format=torch.channels_last)
    rows = []
    with torch.inference_mode():
        for begin in range(0, len(pairs), batch):
            some = range(begin, min(begin + batch, len(pairs)))
            images = np.stack([resized(pairs.image(i), picture.size, picture.resize) for i in some])
            x = normalised(from_bytes(torch.from_numpy(images).to(device)), picture)
            rows.append(net(x).cpu().numpy())
    values = np.concatenate(rows).astype(np.float64)
    return from_robot(values) if degrees else values


def _agree_on(first: int, machine: Machine) -> None:
    if machine.world == 1:
        return
    ends = torch.tensor([first, -first], device=machine.device)
    distributed.all_reduce(ends, distributed.ReduceOp.MAX)
    if ends[0] != -ends[1]:
        raise BadArgumentError("the processes see different checkpoints; give an --out that they all share")


class _WithFeatures(nn.Module):
    """Controls, features and points (N, 5, 2; none for most trunks) of one pass, as distributed training
    needs them from one forward."""

    def __init__(self, net: MappingNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        trunk = self.net.feature_extractor
        if isinstance(trunk, LookTwiceTrunk):
            features, points = trunk.read(x)
        else:
            features, points = self.net.features(x), x.new_empty(0)
        return self.net.head(features), features, points


@dataclass(frozen=True)
class _Spread:
    """The unit and the middle of each output (30,) while a net trains for the "spread" loss."""

    unit: Tensor
    middle: Tensor

    @staticmethod
    def of(recipe: Recipe, pairs: Pairs) -> _Spread:
        controls = torch.from_numpy(np.asarray(pairs.controls, dtype=np.float32))
        if recipe.loss == "huber":
            return _Spread(torch.ones(controls.shape[1]), torch.zeros(controls.shape[1]))
        return _Spread(controls.std(0).clamp_min(0.02), controls.mean(0))

    def taken_out(self, controls: Tensor) -> Tensor:
        return (controls - self.middle.to(controls)) / self.unit.to(controls)

    def put_back(self, net: MappingNetwork) -> None:
        """Outputs in paper units from now on."""
        last = net.pos_pred_head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(self.unit[:, None])
            last.bias.mul_(self.unit).add_(self.middle)

    def take_out(self, net: MappingNetwork) -> None:
        """Inverse of ``put_back``."""
        last = net.pos_pred_head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.div_(self.unit[:, None])
            last.bias.sub_(self.middle).div_(self.unit)


def _loss(recipe: Recipe, values: Tensor, features: Tensor, wanted: Tensor, louder: Tensor) -> Tensor:
    """louder: (N, 30), or (N, 0) for all alike. With twins there are twice as many values as wanted ones."""
    twins = len(values) != len(wanted)
    if twins:
        wanted, louder = torch.cat([wanted, wanted]), torch.cat([louder, louder])
    if louder.shape[1]:
        values, wanted = louder * values, louder * wanted
    if recipe.loss == "spread":
        loss = F.smooth_l1_loss(values, wanted, beta=_SPREAD_BETA)
    else:
        loss = F.huber_loss(values, wanted, delta=recipe.huber_delta)
    if not twins:
        return loss
    own, other = features.chunk(2)
    return loss + recipe.feature_weight * (1 - F.cosine_similarity(own, other).mean())


def _look_loss(recipe: Recipe, points: Tensor, places: Tensor) -> Tensor:
    """Of where a net looked; as large beside the other loss as its scale is."""
    loss = F.smooth_l1_loss(points / _POINT_UNIT, places / _POINT_UNIT)
    return 0.3 * loss * (recipe.huber_delta if recipe.loss == "huber" else 1.0)


def _check_looks(recipe: Recipe, pairs: Pairs, looks: NDArray[np.float32] | None) -> None:
    if recipe.net.looks_twice != (looks is not None):
        raise BadArgumentError(
            "looks: a trunk that looks twice has to be told where" if looks is None
            else "looks: this trunk looks only once"
        )  # fmt: skip
    if looks is not None and looks.shape != (len(pairs), 5, 2):
        raise BadArgumentError(f"looks: expected {(len(pairs), 5, 2)} for these pairs, got {looks.shape}")


def _new_net(
    recipe: Recipe, pairs: Pairs, spread: _Spread, start: Mapping[str, Tensor] | None
) -> MappingNetwork:
    net = MappingNetwork(recipe.net)
    last = net.pos_pred_head[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():  # begin at the mean pose instead of zero
        last.weight.mul_(0.1)
        last.bias.copy_(spread.taken_out(torch.from_numpy(np.asarray(pairs.controls.mean(0)))))
    if start is not None:
        headless = bool(start) and all(name.startswith(TRUNK) for name in start)
        try:
            net.load_state_dict({**(net.state_dict() if headless else {}), **start})
        except RuntimeError:
            raise BadArgumentError(
                "the weights to start from are of another net; give the same sizes"
            ) from None
        if not headless:
            spread.take_out(net)
    return net


def _steps_per_epoch(recipe: Recipe, pairs: Pairs, twins: Pairs | None, machine: Machine) -> int:
    if recipe.batch % machine.world:
        raise BadArgumentError(f"--batch {recipe.batch}: {machine.world} processes cannot share it evenly")
    if len(pairs) < recipe.batch:
        raise BadArgumentError(
            f"{len(pairs)} pairs are less than one batch of {recipe.batch}; make more pairs"
        )
    if twins is not None and len(twins) != len(pairs):
        raise BadArgumentError(f"{len(twins)} twins for {len(pairs)} pairs; every pair needs its own")
    return len(pairs) // recipe.batch


class _Reader(torch.utils.data.Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """Item "rows of a batch": uint8 pictures (N or 2N with twins, S, S, 3), controls (N, 30), points
    (N, 5, 2) or (N, 0), weights (N, 30) or (N, 0)."""

    def __init__(
        self,
        pairs: Pairs,
        twins: Pairs | None,
        looks: NDArray[np.float32] | None,
        weights: NDArray[np.float32] | None,
        size: int,
    ) -> None:
        self.pairs, self.size = pairs, size
        self.controls = pairs.controls.astype(np.float32)
        nothing = np.empty((len(pairs), 0), np.float32)
        self.looks = nothing if looks is None else looks
        self.weights = nothing if weights is None else weights
        self.sides = [pairs] if twins is None else [pairs, twins]

    def __getitem__(self, rows: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        images = np.stack([resized(side.image(row), self.size) for side in self.sides for row in rows])
        controls = torch.from_numpy(self.controls[rows])
        looks, weights = (torch.from_numpy(a[rows]) for a in (self.looks, self.weights))
        return torch.from_numpy(images), controls, looks, weights


@dataclass(frozen=True)
class _Order:
    """The rows of each step: every epoch is a permutation of all pairs; the ranks share each batch."""

    recipe: Recipe
    count: int
    machine: Machine
    first: int
    steps: int
    steps_per_epoch: int

    def __len__(self) -> int:
        return self.steps - self.first

    def __iter__(self) -> Iterator[list[int]]:
        batch, share = self.recipe.batch, self.recipe.batch // self.machine.world
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(self.first, self.steps):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = np.random.default_rng([self.recipe.seed, epoch]).permutation(self.count)
            begin = (step % self.steps_per_epoch) * batch + self.machine.rank * share
            yield order[begin : begin + share].tolist()


def _batches(
    recipe: Recipe, reader: _Reader, machine: Machine, first: int, steps: int, per_epoch: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    loader = torch.utils.data.DataLoader(
        reader,
        batch_size=None,
        sampler=_Order(recipe, len(reader.pairs), machine, first, steps, per_epoch),
        num_workers=machine.workers,
        pin_memory=machine.device.startswith("cuda"),
    )
    return iter(loader)


def _number(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
