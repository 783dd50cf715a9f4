"""How a baseline learns: one AdamW cycle, which says the time left and goes on after a kill."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tools.dataset.pair_shards import written_beside

_BATCH = 64
_HASHED = 1024  # rows at a time: all of them once more need not fit into memory
_SAY_EVERY_S = 10.0


class Patience(Protocol):
    """What ``fit`` needs to know of an ``Effort``."""

    @property
    def seed(self) -> int: ...

    @property
    def keep(self) -> Path | None: ...

    @property
    def kept(self) -> list[Path]: ...


@dataclass(frozen=True)
class Task:
    """What a net is to learn. name: for people, and of its file. epochs: passes over the samples."""

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    epochs: int
    effort: Patience


def fit(net: nn.Module, task: Task, inputs: Tensor, targets: Tensor) -> None:
    """AdamW, one cycle, batches of 64 (or of all, when there are fewer), in a seeded order; then eval mode.

    With ``effort.keep`` the state after every epoch lies there, and a task of the same name, net, inputs,
    targets and epochs goes on from it, or is done at once. Its file is added to ``effort.kept``.
    """
    seed, batch = task.effort.seed, min(_BATCH, len(inputs))
    steps = task.epochs * (len(inputs) // batch)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    state = _State(task, net, optimiser, schedule, (inputs, targets))
    first = state.found()
    begun = said = time.monotonic()
    net.train()
    for epoch in range(first, task.epochs):
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(inputs)))
        for begin in range(0, len(order) - batch + 1, batch):
            rows = order[begin : begin + batch]
            loss = task.loss(net(inputs[rows]), targets[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        state.keep(epoch + 1)
        if time.monotonic() - said > _SAY_EVERY_S:
            said = time.monotonic()
            left = (said - begun) / (epoch + 1 - first) * (task.epochs - epoch - 1)
            print(f"{task.name}: epoch {epoch + 1} of {task.epochs}, {left / 60:.1f} min left", flush=True)
    net.eval()


class _State:
    """What ``fit`` has to remember between epochs, in a file; nowhere without a folder to keep it in."""

    def __init__(
        self,
        task: Task,
        net: nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        samples: tuple[Tensor, Tensor],
    ) -> None:
        self._parts = {"net": net, "optimiser": optimiser, "schedule": schedule}
        folder, self._path = task.effort.keep, None
        if folder is not None:
            shapes = [tuple(values.shape) for values in (*net.parameters(), *samples)]
            about = repr((task.name, task.epochs, task.effort.seed, shapes))
            digest = hashlib.sha256(about.encode())
            for part in samples:
                for rows in part.split(_HASHED):
                    digest.update(rows.numpy().tobytes())
            folder.mkdir(parents=True, exist_ok=True)
            self._path = folder / f"{task.name.replace(', ', '-')}-{digest.hexdigest()[:16]}.pt"
            task.effort.kept.append(self._path)

    def found(self) -> int:
        """Epochs that are done already; their state is in the parts then."""
        if self._path is None or not self._path.exists():
            return 0
        fresh = {name: deepcopy(part.state_dict()) for name, part in self._parts.items()}
        try:
            content = torch.load(self._path, weights_only=True)
            for name, part in self._parts.items():
                part.load_state_dict(content[name])
            return int(content["epoch"])
        except (RuntimeError, EOFError, KeyError, ValueError, UnpicklingError) as error:
            for name, part in self._parts.items():  # some may be loaded already
                part.load_state_dict(fresh[name])
            print(f"{self._path}: not to be read ({type(error).__name__}); learnt again", flush=True)
            return 0

    def keep(self, epoch: int) -> None:
        if self._path is not None:
            with written_beside(self._path) as file:
                torch.save(
                    {"epoch": epoch, **{name: part.state_dict() for name, part in self._parts.items()}}, file
                )
