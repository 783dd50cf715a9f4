from __future__ import annotations

import re
import subprocess
import sys

import pytest

from x2c_edge.errors import BadArgumentError
from x2c_edge.runtime.boards import BOARDS, Board, board
from x2c_edge.runtime.prediction import kernels_time, net_time, prediction

pytest.importorskip("torch")
from x2c_edge.nets.cost import Layer, NetCost

MACHINE = Board("a machine", {"fp32": 100.0, "fp16": 200.0, "int8": 400.0}, 50.0, 1.0, 0.5)
BUSY, THICK = Layer(1000, 10, 10, 5), Layer(10, 100, 100, 50)  # operations, and elements, take longer


@pytest.mark.parametrize(
    ("precision", "seconds"), [("fp32", 20 + 20 + 2), ("fp16", 10 + 10 + 2), ("int8", 5 + 5 + 2)]
)
def test_the_longer_of_operations_and_bytes_and_a_launch(precision: str, seconds: float):
    assert net_time(NetCost("n", (BUSY, THICK), 1, 1, wide=False), MACHINE, precision).seconds == seconds


def test_a_wide_net_is_float32_in_every_precision():
    wide = net_time(NetCost("n", (BUSY, THICK), 1, 1, wide=True), MACHINE, "int8")
    assert (wide.seconds, wide.bytes, wide.flop) == (42, 4 * 275, 1010)


def test_kernels_move_what_lies_between_the_nets():
    nets = [NetCost("a", (), 30, 20, wide=False), NetCost("b", (), 20, 5, wide=False)]
    assert kernels_time(nets, MACHINE, "fp16").bytes == 2 * 2 * 75
    assert kernels_time(nets, MACHINE, "int8").seconds == 300 / 50 + 3


def test_peaks_agree_with_the_published_totals():
    """NVIDIA's own totals, which count sparsity: twice the dense int8, eight times the dense fp16 of FP4."""
    assert 2 * BOARDS["orin-nano-super"].peak["int8"] == pytest.approx(67e12, rel=0.01)
    assert 2 * BOARDS["agx-orin"].peak["int8"] == pytest.approx(170e12, rel=0.01)
    assert BOARDS["agx-orin"].peak["fp32"] == pytest.approx(5.3e12, rel=0.01)
    assert 8 * BOARDS["thor"].peak["fp16"] == pytest.approx(2070e12, rel=0.01)


def test_a_board_that_is_not_known_is_one_line():
    with pytest.raises(BadArgumentError, match=r"--predict orin-nxx: not one of .*did you mean 'orin-nx'"):
        board("orin-nxx")


def test_the_command_predicts_every_gear_and_says_that_it_did_not_measure(real_pack: str):
    command = [sys.executable, "-m", "x2c_edge.cli.main", "profile", "--pack", real_pack]
    done = subprocess.run([*command, "--predict", "thor"], check=True, capture_output=True, text=True)
    first, *rest = done.stdout.splitlines()
    assert first == "Thor T5000, default pack: PREDICTED, nothing of it was measured"
    totals = {
        line.split()[0]: [float(x) for x in line.split()[1:]] for line in rest if re.match(r"\w+-stage", line)
    }
    assert list(totals) == ["two-stage", "single-stage"]
    two, single = totals.values()
    assert all(a > b > 0 for a, b in zip(two, single, strict=True))
    assert two[2] > two[3] > two[4]  # ms of fp32, fp16, int8


def test_what_a_prediction_does_not_do_is_refused():
    words = ["--predict", "orin-nano", "--json", "p.json", "--pipeline", "direct"]
    command = [sys.executable, "-m", "x2c_edge.cli.main", "profile", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "leave out --json, --pipeline" in done.stderr


def test_the_model_is_tried_on_this_processor(real_pack: str):
    first, _, *rows = prediction(real_pack, "here")
    assert "both measured now" in first
    for row in rows:
        name, predicted, measured, ratio = re.split(r"\s{2,}", row.strip())
        assert float(measured) / float(predicted) == pytest.approx(float(ratio), rel=0.1, abs=0.1), name
    assert rows[-1].startswith("all nets")
