"""A trained mapping network on disk: ``NAME.safetensors`` (weights) and ``NAME.json`` (everything else)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from tools.dataset.pair_shards import written_beside
from tools.train.mapping_training import Trained
from x2c_edge import packs
from x2c_edge.errors import NotFoundError
from x2c_edge.nets.arch import config_from_manifest, config_to_manifest
from x2c_edge.nets.mapping import MappingNetwork

FORMAT = "x2c-edge mapping 1"


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
    try:
        content = json.loads(path.read_text())
        if content.get("format") != FORMAT:
            raise ValueError(f'its "format" is not {FORMAT!r}')
        file = path.with_name(str(content["file"]))
        if packs.sha256_of(file) != content["sha256"]:
            raise ValueError(f"{file.name} is not the one that it was written with")
        picture = packs.NetInput(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in content["input"].items()}
        )
        with torch.device("meta"):
            net = MappingNetwork(config_from_manifest("mapping", content["net"]))
        net.load_state_dict(load_file(file), assign=True)
    except OSError as error:
        raise NotFoundError(
            f"{error.filename}: {error.strerror}; train one: python -m tools.train.mapping"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        line = str(error).splitlines()[0]
        raise NotFoundError(f"{path}: not a trained mapping network ({line}); train it again") from None
    return Trained(
        net.eval().requires_grad_(False),
        picture,
        dict(content["recipe"]),
        str(content["trained_by"]),
        dict(content["accuracy"]),
    )
