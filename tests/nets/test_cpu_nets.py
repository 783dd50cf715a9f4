"""The nets as they are rearranged for the CPU's engine are the same functions."""

from __future__ import annotations

import pytest
import torch

from x2c_edge.nets import arch, engine_nets
from x2c_edge.nets.cpu_nets import cpu_nets
from x2c_edge.nets.cpu_two_looks import CpuTwoLooks
from x2c_edge.nets.generator import Generator, GeneratorConfig
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork

VOLUME = (1, 4, 3, 16, 24)


def pairs(net: torch.nn.Module):
    net = arch.folded(net.eval())
    made = zip(engine_nets.engine_nets(net, 0, VOLUME), cpu_nets(net, 0, VOLUME), strict=True)
    for plain, ours in made:
        assert (ours.name, ours.inputs, ours.outputs) == (plain.name, plain.inputs, plain.outputs)
        yield plain, ours


@torch.inference_mode()
def apart(plain, ours) -> float:
    inputs = [torch.randn(port.shape) for port in plain.inputs]
    expected, got = plain.module(*inputs), ours.module(*inputs)
    if not isinstance(expected, tuple):
        expected, got = (expected,), (got,)
    return max(float((a - b).abs().max()) for a, b in zip(expected, got, strict=True))


@pytest.mark.parametrize(("depth", "kernel"), [(3, 3), (1, 3), (3, 7)])
def test_dense_motion(depth: int, kernel: int):
    torch.manual_seed(depth + kernel)
    config = WarpingConfig(5, 4, 3, 2, 8, 32, 3, 16, mask_kernel=kernel)
    net = WarpingNetwork(config)
    assert max(apart(*pair) for pair in pairs(net)) < 2e-5


@pytest.mark.parametrize("ups", [(12,), (16, 12), (16, 16)])
def test_generator(ups: tuple[int, ...]):
    """One and two doublings, with the width changing and not."""
    torch.manual_seed(len(ups))
    net = Generator(GeneratorConfig(8, 16, 2, ups, 12, 2))
    assert max(apart(*pair) for pair in pairs(net)) < 2e-5


def turned_landmarks(net: SingleStage, degrees: float) -> None:
    """A net that puts random landmarks where a head turned by so much has them, whatever it sees."""
    points = torch.rand(net.config.landmarks, 2) * 1.2 - 0.6
    turn = torch.deg2rad(torch.tensor(degrees))
    there = points @ torch.stack(
        [torch.stack([turn.cos(), turn.sin()]), torch.stack([-turn.sin(), turn.cos()])]
    )
    with torch.no_grad():
        net.face.weight.mul_(0.01)
        net.face.bias[1:-3] = there.flatten()


@pytest.mark.parametrize("degrees", [0.0, 80.0, 170.0, -100.0])
@torch.inference_mode()
def test_single_stage_looks_at_the_same_places(degrees: float):
    """Also where an eye is upside down or its corners lie one above the other."""
    torch.manual_seed(int(degrees))
    for _ in range(4):
        net = SingleStage(SingleStageConfig(input_size=64, stem=8, widths=(8, 8), blocks=(0, 1))).eval()
        turned_landmarks(net, degrees)
        x = torch.randn(1, 3, 64, 64)
        assert float((net(x) - net.read(*CpuTwoLooks(net)(x))).abs().max()) < 1e-5
