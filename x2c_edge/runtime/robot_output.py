"""Values of one's own to safe bytes on any link: the supervisor and the tick of a run, without its vision."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x2c_edge.capture.base import SourceStatus
from x2c_edge.controls import N_CONTROLS
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import Expression, Frame
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.mailbox import Mailbox
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.run import Kind, Run, beginning
from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.telemetry import Snapshot
from x2c_edge.runtime.vision import Sight

GEAR: Final = "own-values"
READY_S: Final = 10.0  # a robot that does not answer by then is told of
_NO_POINTS: Final = np.zeros((0, 2))
_NO_PICTURE: Final = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class _Shown(Frame):
    """A pose in the place of a picture. pose: (30,) paper units."""

    pose: NDArray[np.float64] | None = None


class RobotOutput:
    """Drives the links from a thread of its own, between ``with`` and its end.

    Whatever it is shown leaves within range, speed and combination limits. A program that shows nothing for
    0.15 s (``safety.hold_after``) is taken for dead: the face holds, then eases to neutral. The end
    eases to neutral, too. ``operator`` stops and resumes; ``snapshot`` tells how it goes.
    """

    def __init__(self, links: str | Sequence[str] | None = None, settings: Settings | None = None) -> None:
        """links: one URI or several; None: the settings'. NotFoundError, BadArgumentError as ``run``'s."""
        settings = settings or Settings()
        if links is not None:
            uris = (links,) if isinstance(links, str) else tuple(links)
            settings = replace(settings, run=replace(settings.run, link=uris))
        poses = _Poses()
        with beginning(settings, Outputs()) as begun:
            begun.outlets.open_links()
            self._run = Run(begun, Kind(poses, _Eyes(), (GEAR,), LatencyBook(("queue",))))
        self.supervisor, self.operator = self._run.supervisor, self._run.operator
        self._shown = poses.shown
        self._thread = threading.Thread(target=self._work, name="robot-output", daemon=True)
        self._error: BaseException | None = None
        self._seq = 0

    def snapshot(self) -> Snapshot:
        """The run now; callable from any thread."""
        return self._run.snapshot()

    def show(self, values: ArrayLike) -> None:
        """The newest pose: (30,) in the order of ``NAMES``, paper units. Returns at once; from any thread.

        BadArgumentError for another shape. What is not finite or out of range is replaced or clamped.
        """
        pose = np.array(values, dtype=np.float64)
        if pose.shape != (N_CONTROLS,):
            raise BadArgumentError(f"a pose has {N_CONTROLS} values, not the shape {pose.shape}")
        self._seq += 1
        self._shown.post(_Shown(self._seq, time.monotonic_ns(), _NO_PICTURE, pose=pose))

    def __enter__(self) -> RobotOutput:
        """Returns when the robot takes commands. NotFoundError when it does not within 10 s."""
        self._thread.start()
        until = time.monotonic() + READY_S
        while self.supervisor.last_command is None and self._thread.is_alive():
            if time.monotonic() > until:
                said = "; ".join(link.status().last_error for link in self._run.outlets.links)
                self._end()
                raise NotFoundError(said or f"no link took a command within {READY_S:g} s; is the robot on?")
            time.sleep(0.005)
        return self

    def __exit__(self, *raised: object) -> None:
        """Eases to neutral. Raises what ended the run early (FaultError, NotFoundError), unless the program
        inside has its own error to tell."""
        self._end()
        if self._error is not None and raised[0] is None:
            raise self._error

    def _end(self) -> None:
        self._run.stop()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._run.run()
        except BaseException as error:
            self._error = error


class _Poses:
    """A source of what was shown."""

    name = GEAR
    live = True
    nominal_fps = 60.0

    def __init__(self) -> None:
        self.shown: Mailbox[_Shown] = Mailbox()
        self._taken = 0

    def open(self) -> None:
        """Nothing to open."""

    def read(self, timeout_s: float) -> Frame | None:
        frame = self.shown.take(timeout_s)
        self._taken += frame is not None
        return frame

    def close(self) -> None:
        """Nothing to close."""

    def status(self) -> SourceStatus:
        return SourceStatus("up", frames=self._taken, dropped=self.shown.replaced)


class _Eyes:
    """Sees in every frame the pose that was shown (``Eyes``)."""

    has_reference = True
    neutral = ""
    with_face = 0

    def process(self, frame: Frame, gear: str) -> Sight:
        assert isinstance(frame, _Shown)
        assert frame.pose is not None
        expression = Expression(frame.seq, frame.t_capture_ns, gear, frame.pose, 1.0, _NO_POINTS)
        return Sight(frame, None, None, expression, True, "", 0, 0)
