from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import typer
from torch import nn
from typer.testing import CliRunner

from tests.patience import patient
from tools.train import generator_course, mapping_course
from tools.train.training_step import laid_out, layout_of, mixed_precision
from x2c_edge import processor


def shortcut(channels: int, kernel: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 8, kernel, stride))


def test_a_net_trains_channels_last_unless_that_kills_the_process():
    for sound in (shortcut(8, 1, 2), shortcut(4, 3, 2), shortcut(4, 1, 1)):
        assert layout_of(sound) == torch.channels_last
    assert layout_of(shortcut(4, 1, 2)) == torch.contiguous_format


def test_every_small_width_trains():
    """In a process of its own: what this is about does not raise, it kills."""
    script = """
import torch
from torch import nn
from tools.train.training_step import laid_out, layout_of
for channels in range(1, 9):
    net = laid_out(nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 8, 1, 2)))
    for _ in range(20):
        x = torch.randn(8, 3, 16, 16).contiguous(memory_format=layout_of(net))
        net(x).square().mean().backward()
    print(channels, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=patient(120)
    )
    assert done.stdout.split() == list("12345678"), done.stderr[-300:]


def test_bfloat16_only_where_it_is_computed():
    net, x = laid_out(nn.Conv2d(8, 8, 3)), torch.randn(1, 8, 8, 8)
    with mixed_precision():
        assert net(x).dtype == (torch.bfloat16 if processor.computes_bfloat16() else torch.float32)
    with mixed_precision(bf16=False):
        assert net(x).dtype == torch.float32


@pytest.mark.parametrize("course", [mapping_course, generator_course])
@pytest.mark.parametrize("rate", ["0", "nan", "inf", "-1e-3"])
def test_a_learning_rate_that_leads_nowhere_is_told_before_any_work(
    course: ModuleType, rate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(course.main)
    result = CliRunner().invoke(app, [f"--lr={rate}"])
    assert result.exit_code == 2
    assert result.output == f"--lr {float(rate):g}: give a number above 0\n"
    assert not list(tmp_path.iterdir())
