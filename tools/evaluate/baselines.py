"""The methods that the paper compares its mapping network with (Tables 4 and 6), in the form that fits here.

The paper names their forms; sizes, schedules and the numbers of classes are ours, chosen so that all of them
together train in minutes.

RC            random command: uniform in every control's range.
RT            random training sample: the controls of a picture drawn from the training side.
SBC           Liu et al. 2024b: a branch a control, coarse classes. A small ResNet on the picture; every
              control has a branch of its own that picks one of 5 equal classes of the control's range; the
              answer is the class's middle.
LMKC          Hu et al. 2024, landmarks in: an MLP (256, 256) from where the landmarks are in the picture,
              trained with the mapping network's Huber loss.
Smile         Chen et al. 2021: a generative model draws the robot's own picture for normalised landmarks, an
              inverse model reads motor commands as classes from it, cross-entropy. Here a decoder of
              landmarks to 32×32 grey pictures, and a small convolutional inverse model, trained on real
              pictures of that size, with 21 classes a control.
Coexpression  Hu et al. 2024: the inverse model on normalised 2-D landmarks. Every face is moved to its own
              middle and scaled to its own size; an MLP (512, 256, 128) reads the commands, scaled to their
              range, mean squared error.

X2CNet-S, the paper's fourth, reads people and not robot pictures: it has no row in Table 4. It is a gear of a
pack (docs/people.md).

Landmarks are the 140 points that the default pack's single-stage network finds in the picture. It was
trained on people and finds the virtual Ameca's face too (docs/evaluation.md); no method is told where the
points really are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tools.evaluate.baseline_fit import Task, fit
from tools.train.mapping_pictures import Pairs, from_bytes, resized
from x2c_edge.controls import HIGH, LOW, N_CONTROLS
from x2c_edge.nets.single_stage import SingleStage, folded
from x2c_edge.nets.trunks import ResNetConfig
from x2c_edge.packs import NetInput

Array = NDArray[np.float64]
COARSE: Final = 5  # classes a control: SBC's
FINE: Final = 21  # Smile's
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
    """How long the learning baselines learn: passes over the training samples. seed: of everything. keep: the
    folder in which what is learnt lies while it is, to go on from after a kill. kept: this run's files there.
    """

    picture_epochs: int = 15
    landmark_epochs: int = 60
    seed: int = 1
    keep: Path | None = None
    kept: list[Path] = field(default_factory=list, compare=False)

    @classmethod
    def of(cls, share: float, seed: int, keep: Path | None) -> Effort:
        """share: of the usual passes."""
        usual = (cls.picture_epochs, cls.landmark_epochs)
        return cls(*(max(1, round(share * epochs)) for epochs in usual), seed, keep)

    def forget(self) -> None:
        """Delete what was kept, once it is of no more use."""
        for file in self.kept:
            file.unlink(missing_ok=True)


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
    out = nn.Conv1d(N_CONTROLS * 32, N_CONTROLS * COARSE, 1, groups=N_CONTROLS)
    net = nn.Sequential(trunk.build(), nn.Flatten(), _Repeat(N_CONTROLS), *branch, out, nn.Flatten())
    task = Task("SBC", _class_loss(COARSE), effort.picture_epochs, effort)
    fit(net, task, _pictures(train), _classes(train.controls, COARSE))
    return _middles(_answers(net, _pictures(test)), COARSE)


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
    fit(
        net,
        Task("LMKC", loss, effort.landmark_epochs, effort),
        scaled(train),
        torch.from_numpy(train.controls),
    )
    return _answers(net, scaled(test))


def smile(train: Samples, test: Samples, effort: Effort) -> Array:
    """Smile."""
    torch.manual_seed(effort.seed)
    generative = nn.Sequential(
        nn.Linear(train.points[0].size, 256), nn.ReLU(),
        nn.Linear(256, 64 * 16), nn.ReLU(), nn.Unflatten(1, (64, 4, 4)),
        *_doubled(64, 32), *_doubled(32, 16), *_doubled(16, 8), nn.Conv2d(8, 1, 3, padding=1),
    )  # fmt: skip
    inverse = nn.Sequential(
        nn.Conv2d(1, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(48, 96, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(96 * 16, 256), nn.ReLU(), nn.Linear(256, N_CONTROLS * FINE),
    )  # fmt: skip
    drawn = _small_grey(train)
    fit(generative, Task("Smile, generative", F.l1_loss, effort.picture_epochs, effort), _shape(train), drawn)
    task = Task("Smile, inverse", _class_loss(FINE), effort.picture_epochs, effort)
    fit(inverse, task, drawn, _classes(train.controls, FINE))
    return _middles(_answers(nn.Sequential(generative, inverse), _shape(test)), FINE)


def coexpression(train: Samples, test: Samples, effort: Effort) -> Array:
    """Coexpression."""
    torch.manual_seed(effort.seed)
    net = _mlp(train.points[0].size, 512, 256, 128, N_CONTROLS)
    commands = torch.from_numpy(_to_range(train.controls))
    fit(net, Task("Coexpression", F.mse_loss, effort.landmark_epochs, effort), _shape(train), commands)
    return _from_range(_answers(net, _shape(test)))


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


def _shape(samples: Samples) -> Tensor:
    """Normalised landmarks, (N, 2 L): each face in its own middle, its root mean square size 1."""
    moved = samples.points - samples.points.mean(1, keepdims=True)
    size = np.sqrt(np.square(moved).sum(2).mean(1))[:, None, None]
    return torch.from_numpy((moved / np.maximum(size, 1e-4)).reshape(len(moved), -1))


def _classes(controls: NDArray[np.float32], count: int) -> Tensor:
    """(N, 30): in which of ``count`` equal parts of its range each control is."""
    return torch.from_numpy(np.clip((_to_range(controls) * count).astype(np.int64), 0, count - 1))


def _class_loss(count: int) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(logits.unflatten(1, (N_CONTROLS, count)).transpose(1, 2), wanted)

    return loss


def _middles(logits: Array, count: int) -> Array:
    """(N, 30): the middle of the likeliest class, paper units. logits: (N, 30 count)."""
    return _from_range((logits.reshape(-1, N_CONTROLS, count).argmax(2) + 0.5) / count)


def _to_range(controls: NDArray[np.float32]) -> NDArray[np.float32]:
    return ((controls - LOW) / (HIGH - LOW)).astype(np.float32)


def _from_range(values: Array) -> Array:
    return LOW + values * (HIGH - LOW)


def _answers(net: nn.Module, inputs: Tensor) -> Array:
    net.eval()
    with torch.inference_mode():
        parts = [net(inputs[begin : begin + _BATCH]) for begin in range(0, len(inputs), _BATCH)]
    return torch.cat(parts).double().numpy()
