"""Where a training is: in words, and in a file, so that a stopped run goes on with the same command."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import nn

from tools.dataset.pair_shards import written_beside
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.whole_file import write_whole

Part = nn.Module | torch.optim.Optimizer


@dataclass(frozen=True)
class State:
    """A file that a stopped run goes on from, and what else its result depends on: names and plain values."""

    file: Path
    options: Mapping[str, Any] = field(default_factory=dict)

    def keep(self, parts: Mapping[str, Part], **counts: float) -> None:
        """Write where a run is; one that is killed meanwhile leaves the file of before. NotFoundError when
        it cannot be written."""
        states = {name: part.state_dict() for name, part in parts.items()}
        content = io.BytesIO()  # into a file, torch.save hides why it failed
        torch.save({"options": dict(self.options), "counts": counts, "parts": states}, content)
        write_whole(self.file, content.getvalue(), make_folder=True)

    def restored(self, parts: Mapping[str, Part]) -> dict[str, float]:
        """Put ``parts`` where ``keep`` wrote that they were; the counts, none without a file.

        NotFoundError for a file that is none, BadArgumentError for one of other options.
        """
        if not self.file.exists():
            return {}
        try:
            saved = torch.load(self.file, map_location="cpu", weights_only=True)
            known, counts, states = (saved[name] for name in ("options", "counts", "parts"))
            other = ", ".join(name for name, value in self.options.items() if known.get(name) != value)
            if other:
                raise BadArgumentError(
                    f"{self.file}: of a run with other settings ({other}); delete it, or give those again"
                )
            for name, part in parts.items():
                part.load_state_dict(states[name])
        except (
            RuntimeError,
            OSError,
            EOFError,
            LookupError,
            ValueError,
            TypeError,
            UnpicklingError,
        ) as error:
            raise NotFoundError(
                f"{self.file}: nothing to go on from ({type(error).__name__}); delete it to begin again"
            ) from None
        return dict(counts)

    def remove(self) -> None:
        """When what it led to is written."""
        self.file.unlink(missing_ok=True)


def digest_of(arrays: Iterable[Any]) -> str:
    """Stands for arrays or CPU tensors, in their order."""
    digest = hashlib.sha256()
    for array in arrays:
        values = np.ascontiguousarray(array)
        digest.update(f"{values.dtype} {values.shape} ".encode() + values.tobytes())
    return digest.hexdigest()[:16]


def kept_array(file: Path, make: Callable[[], Any]) -> Any:
    """An array from its file, made if that is not there."""
    if not file.is_file():
        say(f"making {file.stem}")
        with written_beside(file) as out:
            np.save(out, make())
    return np.load(file)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
