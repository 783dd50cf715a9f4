"""What a checkpoint of the mapping network belongs to, beside its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tools.train.checkpoint import digest_of
from tools.train.mapping_pictures import Pairs, spread
from tools.train.mapping_recipe import Recipe

_LOOKED_AT = 64  # pictures of a side: other ones of the same controls have other bytes


def options_of(
    recipe: Recipe,
    pairs: Pairs,
    twins: Pairs | None,
    looks: NDArray[np.float32] | None,
    weights: NDArray[np.float32] | None,
    start: Mapping[str, Tensor] | None,
    processes: int,
    bf16: bool,
) -> dict[str, Any]:
    """Everything that the result of ``mapping_training.train`` depends on."""
    sides = [pairs] if twins is None else [pairs, twins]
    pictures = [side.image(int(row)) for side in sides for row in spread(len(side), _LOOKED_AT)]
    told = [array for array in (looks, weights) if array is not None]
    return recipe.to_json() | {
        "data": digest_of([pairs.controls, *told, *pictures]),
        "start": digest_of(start.values()) if start else "",
        "processes": processes,
        "precision": "bf16" if bf16 else "fp32",
    }
