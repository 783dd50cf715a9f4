"""The four published feature extractors of the mapping network (docs/spec/liveportrait.md section 12).

Each configuration class has ``features``, the length of the flattened output, and ``build``, the module.
Key layouts: ResNet18, its children in a plain sequence; VGG16 and EfficientNet-B0, the convolutional part
alone; ViT, the encoder without pooler as element 0 of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True, slots=True)
class ResNetConfig:
    """ResNet of basic blocks; the defaults are ResNet18. Any input size that is a multiple of 32.

    pool: side of the pooled map; 1 as published forgets where things are, which small nets cannot afford.
    stem_pool: halve the map after the stem as published; small pictures show too little of an eye then.
    """

    stem: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    pool: int = 1
    stem_pool: bool = True

    @property
    def features(self) -> int:
        """Length of the flattened pooled map."""
        return self.widths[-1] * self.pool**2

    def build(self) -> nn.Sequential:
        """(N, 3, H, W) to (N, widths[-1], pool, pool)."""
        layers: list[nn.Module] = [
            nn.Conv2d(3, self.stem, 7, 2, 3, bias=False),
            nn.BatchNorm2d(self.stem),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1) if self.stem_pool else nn.Identity(),
        ]
        cin = self.stem
        for i, (width, count) in enumerate(zip(self.widths, self.blocks, strict=True)):
            stage = [_BasicBlock(cin, width, stride=1 if i == 0 else 2)]
            stage += [_BasicBlock(width, width, stride=1) for _ in range(count - 1)]
            layers.append(nn.Sequential(*stage))
            cin = width
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(self.pool))


@dataclass(frozen=True, slots=True)
class VggConfig:
    """VGG without batch norm, widths of each stage's convolutions; the defaults are VGG16 at 224."""

    input_size: int = 224
    stages: tuple[tuple[int, ...], ...] = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)

    @property
    def features(self) -> int:
        """Length of the flattened last map."""
        cells = self.input_size >> len(self.stages)
        return self.stages[-1][-1] * cells * cells

    def build(self) -> nn.Sequential:
        """(N, 3, S, S) to (N, width, S / 2**stages, S / 2**stages)."""
        layers: list[nn.Module] = []
        cin = 3
        for stage in self.stages:
            for width in stage:
                layers += [nn.Conv2d(cin, width, 3, padding=1), nn.ReLU()]
                cin = width
            layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers)


@dataclass(frozen=True, slots=True)
class EfficientStage:
    """One stage of inverted bottlenecks; ``stride`` is the first block's."""

    expand: int
    kernel: int
    stride: int
    width: int
    blocks: int


@dataclass(frozen=True, slots=True)
class EfficientNetConfig:
    """EfficientNet; the defaults are B0. Any input size that is a multiple of 32."""

    stem: int = 32
    stages: tuple[EfficientStage, ...] = (
        EfficientStage(1, 3, 1, 16, 1),
        EfficientStage(6, 3, 2, 24, 2),
        EfficientStage(6, 5, 2, 40, 2),
        EfficientStage(6, 3, 2, 80, 3),
        EfficientStage(6, 5, 1, 112, 3),
        EfficientStage(6, 5, 2, 192, 4),
        EfficientStage(6, 3, 1, 320, 1),
    )
    features: int = 1280

    def build(self) -> nn.Sequential:
        """(N, 3, H, W) to (N, features, 1, 1)."""
        layers: list[nn.Module] = [_conv_norm_silu(3, self.stem, 3, stride=2)]
        cin = self.stem
        for stage in self.stages:
            blocks = [_InvertedBottleneck(cin, stage, stage.stride)]
            blocks += [_InvertedBottleneck(stage.width, stage, 1) for _ in range(stage.blocks - 1)]
            layers.append(nn.Sequential(*blocks))
            cin = stage.width
        return nn.Sequential(*layers, _conv_norm_silu(cin, self.features, 1), nn.AdaptiveAvgPool2d(1))


@dataclass(frozen=True, slots=True)
class VitConfig:
    """Vision transformer; the defaults are ViT-B/16 at 224."""

    input_size: int = 224
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return (self.input_size // self.patch) ** 2 + 1

    @property
    def features(self) -> int:
        """Length of all tokens, flattened."""
        return self.tokens * self.width

    def build(self) -> nn.Sequential:
        """(N, 3, S, S) to (N, tokens, width)."""
        return nn.Sequential(_VisionTransformer(self))


class _BasicBlock(nn.Module):
    folds: ClassVar = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


def _conv_norm(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(cout)]


def _conv_norm_silu(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(*_conv_norm(cin, cout, kernel, stride, groups), nn.SiLU())


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(pooled))))


class _InvertedBottleneck(nn.Module):
    def __init__(self, cin: int, stage: EfficientStage, stride: int) -> None:
        super().__init__()
        wide = cin * stage.expand
        self.residual = stride == 1 and cin == stage.width
        layers: list[nn.Module] = [] if stage.expand == 1 else [_conv_norm_silu(cin, wide, 1)]
        layers += [
            _conv_norm_silu(wide, wide, stage.kernel, stride, groups=wide),
            _SqueezeExcite(wide, max(1, cin // 4)),
            nn.Sequential(*_conv_norm(wide, stage.width, 1)),
        ]
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.residual else y


class _PatchEmbeddings(nn.Module):
    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, config.width, config.patch, stride=config.patch)


class _Embeddings(nn.Module):
    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, config.tokens, config.width))
        self.patch_embeddings = _PatchEmbeddings(config)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_embeddings.projection(x).flatten(2).transpose(1, 2)
        start = self.cls_token.expand(x.shape[0], -1, -1)
        return torch.cat([start, patches], dim=1) + self.position_embeddings


class _VitLayer(nn.Module):
    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        projections = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"attention": projections, "output": _dense(width, width)})
        self.intermediate = _dense(width, config.hidden)
        self.output = _dense(config.hidden, width)
        self.layernorm_before = nn.LayerNorm(width, eps=1e-12)
        self.layernorm_after = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(self.layernorm_before(x))
        y = F.gelu(self.intermediate["dense"](self.layernorm_after(x)))
        return x + cast(Tensor, self.output["dense"](y))

    def _attend(self, x: Tensor) -> Tensor:
        projections = cast(nn.ModuleDict, self.attention["attention"])
        query, key, value = (
            projections[name](x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return cast(Tensor, cast(nn.ModuleDict, self.attention["output"])["dense"](mixed))


def _dense(cin: int, cout: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(cin, cout)})


class _VisionTransformer(nn.Module):
    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = nn.ModuleDict(
            {"layer": nn.Sequential(*[_VitLayer(config) for _ in range(config.depth)])}
        )
        self.layernorm = nn.LayerNorm(config.width, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layernorm(self.encoder["layer"](self.embeddings(x))))
