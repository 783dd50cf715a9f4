"""Where a training is: in words, and in a file, so that a stopped run goes on with the same command."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tools.dataset.pair_shards import written_beside

Part = nn.Module | torch.optim.Optimizer


def keep(file: Path, parts: dict[str, Part], **counts: float) -> None:
    """Write where a run is; a run that is killed meanwhile leaves the file of before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(file) as out:
        torch.save(counts | {name: part.state_dict() for name, part in parts.items()}, out)


def restored(file: Path | None, parts: dict[str, Part]) -> dict[str, float]:
    """Put ``parts`` where ``keep`` wrote that they were; the counts, none without a file."""
    if file is None or not file.is_file():
        return {}
    saved = torch.load(file, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved.pop(name))
    return dict(saved)


def kept_array(file: Path, make: Callable[[], Any]) -> Any:
    """An array from its file, made if that is not there."""
    if not file.is_file():
        say(f"making {file.stem}")
        with written_beside(file) as out:
            np.save(out, make())
    return np.load(file)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
