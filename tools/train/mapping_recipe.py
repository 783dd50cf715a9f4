"""How a mapping network is trained: sizes, and the paper's recipe (docs/spec/liveportrait.md section 12)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.nets.arch import config_to_manifest
from x2c_edge.nets.look_trunk import LookTwiceConfig
from x2c_edge.nets.mapping import PUBLISHED_TRUNKS, MappingConfig, TrunkConfig
from x2c_edge.nets.trunks import EfficientNetConfig, ResNetConfig, VggConfig, VitConfig

_HEAD_WIDTH = 64  # of one attention head, as published: 768 / 12


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that the result depends on, apart from the data.

    size: side of the square picture that the net sees. hidden: widths of the head. The specification gives
    all other numbers but for the epochs and the seed. feature_weight: of the cosine term between the
    features of a picture and of its twin; without twins there is none. loss: the paper's Huber loss, or
    errors in units of each control's own spread (smooth L1), with which a small net that starts from random
    weights learns several times faster.
    """

    trunk: TrunkConfig = PUBLISHED_TRUNKS["resnet"]
    size: int = 224
    hidden: tuple[int, ...] = (256, 256)
    epochs: int = 30
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: float = 0.02
    huber_delta: float = 0.01
    gradient_norm: float = 1.0
    feature_weight: float = 1.0
    augment: bool = True
    seed: int = 1
    loss: Literal["huber", "spread"] = "huber"

    @property
    def net(self) -> MappingConfig:
        return MappingConfig(self.trunk, self.hidden)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists; equal exactly for equal recipes."""
        own = {name: getattr(self, name) for name in self.__slots__ if name not in ("trunk", "hidden")}
        return {**own, "net": config_to_manifest(self.net)}

    def rate_at(self, progress: float) -> float:
        """Learning rate at a share (0 to 1) of the training: linear warm-up, then half a cosine to 0."""
        if progress < self.warm_up:
            return self.learning_rate * progress / self.warm_up
        done = (progress - self.warm_up) / (1 - self.warm_up)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def trunk_of(kind: str, size: int, widths: Sequence[int] = (), blocks: Sequence[int] = ()) -> TrunkConfig:
    """A feature extractor of Table 5 by its published name, or "look", for pictures of ``size``.

    widths, blocks: per stage, as many as the published one has; for "transformer" one each, the tokens'
    width and the depth. Other sizes keep the published proportions: VGG one width for all convolutions of a
    stage; ViT heads of 64 and an MLP of 4 widths; EfficientNet a stem of 2 first widths and 4 last widths
    of features. BadArgumentError for anything else.
    """
    trunks = {**PUBLISHED_TRUNKS, "look": LookTwiceConfig(size)}
    if kind not in trunks:
        raise BadArgumentError(f"--trunk {kind}: choose {', '.join(trunks)}{nearest(kind, trunks)}")
    trunk = trunks[kind]
    stages = {"resnet": 4, "vgg": 5, "transformer": 1, "efficient": 7, "look": 4}[kind]
    for option, values in (("--widths", widths), ("--blocks", blocks)):
        if values and (len(values) != stages or min(values) < 1):
            raise BadArgumentError(f"{option}: {kind} takes {stages} whole numbers above 0")
    step = 16 if kind == "transformer" else 32
    if size < step or size % step:
        raise BadArgumentError(f"--size {size}: {kind} takes multiples of {step}")
    if isinstance(trunk, ResNetConfig | LookTwiceConfig):
        widths, blocks = tuple(widths) or trunk.widths, tuple(blocks) or trunk.blocks
        return replace(trunk, stem=widths[0], widths=widths, blocks=blocks)
    if isinstance(trunk, VggConfig):
        widths = tuple(widths) or tuple(stage[0] for stage in trunk.stages)
        blocks = tuple(blocks) or tuple(len(stage) for stage in trunk.stages)
        return VggConfig(size, tuple((w,) * count for w, count in zip(widths, blocks, strict=True)))
    if isinstance(trunk, VitConfig):
        width = widths[0] if widths else trunk.width
        heads = max(1, width // _HEAD_WIDTH)
        if width % heads:
            raise BadArgumentError(f"--widths {width}: a transformer's width above 64 is a multiple of 64")
        depth = blocks[0] if blocks else trunk.depth
        return VitConfig(size, trunk.patch, width, depth, heads, 4 * width)
    widths = tuple(widths) or tuple(stage.width for stage in trunk.stages)
    blocks = tuple(blocks) or tuple(stage.blocks for stage in trunk.stages)
    sized = zip(trunk.stages, widths, blocks, strict=True)
    stages_of = tuple(replace(stage, width=w, blocks=count) for stage, w, count in sized)
    return EfficientNetConfig(2 * widths[0], stages_of, 4 * widths[-1])


def trunk_name(trunk: TrunkConfig) -> str:
    """The name that the paper's Table 5 gives it, when it has the published sizes; else its family."""
    if isinstance(trunk, LookTwiceConfig):
        return "ResNet that looks twice"
    published = {ResNetConfig: "ResNet18", VggConfig: "VGG16", VitConfig: "ViT-B/16"}
    families = {ResNetConfig: "ResNet", VggConfig: "VGG", VitConfig: "ViT"}
    names = published if trunk in PUBLISHED_TRUNKS.values() else families
    own = "EfficientNet-B0" if names is published else "EfficientNet"
    return names.get(type(trunk), own)
