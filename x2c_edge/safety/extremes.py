"""Time in extremes (docs/spec/safety.md R8): a control is not left near its end.

Watched are the sides where a motor works against something: the jaw, the head and neck at both ends, and
the eyelids pressed together. Brows, lips, nose, gaze and wide-open eyes are not: they rest on their own
springs and skin at their ends, and a long smile or a long look aside is an ordinary expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import N_CONTROLS, indices
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.eyelids import PRESSED

_BEYOND: Final = 0.8  # of the way from rest to the end
_BACK_TO: Final = 0.6
_WITHIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ExtremesSettings:
    """Seconds: how long an extreme is allowed, and how long it is refused afterwards."""

    allowed_s: float
    kept_s: float


class ExtremesGuard:
    """Watches the commanded pose and pulls a control that stayed in an extreme back to 60 % of its way.

    After ``allowed_s`` beyond 80 % the limit moves from the end to 60 % within one second, stays there for
    ``kept_s``, and goes back to the end within another second. Each end of a control is on its own.
    """

    __slots__ = (
        "_allowed_s",
        "_beyond",
        "_cap",
        "_end",
        "_held_s",
        "_left_s",
        "_relief",
        "_total_s",
        "_work",
    )

    def __init__(self, settings: ExtremesSettings, envelope: Envelope) -> None:
        self._allowed_s = settings.allowed_s
        self._total_s = _WITHIN_S + settings.kept_s
        # Row 0 is the low side with signs turned, row 1 the high side: "beyond" is "greater" in both.
        rest = np.stack([-envelope.rest, envelope.rest])
        self._end = np.stack([-envelope.low, envelope.high])
        reach = self._end - rest
        watched = np.zeros(N_CONTROLS, dtype=bool)
        watched[indices("jaw") + indices("head")] = True
        self._beyond = np.where(watched, rest + _BEYOND * reach, np.inf)
        self._cap = np.where(watched, rest + _BACK_TO * reach, self._end)
        for lid in indices("eyelids"):
            if envelope.low[lid] < PRESSED < envelope.rest[lid]:
                self._beyond[0, lid] = -PRESSED
                self._cap[0, lid] = min(rest[0, lid] + _BACK_TO * reach[0, lid], -PRESSED)
        self._held_s = np.zeros((2, N_CONTROLS))
        self._left_s = np.zeros((2, N_CONTROLS))
        self._relief = np.zeros((2, N_CONTROLS))
        self._work = np.empty((2, N_CONTROLS))

    def apply(self, target: NDArray[np.float64], pose: NDArray[np.float64], dt_s: float) -> None:
        """Limits ``target`` (30,) in place; ``pose`` (30,) has been commanded for the last ``dt_s``."""
        np.negative(pose, out=self._work[0])
        self._work[1] = pose
        extreme = self._work > self._beyond
        if not (extreme.any() or self._left_s.any() or self._relief.any()):
            self._held_s.fill(0)
            return
        pulled = self._left_s > 0
        self._relief += np.where(pulled, dt_s, -dt_s) / _WITHIN_S
        np.clip(self._relief, 0, 1, out=self._relief)
        np.maximum(self._left_s - dt_s, 0, out=self._left_s)
        self._held_s = np.where(extreme & ~pulled, self._held_s + dt_s, 0.0)
        self._left_s[self._held_s > self._allowed_s] = self._total_s
        bound = self._end - self._relief * (self._end - self._cap)
        np.maximum(target, -bound[0], out=target)
        np.minimum(target, bound[1], out=target)
