"""The mapping network: robot face picture to 30 raw control values (docs/spec/liveportrait.md section 12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final, cast

from torch import Tensor, nn

from x2c_edge.controls import N_CONTROLS
from x2c_edge.nets.look_trunk import LookTwiceConfig
from x2c_edge.nets.trunks import EfficientNetConfig, ResNetConfig, VggConfig, VitConfig

TrunkConfig = ResNetConfig | VggConfig | EfficientNetConfig | VitConfig | LookTwiceConfig

# By the published name of the option (``encoder_opt``).
PUBLISHED_TRUNKS: Final[Mapping[str, TrunkConfig]] = MappingProxyType(
    {
        "resnet": ResNetConfig(),
        "vgg": VggConfig(),
        "transformer": VitConfig(),
        "efficient": EfficientNetConfig(),
    }
)


@dataclass(frozen=True, slots=True)
class MappingConfig:
    """Sizes of the mapping network; the defaults are the published ResNet18 variant."""

    trunk: TrunkConfig = PUBLISHED_TRUNKS["resnet"]
    hidden: tuple[int, ...] = (256, 256)
    outputs: int = N_CONTROLS

    @property
    def looks_twice(self) -> bool:
        """Whether patches are cut from the input, which then has to be float32."""
        return isinstance(self.trunk, LookTwiceConfig)


class MappingNetwork(nn.Module):
    """Feature extractor and a head of linear layers with ReLU between.

    Input (N, 3, S, S) float32; colour order, resize, mean and std belong to the checkpoint (its pack's
    manifest). Output (N, outputs), no final activation, in the units that the checkpoint was trained in.
    """

    def __init__(self, config: MappingConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MappingConfig()
        self.feature_extractor = config.trunk.build()
        widths = (config.trunk.features, *config.hidden, config.outputs)
        layers: list[nn.Module] = []
        for cin, cout in pairwise(widths):
            layers += [nn.Linear(cin, cout), nn.ReLU()]
        self.pos_pred_head = nn.Sequential(*layers[:-1])

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) to the flat features (N, trunk.features)."""
        return cast(Tensor, self.feature_extractor(x)).flatten(1)

    def head(self, features: Tensor) -> Tensor:
        """(N, trunk.features) to (N, outputs)."""
        return cast(Tensor, self.pos_pred_head(features))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.head(self.features(x))
