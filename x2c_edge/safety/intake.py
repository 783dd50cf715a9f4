"""From a raw expression to a pose worth following: this robot's, finite, in range, without tremble."""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np

from x2c_edge.controls import N_CONTROLS, indices
from x2c_edge.frames import Expression
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.eyelids import both_closed
from x2c_edge.safety.settings import SupervisorSettings, ns
from x2c_edge.safety.smoothing import Smoothing, SmoothingSettings

_GAZE: Final = np.array(indices("gaze"))
_HEAD: Final = np.array(indices("head"))
_STREAM_GAP_NS: Final = ns(0.5)  # non-finite expressions further apart are not one stream

Verdict = Literal["used", "late", "unusable"]


class Intake:
    """The newest usable expression, conditioned.

    target: (30,) float64, paper units, always finite and inside the envelope.
    newest: the expression that ``target`` is made of, None before the first one and after ``forget``.
    t_capture_ns: its capture time, never after the moment it was taken.
    clamped, replaced: whether values of it were out of range, or not finite.
    """

    __slots__ = (
        "_band",
        "_corrects",
        "_envelope",
        "_filter",
        "_good",
        "_last_bad_ns",
        "_raw",
        "_settings",
        "bad_since_ns",
        "clamped",
        "newest",
        "replaced",
        "t_capture_ns",
        "target",
    )

    def __init__(
        self, settings: SupervisorSettings, envelope: Envelope, smoothing: SmoothingSettings
    ) -> None:
        self._settings = settings
        self._envelope = envelope
        self._corrects = envelope.correction.changes
        self._filter = Smoothing(smoothing)
        self._band = math.radians(settings.dead_band_deg)
        self._good = envelope.rest.copy()
        self._raw = np.empty(N_CONTROLS)
        self._last_bad_ns = 0
        self.target = envelope.rest.copy()
        self.newest: Expression | None = None
        self.t_capture_ns = 0
        self.clamped = False
        self.replaced = False
        self.bad_since_ns: int | None = None

    def forget(self) -> None:
        """Drops the newest expression and the filter's past: what comes next is about another neutral."""
        self.newest = None
        self.forgive()
        self._filter.reset()
        self._good[:] = self._envelope.rest

    def forgive(self) -> None:
        """Starts the clock of non-finite values afresh."""
        self.bad_since_ns = None

    def take(self, expression: Expression, now_ns: int) -> Verdict:
        """Makes ``expression`` the one to follow, unless it is older than the newest or unusable.

        Unusable (R4): the wrong shape, presence not finite, more than ``replace_at_most`` values not
        finite, or some of them for longer than ``replace_for``.
        """
        t_capture_ns = min(max(expression.t_capture_ns, 0), now_ns)
        restarted = False
        if self.newest is not None and t_capture_ns < self.t_capture_ns:
            # A source whose clock started again is believed once what it sent before is of no use any more.
            if now_ns - self.t_capture_ns <= ns(self._settings.neutral_after):
                return "late"
            restarted = True
        values = np.asarray(expression.values, dtype=np.float64)
        sound = values.shape == (N_CONTROLS,) and math.isfinite(expression.presence)
        if sound and self._corrects:
            values = self._envelope.correction.applied(values)
        finite = np.isfinite(values) if sound else np.zeros(N_CONTROLS, dtype=bool)
        n_bad = N_CONTROLS - int(np.count_nonzero(finite))
        if not self._bearable(n_bad, now_ns):
            return "unusable"

        raw = self._raw
        raw[:] = self._good
        np.copyto(raw, values, where=finite)
        good = self._envelope.clamp(raw)
        self.clamped = bool((good != raw).any())
        self.replaced = n_bad > 0
        if both_closed(good, self._settings.lids_closed_below):
            good[_GAZE] = self._good[_GAZE]
        self._good = good

        if restarted:
            self._filter.reset()
        smooth = self._filter.step(good, (t_capture_ns - self.t_capture_ns) * 1e-9)
        # Head and neck lag behind by up to the band, like a gear with play: still at rest, smooth in motion.
        head = np.clip(self.target[_HEAD], smooth[_HEAD] - self._band, smooth[_HEAD] + self._band)
        self.target[:] = smooth
        self.target[_HEAD] = head
        self.newest = expression
        self.t_capture_ns = t_capture_ns
        return "used"

    def _bearable(self, n_bad: int, now_ns: int) -> bool:
        if n_bad == 0:
            self.bad_since_ns = None
            return True
        if self.bad_since_ns is None or now_ns - self._last_bad_ns > _STREAM_GAP_NS:
            self.bad_since_ns = now_ns
        self._last_bad_ns = now_ns
        return n_bad <= self._settings.replace_at_most and now_ns - self.bad_since_ns <= ns(
            self._settings.replace_for
        )
