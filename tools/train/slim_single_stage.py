"""A thinner single-stage network out of a trained one, to start training from.

Of every layer that becomes narrower those channels stay that tell most about the others, as far as the next
layers listen to them; and these take over the others' part: their weights in the next layers are the least
squares fit on example crops. What is lost is small enough that a short training brings it back.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from x2c_edge.nets.second_look import PatchNet
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig

Reader = nn.Conv2d | nn.Linear
RIDGE = 1e-4  # of the mean energy of a channel


@dataclass
class Channels:
    """Activations that become fewer: who makes them, who reads them, where they can be seen."""

    makers: list[nn.Sequential]  # convolution, batch norm
    readers: list[Reader]
    seen: list[nn.Module]  # their outputs are the activations
    kept: int
    energy: Tensor = field(default_factory=lambda: torch.zeros(0))

    def watch(self, _module: nn.Module, _input: object, out: Tensor) -> None:
        rows = out.detach().transpose(0, 1).flatten(1)
        energy = rows @ rows.T
        self.energy = self.energy + energy if self.energy.numel() else energy


def slimmed(net: SingleStage, config: SingleStageConfig, crops: Tensor) -> SingleStage:
    """A network of sizes ``config`` that starts as close to ``net`` as its widths let it.

    crops: (N, 3, S, S) normalised, a few hundred. ``config`` may differ from the net's in widths only.
    """
    net = copy.deepcopy(net).eval()
    places = [*_trunk(net, config), *_patch(net.eye, config), *_patch(net.mouth, config)]
    hooks = [module.register_forward_hook(place.watch) for place in places for module in place.seen]
    with torch.inference_mode():
        for part in crops.split(64):
            net(part)
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        for place in places:
            _narrow(place)
    thin = SingleStage(config).eval()
    thin.load_state_dict(net.state_dict())
    return thin


def _trunk(net: SingleStage, config: SingleStageConfig) -> Iterable[Channels]:
    layers = list(net.trunk)
    downs = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Sequential)]
    inner = config.block_widths or config.widths
    for n, (start, width) in enumerate(zip(downs, (config.stem, *config.widths), strict=True)):
        end = downs[n + 1] if n + 1 < len(downs) else len(layers)
        blocks = layers[start + 1 : end]
        after = cast(nn.Sequential, layers[end] if end < len(layers) else net.features[1:])[0]
        convs = [(cast(nn.Sequential, b.conv1), cast(nn.Sequential, b.conv2)) for b in blocks]
        yield Channels(
            [cast(nn.Sequential, layers[start]), *(second for _, second in convs)],
            [*(cast(Reader, first[0]) for first, _ in convs), cast(Reader, after)],
            layers[start:end],
            width,
        )
        for first, second in convs:
            yield Channels([first], [cast(Reader, second[0])], [first], inner[n - 1])


def _patch(net: PatchNet, config: SingleStageConfig) -> Iterable[Channels]:
    layers = [cast(nn.Sequential, layer) for layer in net.convs]
    readers = [cast(Reader, layer[0]) for layer in [*layers[1:], net.out]]
    for i, (layer, reader) in enumerate(zip(layers, readers, strict=True)):
        yield Channels([layer], [reader], [layer], config.patch_widths[(i + 1) // 2])


def _narrow(place: Channels) -> None:
    count = len(place.energy)
    if place.kept >= count:
        return
    # (readers' outputs and cells, channels)
    heard = [r.weight.reshape(len(r.weight), count, -1).transpose(1, 2).flatten(0, 1) for r in place.readers]
    weight = sum((w.T @ w for w in heard), torch.zeros(count, count))
    kept = most_telling(place.energy, weight, place.kept)
    among = place.energy[kept][:, kept]
    ridge = RIDGE * place.energy.diagonal().mean() * torch.eye(len(kept))
    fit = torch.linalg.solve(among + ridge, place.energy[kept]).T  # (channels, kept): all from the kept
    for maker in place.makers:
        conv, norm = cast(nn.Conv2d, maker[0]), cast(nn.BatchNorm2d, maker[1])
        conv.weight = nn.Parameter(conv.weight[kept])
        norm.weight, norm.bias = nn.Parameter(norm.weight[kept]), nn.Parameter(norm.bias[kept])
        norm.running_mean = cast(Tensor, norm.running_mean)[kept]
        norm.running_var = cast(Tensor, norm.running_var)[kept]
    for reader in place.readers:
        shape = reader.weight.shape
        parts = reader.weight.reshape(shape[0], count, -1)
        mixed = torch.einsum("ock,cj->ojk", parts, fit)
        reader.weight = nn.Parameter(mixed.reshape(shape[0], -1, *shape[2:]).contiguous())


def most_telling(energy: Tensor, weight: Tensor, count: int) -> Tensor:
    """One by one the channel that explains most of what the readers hear of those not yet explained."""
    left, floor = energy.clone(), 1e-6 * energy.diagonal().mean()
    kept: list[int] = []
    for _ in range(count):
        gain = (left @ weight @ left).diagonal() / (left.diagonal() + floor)
        gain[kept] = -1.0
        best = int(gain.argmax())
        kept.append(best)
        left = left - torch.outer(left[:, best], left[best]) / (left[best, best] + floor)
    return torch.tensor(sorted(kept))
