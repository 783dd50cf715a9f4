"""S and the eye and lip retargeters: small MLPs on keypoints (docs/spec/liveportrait.md section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, cast

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class KeypointMlpConfig:
    """Sizes of one MLP; the published three are ``STITCHING``, ``EYE`` and ``LIP``."""

    inputs: int
    hidden: tuple[int, ...]
    outputs: int


STITCHING: Final = KeypointMlpConfig(126, (128, 128, 64), 65)
EYE: Final = KeypointMlpConfig(66, (256, 256, 128, 128, 64), 63)
LIP: Final = KeypointMlpConfig(65, (128, 128, 64), 63)


class KeypointMlp(nn.Module):
    """Linear layers with ReLU between: (N, inputs) float32 to (N, outputs).

    Stitching: source and driving keypoints to the delta that ``keypoints.stitched`` adds. Eye: source
    keypoints, left, right and wanted ratio; lip: source keypoints, source and wanted ratio; both to an
    additive offset of the 63 coordinates. Keypoints are flat and keypoint-major.
    """

    def __init__(self, config: KeypointMlpConfig = STITCHING) -> None:
        super().__init__()
        self.config = config
        widths = (config.inputs, *config.hidden, config.outputs)
        layers: list[nn.Module] = []
        for cin, cout in pairwise(widths):
            layers += [nn.Linear(cin, cout), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return cast(Tensor, self.mlp(x))
