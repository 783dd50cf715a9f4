"""What the soak makes of its measurements; the soak itself runs by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tools.check.soak_faults import LASTS_S, PEACE_S, START_S, Fault, row_of, schedule_of_udp, sent
from x2c_edge.controls import NEUTRAL
from x2c_edge.frames import Command
from x2c_edge.links.jsonl_link import JsonlLink
from x2c_edge.robot.faults import Faults

SECOND = 10**9


def test_the_commands_of_a_file_are_read(tmp_path: Path):
    link = JsonlLink(str(tmp_path / "a.jsonl"), lossless=True)
    link.open()
    for k, state in enumerate(("NEUTRAL", "FOLLOWING", "STOPPED")):
        link.send(Command(k, 1000 + k, state, 0, NEUTRAL))
    link.close(5)
    times, states = sent(tmp_path / "a.jsonl")
    assert times.tolist() == [1000, 1001, 1002]
    assert states.tolist() == ["NEUTRAL", "FOLLOWING", "STOPPED"]


@pytest.mark.parametrize(("back_at", "well"), [(7.0, True), (99.0, False)])
def test_a_fault_s_row_has_its_longest_gap_and_its_slowest_return(back_at: float, well: bool):
    times = np.arange(0, 16 * SECOND, SECOND // 60)
    times = times[(times < 2 * SECOND) | (times > 3 * SECOND)]  # one second of silence
    states = np.where((times > 1 * SECOND) & (times < back_at * SECOND), "HOLDING", "FOLLOWING")
    fault = Fault("x", None, None, [(SECOND, 16 * SECOND)], [5 * SECOND])
    cells, followed = row_of(fault, times, states)
    assert cells[:2] == ["x", "1"]
    assert cells[2] == "FOLLOWING, HOLDING"
    assert abs(int(cells[3]) - 1000) < 40
    assert followed == well
    assert cells[4] == ("2.0" if well else "inf")


def test_the_udp_robot_s_own_faults_come_in_their_turn():
    names = ["a", "UDP robot stalls", "UDP robot unplugged"]
    faults = Faults(schedule_of_udp(names, 2))
    step = LASTS_S + PEACE_S
    for cycle in (0, 3):
        assert faults.active("stall", START_S + (cycle + 1) * step + 1)
        assert faults.active("unplug", START_S + (cycle + 2) * step + 1)
        assert not faults.active("stall", START_S + cycle * step + 1)
        assert not faults.active("unplug", START_S + (cycle + 2) * step + LASTS_S + 1)
