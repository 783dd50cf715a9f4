"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.safety.driver import Driver
from x2c_edge.safety.supervisor import Supervisor


@pytest.fixture
def drive() -> Callable[..., Driver]:
    """``drive(settings=..., envelope=...)``: a driver of a new supervisor."""
    return lambda **arguments: Driver(Supervisor(**arguments))
