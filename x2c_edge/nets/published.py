"""The published checkpoints, told apart by their keys (docs/spec/liveportrait.md section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from x2c_edge.errors import NotFoundError
from x2c_edge.nets import arch, checkpoint_file, keypoints
from x2c_edge.nets.appearance import AppearanceConfig, AppearanceExtractor
from x2c_edge.nets.generator import GeneratorConfig
from x2c_edge.nets.mapping import PUBLISHED_TRUNKS, MappingConfig
from x2c_edge.nets.motion_extractor import MotionConfig, MotionExtractor
from x2c_edge.nets.stitching import EYE, LIP, STITCHING, KeypointMlpConfig
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork

Array = NDArray[np.floating[Any]]

# What people call each part, and the name of its published file.
FILES: Final[Mapping[str, str]] = {
    "appearance": "F, appearance_feature_extractor.pth",
    "motion": "M, motion_extractor.pth",
    "warping": "W, warping_module.pth",
    "generator": "G, spade_generator.pth",
    "stitching": "stitching, stitching_retargeting_module.pth",
    "mapping": "the X2C mapping network, x2control.pth",
}
_DTYPES: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_LEAST_LIKENESS: Final = 0.5  # shared part of both files' keys


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes that checkpoints must have; the defaults are the published ones."""

    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    warping: WarpingConfig = field(default_factory=WarpingConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    stitching: KeypointMlpConfig = STITCHING
    mapping: tuple[MappingConfig, ...] = field(
        default_factory=lambda: tuple(MappingConfig(trunk) for trunk in PUBLISHED_TRUNKS.values())
    )


@dataclass(frozen=True, slots=True)
class Part:
    """One net of a checkpoint with the published layout, weights loaded, float32."""

    kind: str
    config: Any
    net: nn.Module
    file: Path


def read_part(path: Path, sizes: Sizes) -> Part:
    """The part that a file holds. NotFoundError in one line if it is none, or one that does not fit."""
    state = _flat(path, checkpoint_file.read(path))
    mlp = _mlp_kind(state)
    if mlp is not None and mlp != "stitching":
        raise NotFoundError(f"{path}: looks like the {mlp} retargeter alone, which is not needed; give the "
                            "file with the stitching network")  # fmt: skip
    likeness, _, kind, config = max(
        (
            (_likeness(set(state), set(_expected(kind, config))), -i, kind, config)
            for i, (kind, config) in enumerate(_candidates(sizes))
        ),
        key=lambda candidate: candidate[:2],
    )
    if likeness < _LEAST_LIKENESS:
        example = min(state)
        raise NotFoundError(
            f"{path}: not one of the published files; none of them has keys like '{example}' "
            f"({', '.join(name.split(', ')[-1] for name in FILES.values())})"
        )
    return Part(kind, config, _loaded(path, kind, config, state), path)


def _candidates(sizes: Sizes) -> list[tuple[str, Any]]:
    single = [(kind, getattr(sizes, kind)) for kind in FILES if kind != "mapping"]
    return [*single, *(("mapping", config) for config in sizes.mapping)]


def _flat(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights out of whatever nesting the file has; ``module.`` removed wherever it occurs."""
    if "retarget_shoulder" in content:
        content = content["retarget_shoulder"]
    elif isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict) or not content:
        raise NotFoundError(f"{path}: holds no dictionary of weights; give a published checkpoint")
    state = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise NotFoundError(
                f"{path}: '{key}' is a {type(value).__name__}, not a tensor: not one of the published files"
            )
        if key.endswith("num_batches_tracked"):  # inference ignores it
            continue
        if value.layout != torch.strided or value.is_meta or value.dtype not in _DTYPES:
            raise NotFoundError(
                f"{path}: key '{key}' is a {value.dtype} tensor, {value.layout}, on {value.device}: plain "
                "floating-point numbers of 16 to 64 bits are needed"
            )
        plain = key.replace("module.", "")
        if plain in state:
            raise NotFoundError(f"{path}: key '{plain}' comes twice, with and without 'module.'; give one")
        state[plain] = value
    if not state:
        raise NotFoundError(f"{path}: holds no weights; give a published checkpoint")
    return state


def _mlp_kind(state: Mapping[str, Tensor]) -> str | None:
    """Which of the three small MLPs, told by the first layer's inputs and the last one's outputs."""
    first = state.get("mlp.0.weight")
    if first is None or first.ndim != 2 or not all(key.startswith("mlp.") for key in state):
        return None
    inputs = int(first.shape[-1])
    return {EYE.inputs: "eye", LIP.inputs: "lip"}.get(inputs, "stitching")


def _likeness(keys: set[str], expected: set[str]) -> float:
    return len(keys & expected) / len(keys | expected)


@lru_cache(maxsize=32)
def _expected(kind: str, config: Any) -> dict[str, torch.Size]:
    state = arch.unloaded(kind, config).state_dict()
    return {key: value.shape for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _loaded(path: Path, kind: str, config: Any, state: Mapping[str, Tensor]) -> nn.Module:
    expected = _expected(kind, config)
    what = FILES[kind]
    for key, shape in expected.items():
        if key not in state:
            raise NotFoundError(
                f"{path}: looks like {what}, but key '{key}' is missing: another architecture"
            )
        if state[key].shape != shape:
            raise NotFoundError(
                f"{path}: looks like {what}, but key '{key}' is {tuple(state[key].shape)} instead of "
                f"{tuple(shape)}: another architecture"
            )
        if not bool(torch.isfinite(state[key]).all()):
            raise NotFoundError(f"{path}: {what}: key '{key}' holds values that are not finite (NaN or Inf)")
        if key.endswith("running_var") and bool((state[key] < 0).any()):
            raise NotFoundError(f"{path}: {what}: key '{key}' holds variances below 0: damaged")
    for key in state:
        if key not in expected:
            raise NotFoundError(f"{path}: looks like {what}, but has the key '{key}': another architecture")
    net = arch.unloaded(kind, config)
    weights = {key: value.detach().float() for key, value in state.items()}
    net.load_state_dict(weights, strict=False, assign=True)
    for module in net.modules():  # what strict loading would have filled: a counter that inference ignores
        if getattr(module, "num_batches_tracked", None) is not None:
            module.num_batches_tracked = torch.tensor(0)
    return net.eval().requires_grad_(False)


def stored(net: nn.Module, *, half: bool) -> dict[str, NDArray[Any]]:
    """A net as a pack holds it: norms folded, float32 or float16.

    NotFoundError naming the key if a weight is not finite, or does not fit float16.
    """
    state = {}
    for key, value in arch.folded(net).state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        value = value.half() if half else value.float()
        if not bool(torch.isfinite(value).all()):
            reason = "does not fit float16; import without --half" if half else "is not finite: damaged"
            raise NotFoundError(f"key '{key}' {reason}")
        state[key] = value.contiguous().numpy()
    return state


def source_features(
    appearance: nn.Module, motion: nn.Module, warping: nn.Module, picture: NDArray[np.uint8]
) -> dict[str, Array]:
    """What depends on the robot's picture alone (section 16, "fixed source").

    picture (S, S, 3) 8-bit RGB. Gives ``feature`` (1, C, D, H, W), its ``compressed`` volume (1, 4, D, H,
    W), the motion ``kp``, ``exp`` (1, K, 3), ``rotation`` (1, 3, 3), ``t`` (1, 3), ``scale`` (1, 1), and the
    transformed keypoints ``x`` (1, K, 3); all float32.
    """
    with torch.inference_mode():
        image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        feature = cast(AppearanceExtractor, arch.folded(appearance))(image)
        compressed = cast(WarpingNetwork, arch.folded(warping)).compress(feature)
        heads = cast(MotionExtractor, motion)(image)
    m = keypoints.motion_from_heads(**{name: head.numpy() for name, head in heads._asdict().items()})
    return {
        "feature": feature.contiguous().numpy(),
        "compressed": compressed.contiguous().numpy(),
        "x": keypoints.transformed(m),
        **{name: np.ascontiguousarray(getattr(m, name)) for name in ("kp", "exp", "rotation", "t", "scale")},
    }
