"""Poses that the paper's appendix leaves out on purpose, as rules that a pose keeps or breaks.

The appendix names four kinds and no numbers: extremes of head and neck (wear), of gaze (nobody hides the
iris), and lips shaped like a "W" or a "V", also on one side only. The numbers here are ours:

* Head and neck stay within 80 % of the way from rest to the safe range's end, which is where the supervisor's
  guard against extremes begins to watch (``x2c_edge/safety/extremes.py``).
* Gaze stays within ±0.9 and ±0.7 radians, where the virtual eyeballs come to their stops.
* Along each lip lie a corner, a side and the middle. Their heights are the controls' deviations from
  neutral, upwards. "W": a side is a notch, more than 0.3 of a control's range below both its neighbours. "V":
  the middle is one, as far below the side. Either side of the mouth counts by itself.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import HIGH, INDEX, LOW, NEUTRAL, SAFE_HIGH, SAFE_LOW, indices

Array = NDArray[np.float64]
HEAD_SHARE: Final = 0.8  # of the way from rest to the safe end
GAZE_PHI: Final = 0.9  # radians
GAZE_THETA: Final = 0.7
NOTCH: Final = 0.3  # of a lip control's range
_SLACK: Final = 1e-6  # pairs are kept in single precision

KINDS: Final = ("head and neck", "gaze", "W lips", "V lips")
_HEAD: Final = indices("head")
_GAZE: Final = [INDEX["Gaze Target Phi"], INDEX["Gaze Target Theta"]]
# Corner, side and middle of each lip's halves; a height's sign: depressing a lip lowers it.
_LIPS: Final = tuple(
    (INDEX[f"Lip Corner Raise {side}"], INDEX[f"{lip} {side}"], INDEX[f"{lip} Middle"], sign)
    for lip, sign in (("Lip Top Raise", 1.0), ("Lip Bottom Depress", -1.0))
    for side in ("Left", "Right")
)

# The bounds of the first two rules, (30,); the wire's range for all other controls.
EXCLUDED_BELOW, EXCLUDED_ABOVE = LOW.copy(), HIGH.copy()
EXCLUDED_BELOW[_HEAD] = NEUTRAL[_HEAD] + HEAD_SHARE * (SAFE_LOW - NEUTRAL)[_HEAD]
EXCLUDED_ABOVE[_HEAD] = NEUTRAL[_HEAD] + HEAD_SHARE * (SAFE_HIGH - NEUTRAL)[_HEAD]
EXCLUDED_BELOW[_GAZE] = -GAZE_PHI, -GAZE_THETA
EXCLUDED_ABOVE[_GAZE] = GAZE_PHI, GAZE_THETA


def broken_rules(controls: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N, 4): which of ``KINDS`` each pose of ``controls`` (N, 30), paper units, is."""
    values = np.asarray(controls, dtype=np.float64)
    outside = (values < EXCLUDED_BELOW - _SLACK) | (values > EXCLUDED_ABOVE + _SLACK)
    broken = np.zeros((len(values), len(KINDS)), dtype=bool)
    broken[:, 0] = outside[:, _HEAD].any(1)
    broken[:, 1] = outside[:, _GAZE].any(1)
    height = values - NEUTRAL
    for corner, side, middle, sign in _LIPS:
        at, beside = sign * height[:, side], np.minimum(height[:, corner], sign * height[:, middle])
        broken[:, 2] |= beside - at > NOTCH + _SLACK
        broken[:, 3] |= at - sign * height[:, middle] > NOTCH + _SLACK
    return broken


def keep_out(pose: Array) -> None:
    """Moves ``pose`` (30,), paper units, to where ``broken_rules`` finds nothing, in place.

    Of the lips only the sides move: nothing else depends on them, while corners and middles have rules of
    their own (``lip_limits``).
    """
    np.clip(pose, EXCLUDED_BELOW, EXCLUDED_ABOVE, out=pose)
    for corner, side, middle, sign in _LIPS:
        top = sign * (pose[middle] - NEUTRAL[middle])
        low = min(pose[corner] - NEUTRAL[corner], top) - NOTCH
        height = min(max(sign * (pose[side] - NEUTRAL[side]), low), top + NOTCH)
        pose[side] = NEUTRAL[side] + sign * height
