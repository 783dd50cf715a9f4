"""How long tests wait for something, on a machine that may be slower than those they were written on."""

from __future__ import annotations

import os
from typing import Final

# Set by tools/check/arm64_rehearsal.py.
PATIENCE: Final = float(os.environ.get("X2C_EDGE_TEST_PATIENCE", "1"))
# Whether the machine is emulated: what needs a picture in time does not get it.
EMULATED: Final = PATIENCE > 1


def patient(seconds: float) -> float:
    """So long here, in seconds."""
    return PATIENCE * seconds
