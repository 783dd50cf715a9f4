"""Feature extractors that start from ImageNet: a weights file of torchvision, by the mapping network's names.

The user brings the file, as torchvision's ``resnet18``, ``vgg16``, ``vit_b_16`` and ``efficientnet_b0`` save
their ``state_dict`` (.pth; or the same names as .safetensors). Nothing is downloaded, and torchvision itself
is not needed. The classifier is left out; the head starts afresh. torchvision normalises ViT with an epsilon
of 1e-6, the published mapping network with 1e-12, which changes nothing that a test here can see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Final

import torch
from torch import Tensor

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.nets.mapping import PUBLISHED_TRUNKS, TrunkConfig

TRUNK: Final = "feature_extractor."
_RESNET: Final = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
_VIT_LAYER: Final = {
    "ln_1": "layernorm_before",
    "self_attention.out_proj": "attention.output.dense",
    "ln_2": "layernorm_after",
    "mlp.linear_1": "intermediate.dense",
    "mlp.linear_2": "output.dense",
    "mlp.0": "intermediate.dense",  # as older files call them
    "mlp.3": "output.dense",
}
_VIT_OTHER: Final = {
    "class_token": "embeddings.cls_token",
    "conv_proj.weight": "embeddings.patch_embeddings.projection.weight",
    "conv_proj.bias": "embeddings.patch_embeddings.projection.bias",
    "encoder.pos_embedding": "embeddings.position_embeddings",
    "encoder.ln.weight": "layernorm.weight",
    "encoder.ln.bias": "layernorm.bias",
}


def read_trunk(path: Path, kind: str, trunk: TrunkConfig) -> dict[str, Tensor]:
    """The weights of a feature extractor, under the names of a ``MappingNetwork``'s.

    kind: of ``PUBLISHED_TRUNKS``, at its published size ``trunk``. BadArgumentError for another trunk or
    size; NotFoundError for a file that cannot be read or holds another net.
    """
    if trunk != PUBLISHED_TRUNKS.get(kind):
        raise BadArgumentError(
            f"--init {path}: torchvision has {', '.join(PUBLISHED_TRUNKS)} in their published sizes; "
            "give a trained .json for others"
        )
    content = _read(path)
    named = {
        TRUNK + name: value for key, value in content.items() for name, value in _NAMES[kind](key, value)
    }
    wanted = {TRUNK + name: value for name, value in trunk.build().state_dict().items()}
    for name, value in wanted.items():
        if name not in named or named[name].shape != value.shape:
            raise NotFoundError(
                f"{path}: no weights of torchvision's {kind} ({name.removeprefix(TRUNK)} is missing or of "
                "another size); give the file of that net"
            )
    return {name: named[name].float() for name in wanted}


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror or 'cannot be read'}; give a file of weights") from None
    except Exception as error:  # torch and safetensors raise many kinds for a file that is not theirs
        if not isinstance(error, RuntimeError | EOFError | ValueError | KeyError | UnpicklingError) and (
            type(error).__name__ != "SafetensorError"
        ):
            raise
        raise NotFoundError(
            f"{path}: no file of weights ({type(error).__name__}); give torchvision's or a trained .json"
        ) from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise NotFoundError(f"{path}: holds no state_dict; save the net's state_dict()")
    return content


Named = list[tuple[str, Tensor]]


def _resnet(key: str, value: Tensor) -> Named:
    first, _, rest = key.partition(".")
    return [(f"{_RESNET[first]}.{rest}", value)] if first in _RESNET else []


def _convolutional(key: str, value: Tensor) -> Named:
    """VGG and EfficientNet: the part called "features", in the same order."""
    return [(key.removeprefix("features."), value)] if key.startswith("features.") else []


def _vit(key: str, value: Tensor) -> Named:
    if key in _VIT_OTHER:
        return [("0." + _VIT_OTHER[key], value)]
    found = re.fullmatch(r"encoder\.layers\.encoder_layer_(\d+)\.(.+?)[._](weight|bias)", key)
    if not found:
        return []
    layer, part, what = f"0.encoder.layer.{found[1]}.", found[2], found[3]
    if part == "self_attention.in_proj":  # query, key and value in one matrix
        names = (f"{layer}attention.attention.{name}.{what}" for name in ("query", "key", "value"))
        return list(zip(names, value.chunk(3), strict=True))
    return [(f"{layer}{_VIT_LAYER[part]}.{what}", value)] if part in _VIT_LAYER else []


_NAMES: Final[dict[str, Callable[[str, Tensor], Named]]] = {
    "resnet": _resnet, "vgg": _convolutional, "efficient": _convolutional, "transformer": _vit,
}  # fmt: skip
