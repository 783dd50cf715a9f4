from __future__ import annotations

from dataclasses import replace

import pytest

from x2c_edge.errors import FaultError, NotFoundError
from x2c_edge.links.base import LinkStatus
from x2c_edge.runtime.endings import loss, the_worst

GOOD = LinkStatus("udp://a:1", "up", sent=100, dropped=7)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, ""),
        ({}, {"sent": 103}, ""),
        ({"state": "down"}, {}, "was down when the run ended: 100 commands sent, 7 not"),
        (
            {"state": "down", "sent": 0},
            {"last_error": "no route"},
            "was down when the run ended (no route): 100",
        ),
        ({"state": "opening"}, {"sent": 0}, "never took a command: 0 commands sent, 7 not"),
        ({"state": "opening"}, {"sent": 3}, ""),
        ({}, {"dropped": 9}, "lost what was sent last: 100 commands sent, 9 not"),
        ({}, {"errors": 1, "last_error": "full"}, "lost what was sent last (full): 100 commands sent, 7 not"),
        ({"sent": 0}, {"sent": 0}, "lost everything: 0 commands sent, 7 not"),
        ({"sent": 0, "dropped": 0}, {"sent": 0, "dropped": 0}, ""),
    ],
)
def test_what_a_link_answers_for(before: dict, after: dict, expected: str):
    said = loss(replace(GOOD, **before), replace(GOOD, **{"state": "closed", **after}))
    assert said.startswith(f"link udp://a:1 {expected}") if expected else said == ""


def test_the_first_failure_decides_and_all_are_told():
    assert the_worst([]) is None
    worst = the_worst([FaultError("a fault"), NotFoundError("no room")])
    assert worst is not None
    assert (worst.exit_code, str(worst)) == (4, "a fault; no room")
