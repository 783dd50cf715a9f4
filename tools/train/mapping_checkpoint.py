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
    """Everything that the result of ``mapping_training.train`` depends on.

    Last digits may differ when a run goes on with another number of threads: numbers are rounded, and of a
    start the matrices count, not what ``mapping_course`` has measured for its norms.
    """
    sides = [pairs] if twins is None else [pairs, twins]
    pictures = [side.image(int(row)) for side in sides for row in spread(len(side), _LOOKED_AT)]
    told = [np.round(array, 3) + 0.0 for array in (pairs.controls, looks, weights) if array is not None]
    matrices = [tensor for tensor in (start or {}).values() if tensor.dim() > 1]
    return recipe.to_json() | {
        "data": digest_of([*told, *pictures]),
        "start": digest_of(matrices) if start else "",
        "processes": processes,
        "precision": "bf16" if bf16 else "fp32",
    }
