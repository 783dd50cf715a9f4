"""The methods that the paper compares its mapping network with (Table 4), in the form that fits here.

The project's specifications name the baselines and say no more about them. What follows is the plainest
form of each; sizes and schedules are ours, chosen so that all of them together train in minutes.

RC            random command: uniform in every control's range.
RT            random training sample: the controls of a picture drawn from the training side.
SBC           separate branches, classified: a small ResNet on the picture; every control has a branch of
              its own that picks one of 21 equal bins of the control's range; the answer is the bin's middle.
LMKC          landmarks to controls: an MLP (256, 256) from where the landmarks are in the picture, trained
              with the mapping network's Huber loss.
Smile         the form of Chen et al. 2021, "Smile Like You Mean It": a generative model draws the robot's
              own picture for normalised landmarks, an inverse model reads the commands from that picture.
              Here a decoder of landmarks to 32×32 grey pictures, and a small convolutional inverse model
              that is trained on real pictures of that size.
Coexpression  the inverse model of Hu et al. 2024, "Human-robot facial coexpression": an MLP from landmarks
              to motor commands, both scaled to their range in the training data, mean squared error. Here
              three hidden layers (512, 256, 128).

Landmarks are the 140 points that the default pack's single-stage network finds in the picture. It was
trained on people and finds the virtual Ameca's face too (docs/evaluation.md); no method is told where the
points really are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tools.train.mapping_pictures import Pairs, from_bytes, resized
from x2c_edge.controls import HIGH, LOW, N_CONTROLS
from x2c_edge.nets.single_stage import SingleStage, folded
from x2c_edge.nets.trunks import ResNetConfig
from x2c_edge.packs import NetInput

Array = NDArray[np.float64]
BINS: Final = 21
PICTURE: Final = 64  # side of what SBC sees
DRAWN: Final = 32  # side of what Smile draws
_BATCH: Final = 64
_HUBER_DELTA: Final = 0.01


@dataclass(frozen=True)
class Samples:
    """What the baselines see of one side. pictures: (N, 64, 64, 3) uint8 BGR. points: (N, L, 2) landmarks,
    -1 to 1 across the picture. controls: (N, 30), paper units."""

    pictures: NDArray[np.uint8]
    points: NDArray[np.float32]
    controls: NDArray[np.float32]


@dataclass(frozen=True)
class Effort:
    """How long the learning baselines learn: passes over the training samples. seed: of everything."""

    picture_epochs: int = 15
    landmark_epochs: int = 60
    seed: int = 1


Baseline = Callable[[Samples, Samples, Effort], Array]


def samples_of(
    pairs: Pairs, rows: Sequence[int] | NDArray[np.int64], net: SingleStage, picture: NetInput
) -> Samples:
    """Pictures and landmarks of some rows, by the single-stage network on the whole picture."""
    net = folded(net)
    size, count = net.config.input_size, 2 * net.config.landmarks
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (picture.mean, picture.std))
    small = np.empty((len(rows), PICTURE, PICTURE, 3), np.uint8)
    points = np.empty((len(rows), net.config.landmarks, 2), np.float32)
    with torch.inference_mode():
        for begin in range(0, len(rows), _BATCH):
            images = [pairs.image(int(row)) for row in rows[begin : begin + _BATCH]]
            end = begin + len(images)
            small[begin:end] = [resized(image, PICTURE) for image in images]
            x = from_bytes(torch.from_numpy(np.stack([resized(image, size) for image in images])))
            x = x.flip(1) if picture.order == "RGB" else x
            x = ((x - mean) / std).contiguous(memory_format=torch.channels_last)
            points[begin:end] = net(x)[:, 1 : 1 + count].unflatten(1, (-1, 2)).numpy()
    return Samples(small, points, pairs.controls[np.asarray(rows)])


def random_command(train: Samples, test: Samples, effort: Effort) -> Array:
    """RC."""
    return np.random.default_rng(effort.seed).uniform(LOW, HIGH, (len(test.controls), N_CONTROLS))


def random_sample(train: Samples, test: Samples, effort: Effort) -> Array:
    """RT."""
    rows = np.random.default_rng(effort.seed).integers(0, len(train.controls), len(test.controls))
    return train.controls[rows].astype(np.float64)


def separate_branches(train: Samples, test: Samples, effort: Effort) -> Array:
    """SBC."""
    torch.manual_seed(effort.seed)
    trunk = ResNetConfig(stem=16, widths=(16, 32, 64, 128), blocks=(1, 1, 1, 1))
    branch = (nn.Conv1d(N_CONTROLS * trunk.features, N_CONTROLS * 32, 1, groups=N_CONTROLS), nn.ReLU())
    out = nn.Conv1d(N_CONTROLS * 32, N_CONTROLS * BINS, 1, groups=N_CONTROLS)
    net = nn.Sequential(trunk.build(), nn.Flatten(), _Repeat(N_CONTROLS), *branch, out, nn.Flatten())
    share = (train.controls - LOW) / (HIGH - LOW)
    bins = torch.from_numpy(np.clip((share * BINS).astype(np.int64), 0, BINS - 1))

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(logits.unflatten(1, (N_CONTROLS, BINS)).transpose(1, 2), wanted)

    _fit(net, loss, _pictures(train), bins, effort.picture_epochs, effort.seed)
    chosen = _answers(net, _pictures(test)).reshape(-1, N_CONTROLS, BINS).argmax(2)
    return LOW + (chosen + 0.5) / BINS * (HIGH - LOW)


def landmarks_to_controls(train: Samples, test: Samples, effort: Effort) -> Array:
    """LMKC."""
    torch.manual_seed(effort.seed)
    flat = train.points.reshape(len(train.points), -1)
    middle, spread = flat.mean(0), flat.std(0) + 1e-4

    def scaled(samples: Samples) -> Tensor:
        return torch.from_numpy((samples.points.reshape(len(samples.points), -1) - middle) / spread)

    def loss(values: Tensor, wanted: Tensor) -> Tensor:
        return F.huber_loss(values, wanted, delta=_HUBER_DELTA)

    net = _mlp(flat.shape[1], 256, 256, N_CONTROLS)
    targets = torch.from_numpy(train.controls)
    _fit(net, loss, scaled(train), targets, effort.landmark_epochs, effort.seed)
    return _answers(net, scaled(test))


def smile(train: Samples, test: Samples, effort: Effort) -> Array:
    """Smile."""
    torch.manual_seed(effort.seed)
    scaled = _range_scaler(train)
    generative = nn.Sequential(
        nn.Linear(train.points[0].size, 256), nn.ReLU(),
        nn.Linear(256, 64 * 16), nn.ReLU(), nn.Unflatten(1, (64, 4, 4)),
        *_doubled(64, 32), *_doubled(32, 16), *_doubled(16, 8), nn.Conv2d(8, 1, 3, padding=1),
    )  # fmt: skip
    inverse = nn.Sequential(
        nn.Conv2d(1, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(48, 96, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(96 * 16, 256), nn.ReLU(), nn.Linear(256, N_CONTROLS),
    )  # fmt: skip
    drawn, commands = _small_grey(train), torch.from_numpy(_to_range(train.controls))
    _fit(generative, F.l1_loss, scaled(train), drawn, effort.picture_epochs, effort.seed)
    _fit(inverse, F.mse_loss, drawn, commands, effort.picture_epochs, effort.seed)
    return _from_range(_answers(nn.Sequential(generative, inverse), scaled(test)))


def coexpression(train: Samples, test: Samples, effort: Effort) -> Array:
    """Coexpression."""
    torch.manual_seed(effort.seed)
    scaled = _range_scaler(train)
    net = _mlp(train.points[0].size, 512, 256, 128, N_CONTROLS)
    commands = torch.from_numpy(_to_range(train.controls))
    _fit(net, F.mse_loss, scaled(train), commands, effort.landmark_epochs, effort.seed)
    return _from_range(_answers(net, scaled(test)))


BASELINES: Final[dict[str, Baseline]] = {
    "RC": random_command,
    "RT": random_sample,
    "SBC": separate_branches,
    "LMKC": landmarks_to_controls,
    "Smile": smile,
    "Coexpression": coexpression,
}


class _Repeat(nn.Module):
    """(N, C) to (N, count · C, 1): every branch gets the same features."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(1, self.count)[:, :, None]


def _mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for cin, cout in pairwise(widths):
        layers += [nn.Linear(cin, cout), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _doubled(cin: int, cout: int) -> tuple[nn.Module, ...]:
    return nn.Upsample(scale_factor=2), nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU()


def _pictures(samples: Samples) -> Tensor:
    x = from_bytes(torch.from_numpy(samples.pictures)).sub_(0.5).mul_(4)
    return x.contiguous(memory_format=torch.channels_last)


def _small_grey(samples: Samples) -> Tensor:
    x = from_bytes(torch.from_numpy(samples.pictures)).mean(1, keepdim=True)
    return F.avg_pool2d(x, PICTURE // DRAWN)


def _range_scaler(train: Samples) -> Callable[[Samples], Tensor]:
    """Landmark coordinates to 0..1 between the extremes of the training side."""
    low, high = train.points.min(0), train.points.max(0)
    width = np.maximum(high - low, 1e-4)
    return lambda samples: torch.from_numpy(((samples.points - low) / width).reshape(len(samples.points), -1))


def _to_range(controls: NDArray[np.float32]) -> NDArray[np.float32]:
    return ((controls - LOW) / (HIGH - LOW)).astype(np.float32)


def _from_range(values: Array) -> Array:
    return LOW + values * (HIGH - LOW)


def _fit(
    net: nn.Module,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    epochs: int,
    seed: int,
) -> None:
    """AdamW, one cycle, batches of 64 (or of all, when there are fewer), in a seeded order."""
    batch = min(_BATCH, len(inputs))
    steps = epochs * (len(inputs) // batch)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    rng = np.random.default_rng(seed)
    net.train()
    for _ in range(epochs):
        order = torch.from_numpy(rng.permutation(len(inputs)))
        for begin in range(0, len(order) - batch + 1, batch):
            rows = order[begin : begin + batch]
            loss = loss_of(net(inputs[rows]), targets[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    net.eval()


def _answers(net: nn.Module, inputs: Tensor) -> Array:
    net.eval()
    with torch.inference_mode():
        parts = [net(inputs[begin : begin + _BATCH]) for begin in range(0, len(inputs), _BATCH)]
    return torch.cat(parts).double().numpy()
