"""What the virtual robot's script takes for a command."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from x2c_edge.controls import NEUTRAL, to_robot
from x2c_edge.links.codec import FrameError
from x2c_edge.robot.tritium_endpoint import _script_demand

GOOD: dict[str, Any] = {
    "v": 1,
    "run": "0a",
    "seq": 3,
    "t": 1.7e9,
    "flags": 2,
    "c": to_robot(NEUTRAL).tolist(),
}


def test_a_command_is_taken():
    demand = _script_demand(GOOD, 30)
    assert (demand.run, demand.seq, demand.flags) == (10, 3, 2)
    np.testing.assert_allclose(demand.values, NEUTRAL, atol=1e-9)


@pytest.mark.parametrize("number", [10**400, -(10**400), float("nan"), float("inf"), "1", None, True])
@pytest.mark.parametrize("place", ["t", "c"])
def test_numbers_that_are_none_are_refused(number: object, place: str):
    wrong = GOOD | ({"t": number} if place == "t" else {"c": [number, *GOOD["c"][1:]]})
    with pytest.raises(FrameError, match="nonfinite"):
        _script_demand(wrong, 30)
