from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from x2c_edge.nets.cost import Layer, NetCost, cost
from x2c_edge.nets.engine_nets import EngineNet, Port
from x2c_edge.packs import open_pack
from x2c_edge.runtime.prediction import nets_of


def net_of(module: nn.Module, *shape: int) -> EngineNet:
    out = tuple(module(torch.zeros(shape)).shape)
    return EngineNet("net", module, (Port("x", shape, False),), (Port("y", out, False),))


@pytest.mark.parametrize(
    ("module", "shape", "layer"),
    [
        # 2 x 16 outputs, each of 3 x 9 products
        (nn.Conv2d(3, 2, 3), (1, 3, 6, 6), Layer(2 * 32 * 27, 108, 32, 54)),
        # one group a channel: 9 products each
        (nn.Conv2d(4, 4, 3, groups=4, padding=1), (1, 4, 5, 5), Layer(2 * 100 * 9, 100, 100, 36)),
        (nn.Conv3d(2, 5, 1), (1, 2, 3, 4, 4), Layer(2 * 5 * 48 * 2, 96, 240, 10)),
        # 3 x 16 inputs, each into 2 x 4 products
        (nn.ConvTranspose2d(3, 2, 2, stride=2), (1, 3, 4, 4), Layer(2 * 48 * 8, 48, 128, 24)),
        (nn.Linear(7, 5), (1, 7), Layer(2 * 7 * 5, 7, 5, 35)),
    ],
    ids=["conv", "depthwise", "volume", "transposed", "linear"],
)  # fmt: skip
def test_a_layer_by_hand(module: nn.Module, shape: tuple[int, ...], layer: Layer):
    net = net_of(module, *shape)
    assert cost(net) == NetCost("net", (layer,), layer.read, layer.written, wide=False)
    assert next(module.parameters()).device.type == "cpu"  # it was left as it is


def test_the_default_packs_nets_against_pytorchs_own_count(real_pack: str):
    for _, net in nets_of(open_pack(real_pack)):
        with torch.no_grad(), FlopCounterMode(display=False) as pytorch:
            net.module(*[torch.zeros(port.shape) for port in net.inputs])
        assert cost(net).flop == pytorch.get_total_flops(), net.name
