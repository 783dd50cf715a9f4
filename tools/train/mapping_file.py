"""A trained mapping network on disk: ``NAME.safetensors`` (weights) and ``NAME.json`` (everything else)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save

from tools.dataset.pair_shards import written_beside
from tools.train.mapping_training import Trained
from x2c_edge import packs
from x2c_edge.convert.trained_mapping import FORMAT, read_trained
from x2c_edge.errors import NotFoundError
from x2c_edge.nets.arch import config_to_manifest


def save_trained(path: Path, trained: Trained) -> None:
    """Write both files beside each other; ``path`` is the .json. NotFoundError when that cannot be.

    The json holds the net's sizes, its input (size, channel order, mean, std, resize), the angle unit, the
    recipe, the command and the accuracy; with its sha256 it names the weights that it belongs to.
    """
    weights = save({k: v.contiguous() for k, v in trained.net.state_dict().items()})
    file = path.with_suffix(".safetensors")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(file) as out:
            out.write(weights)
        content: dict[str, Any] = {
            "format": FORMAT,
            "file": file.name,
            "sha256": packs.sha256_of(file),
            "net": config_to_manifest(trained.net.config),
            "input": asdict(trained.picture),
            "angle_unit": "radian",
            "recipe": trained.recipe,
            "trained_by": trained.trained_by,
            "accuracy": trained.accuracy or {},
        }
        with written_beside(path) as out:
            out.write((json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be written ({error.strerror}); give another --out") from None


def load_trained(path: Path) -> Trained:
    """Inverse of ``save_trained``. NotFoundError in one line for anything that is missing or does not fit."""
    found = read_trained(path)
    return Trained(found.net, found.picture, found.recipe, found.trained_by, found.accuracy)
