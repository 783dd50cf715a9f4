"""The rules on combinations as links.md 2.2 and 2.3 state them, apart from the code that keeps them."""

from __future__ import annotations

import numpy as np

from x2c_edge.controls import INDEX
from x2c_edge.frames import Command

EYES = [(INDEX[f"Eyelid Upper {side}"], INDEX[f"Eyelid Lower {side}"]) for side in ("Left", "Right")]
GAZE = [INDEX["Gaze Target Phi"], INDEX["Gaze Target Theta"]]
JAW, BOTTOM, TOP, BOTTOM_CURL, TOP_CURL = (
    INDEX[name]
    for name in (
        "Jaw Pitch",
        "Lip Bottom Depress Middle",
        "Lip Top Raise Middle",
        "Lip Bottom Curl",
        "Lip Top Curl",
    )
)


def lids_apart(values: np.ndarray) -> float:
    """How far the lids of one eye are at opposite extremes; at most 0 is allowed. values: (30,)."""
    pairs = [pair for eye in EYES for pair in (eye, eye[::-1])]
    return max(min(-0.5 - values[lid], values[facing] - 1.5) for lid, facing in pairs)


def lips_beyond(values: np.ndarray) -> float:
    """How far a lip is outside its conditional range; at most 0 is allowed. values: (30,)."""
    jaw, bottom, top, bottom_curl, top_curl = values[[JAW, BOTTOM, TOP, BOTTOM_CURL, TOP_CURL]]
    return max(
        np.interp(jaw, [0.7, 1.0], [0.0, 0.4]) - bottom,
        np.interp(jaw - 0.75 * bottom, [0.4, 0.7], [0.0, 0.5]) - top,
        np.interp(bottom, [0.0, 1.0], [0.1, 0.85]) - bottom_curl,
        np.interp(top, [0.0, 1.0], [0.0, 0.75]) - top_curl,
        top_curl - np.interp(top, [0.0, 0.2], [0.7, 1.0]),
    )


def gaze_moves_behind_closed_lids(command: Command, before: Command) -> bool:
    closed = all(command.values[upper] <= 0.05 for upper, _ in EYES)
    moved = not np.array_equal(command.values[GAZE], before.values[GAZE])
    return command.state == "FOLLOWING" and closed and moved
