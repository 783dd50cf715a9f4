"""Where a training is, in a file: a run that was stopped goes on when the same command is given again."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from tools.dataset.pair_shards import written_beside

Part = nn.Module | torch.optim.Optimizer


def keep(file: Path, step: int, parts: dict[str, Part]) -> None:
    """Write where a run is; a run that is killed meanwhile leaves the file of before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(file) as out:
        torch.save({"step": step} | {name: part.state_dict() for name, part in parts.items()}, out)


def restored(file: Path | None, parts: dict[str, Part]) -> int:
    """Put ``parts`` where ``keep`` wrote that they were; the step, 0 without a file."""
    if file is None or not file.is_file():
        return 0
    saved = torch.load(file, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return int(saved["step"])
