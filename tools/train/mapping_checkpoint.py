"""Where a stopped training of the mapping network goes on."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch

from tools.dataset.pair_shards import written_beside
from tools.train.mapping_recipe import Recipe
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.nets.mapping import MappingNetwork


def save_checkpoint(
    path: Path, recipe: Recipe, net: MappingNetwork, optimiser: torch.optim.Optimizer, step: int
) -> None:
    """Replace the checkpoint in one move. NotFoundError when it cannot be written."""
    content = {
        "recipe": recipe.to_json(),
        "step": step,
        "net": net.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(path) as file:
            torch.save(content, file)
    except OSError as error:
        raise NotFoundError(
            f"{path}: cannot write the checkpoint ({error.strerror}); make room or give another --out"
        ) from None


def resume(
    path: Path, recipe: Recipe, device: str, net: MappingNetwork, optimiser: torch.optim.Optimizer
) -> int:
    """Steps that are done already; 0 without a checkpoint.

    NotFoundError for a file that is none, BadArgumentError for one of another recipe.
    """
    if not path.exists():
        return 0
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        known, step = content["recipe"], int(content["step"])
    except (RuntimeError, OSError, EOFError, KeyError, ValueError, TypeError, UnpicklingError) as error:
        raise NotFoundError(
            f"{path}: not a checkpoint of this tool ({type(error).__name__}); delete it to begin again"
        ) from None
    if known != recipe.to_json():
        mine = recipe.to_json()
        other = ", ".join(key for key in mine if known.get(key) != mine[key])
        raise BadArgumentError(
            f"{path}: a checkpoint of other settings ({other}); delete it or give another --out"
        )
    net.load_state_dict(content["net"])
    optimiser.load_state_dict(content["optimiser"])
    return step
