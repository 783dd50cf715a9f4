"""A mapping network as ``tools.train.mapping`` leaves it: ``NAME.json`` and the weights that it names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file

from x2c_edge import packs
from x2c_edge.errors import NotFoundError
from x2c_edge.nets.arch import config_from_manifest, unloaded
from x2c_edge.nets.mapping import MappingNetwork

FORMAT: Final = "x2c-edge mapping 1"


@dataclass(frozen=True)
class TrainedMapping:
    """net: float32, for inference, batch norms not folded. picture: what it takes. accuracy: as stated."""

    net: MappingNetwork
    picture: packs.NetInput
    angle_unit: str
    recipe: dict[str, Any]
    trained_by: str
    accuracy: dict[str, Any]


def read_trained(path: Path) -> TrainedMapping:
    """NotFoundError in one line for anything that is missing or does not fit."""
    try:
        content = json.loads(path.read_text())
        if content.get("format") != FORMAT:
            raise ValueError(f'its "format" is not {FORMAT!r}')
        file = path.with_name(str(content["file"]))
        if packs.sha256_of(file) != content["sha256"]:
            raise ValueError(f"{file.name} is not the one that it was written with")
        picture: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content["input"].items()
        }
        net = unloaded("mapping", config_from_manifest("mapping", content["net"]))
        assert isinstance(net, MappingNetwork)
        net.load_state_dict(load_file(file), assign=True)
        return TrainedMapping(
            net.eval().requires_grad_(False),
            packs.NetInput(**picture),
            str(content["angle_unit"]),
            dict(content["recipe"]),
            str(content["trained_by"]),
            dict(content["accuracy"]),
        )
    except OSError as error:
        raise NotFoundError(
            f"{error.filename}: {error.strerror}; train one: python -m tools.train.mapping"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NotFoundError(f"{path}: not a trained mapping network ({line}); train it again") from None
