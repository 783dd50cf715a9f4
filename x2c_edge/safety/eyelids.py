"""The eyelids: opposite extremes, and a blink is never held (docs/spec/links.md section 2.3; R14)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import HIGH, INDEX, LOW

UPPER_LIDS: Final = (INDEX["Eyelid Upper Left"], INDEX["Eyelid Upper Right"])
_EYES: Final = (
    (INDEX["Eyelid Upper Left"], INDEX["Eyelid Lower Left"]),
    (INDEX["Eyelid Upper Right"], INDEX["Eyelid Lower Right"]),
)
PRESSED: Final = -0.5  # beyond this a lid presses on the facing one (2.3)
_WIDE: Final = 1.5
_OPENED: Final = 0.5  # an eye that was opened against the driver's is given back when theirs is this open
_REOPEN_S: Final = 0.3


def limit_lids(
    values: NDArray[np.float64], low: NDArray[np.float64] = LOW, high: NDArray[np.float64] = HIGH
) -> None:
    """Keeps the lids of one eye from opposite extremes, in place. All (30,), paper units.

    A lid is not pressed beyond -0.5 while the facing one is pulled open beyond 1.5. (Both pressed, a
    squeeze, is allowed for a second: see ``ExtremesGuard``.) ``low`` and ``high`` bound what is within
    reach, ``values`` lie between them: the pressed lid gives way, and where it cannot get out of the way the
    facing one stays. The result is allowed whenever any pose between them is.
    """
    for upper, lower in _EYES:
        for lid, facing in ((upper, lower), (lower, upper)):
            if values[lid] < PRESSED and values[facing] > _WIDE:
                if high[lid] >= PRESSED:
                    values[lid] = PRESSED
                else:
                    values[facing] = _WIDE


def pinned_lids(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[int, ...]:
    """The lids of an eye that every pose between ``low`` and ``high`` holds at opposite extremes, or none."""
    for upper, lower in _EYES:
        for lid, facing in ((upper, lower), (lower, upper)):
            if high[lid] < PRESSED and low[facing] > _WIDE:
                return upper, lower
    return ()


def both_closed(values: NDArray[np.float64], closed_below: float) -> bool:
    """Whether both upper lids of ``values`` (30,) are closed, so that gaze means nothing."""
    left, right = UPPER_LIDS
    return bool(values[left] <= closed_below and values[right] <= closed_below)


class BlinkGuard:
    """Opens an upper lid that has been commanded closed for too long, and keeps it open.

    It stays open until the driver's own eye has been open again; otherwise it would close at once.
    The clock of a closed lid is only reset when the lid is a clear step above closed, so noise around the
    threshold does not restart it.
    """

    __slots__ = ("_closed_below", "_closed_s", "_longest_s", "_open", "_opening")

    def __init__(self, closed_below: float, longest_s: float, rest: NDArray[np.float64]) -> None:
        self._closed_below = closed_below
        self._longest_s = longest_s
        self._open = [float(rest[lid]) for lid in UPPER_LIDS]
        self._closed_s = [0.0, 0.0]
        self._opening: list[float | None] = [None, None]  # 0..1, how far it has been opened

    def apply(
        self, target: NDArray[np.float64], pose: NDArray[np.float64], wish: NDArray[np.float64], dt_s: float
    ) -> None:
        """Moves the upper lids of ``target`` in place.

        pose: what has been commanded for the last ``dt_s``. wish: what the driver does. All (30,).
        """
        for eye, lid in enumerate(UPPER_LIDS):
            opening = self._opening[eye]
            if opening is None:
                at = float(pose[lid])
                if at <= self._closed_below or (self._closed_s[eye] > 0 and at <= self._closed_below + 0.2):
                    self._closed_s[eye] += dt_s
                else:
                    self._closed_s[eye] = 0.0
                if self._closed_s[eye] <= self._longest_s:
                    continue
                self._closed_s[eye] = 0.0
                opening = 0.0
            elif wish[lid] >= _OPENED:
                self._opening[eye] = None
                continue
            else:
                opening = min(opening + dt_s / _REOPEN_S, 1.0)
            self._opening[eye] = opening
            lowest = self._closed_below + opening * (self._open[eye] - self._closed_below)
            target[lid] = max(float(target[lid]), lowest)
