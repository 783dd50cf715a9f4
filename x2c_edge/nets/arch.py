"""Nets by the name that a pack's manifest gives them, in the form in which packs hold them.

In a pack every batch norm that follows a convolution and every spectral norm is folded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from x2c_edge.nets.appearance import AppearanceConfig, AppearanceExtractor
from x2c_edge.nets.direct import DirectConfig, DirectNetwork
from x2c_edge.nets.face_motion import FaceMotion, FaceMotionConfig
from x2c_edge.nets.generator import Generator, GeneratorConfig
from x2c_edge.nets.layers import fold_batch_norms, fold_spectral_norm
from x2c_edge.nets.look_trunk import LookTwiceConfig
from x2c_edge.nets.mapping import MappingConfig, MappingNetwork
from x2c_edge.nets.motion_extractor import MotionConfig, MotionExtractor
from x2c_edge.nets.stitching import KeypointMlp, KeypointMlpConfig
from x2c_edge.nets.trunks import EfficientNetConfig, EfficientStage, ResNetConfig, VggConfig, VitConfig
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Arch:
    """A kind of net: ``net(config(...))``."""

    config: Any
    net: Any


ARCHS: Final[Mapping[str, Arch]] = {
    "appearance": Arch(AppearanceConfig, AppearanceExtractor),
    "motion": Arch(MotionConfig, MotionExtractor),
    "face_motion": Arch(FaceMotionConfig, FaceMotion),
    "warping": Arch(WarpingConfig, WarpingNetwork),
    "generator": Arch(GeneratorConfig, Generator),
    "stitching": Arch(KeypointMlpConfig, KeypointMlp),
    "mapping": Arch(MappingConfig, MappingNetwork),
    "direct": Arch(DirectConfig, DirectNetwork),
}
TRUNKS: Final[Mapping[str, Any]] = {
    "resnet": ResNetConfig,
    "vgg": VggConfig,
    "transformer": VitConfig,
    "efficient": EfficientNetConfig,
    "look": LookTwiceConfig,
}


def unloaded(arch: str, config: Any) -> nn.Module:
    """The net with the published layout and no weights yet, on the "meta" device if it has no constants that
    no file holds."""
    with torch.device("cpu" if arch == "face_motion" else "meta"):
        module: nn.Module = ARCHS[arch].net(config)
    return module


def folded(module: ModuleT) -> ModuleT:
    """An inference copy with all norms folded that can be (exact up to rounding)."""
    return fold_spectral_norm(fold_batch_norms(module))


def opened(arch: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """A net from a pack's manifest and weights, float32, ready to run.

    KeyError for an unknown arch, TypeError or ValueError for a config that is not this net's,
    RuntimeError for weights that do not fit.
    """
    module = folded(unloaded(arch, config_from_manifest(arch, config)))
    module.load_state_dict({k: v.float() for k, v in state.items()}, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def config_to_manifest(config: Any) -> dict[str, Any]:
    """A net's sizes as TOML can hold them."""
    if isinstance(config, MappingConfig):
        trunk = next(name for name, kind in TRUNKS.items() if isinstance(config.trunk, kind))
        sizes = _plain(asdict(config.trunk))
        return {"trunk": trunk, "sizes": sizes, "hidden": list(config.hidden), "outputs": config.outputs}
    plain = _plain(asdict(config))
    assert isinstance(plain, dict)
    return plain


def config_from_manifest(arch: str, data: Mapping[str, Any]) -> Any:
    """Inverse of ``config_to_manifest``. TypeError or ValueError for what is not a size of this net."""
    if arch == "face_motion":
        return FaceMotionConfig.from_manifest(data)
    if arch != "mapping":
        return _made(ARCHS[arch].config, data)
    trunk = str(data.get("trunk"))
    if trunk not in TRUNKS:
        raise ValueError(f"trunk {trunk!r} is unknown; known: {', '.join(TRUNKS)}")
    rest = {k: v for k, v in data.items() if k not in ("trunk", "sizes")}
    return _made(MappingConfig, {**rest, "trunk": _made(TRUNKS[trunk], data.get("sizes", {}))})


def _made(kind: Any, data: Mapping[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise TypeError(f"{unknown[0]!r} is not a size of {kind.__name__}")
    return kind(**{k: _frozen(v) for k, v in data.items()})


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return _made(EfficientStage, value)
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value
