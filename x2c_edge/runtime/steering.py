"""What ``run`` and ``replay`` share: everything between what was seen in a frame and the robot."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from x2c_edge import __version__
from x2c_edge.capture.base import Source
from x2c_edge.controls import GROUPS
from x2c_edge.errors import BadArgumentError, FaultError, NotFoundError, UserError
from x2c_edge.links.base import Link
from x2c_edge.links.registry import make_link
from x2c_edge.runtime.endings import the_worst
from x2c_edge.runtime.fast import FastRun
from x2c_edge.runtime.governor import HOLD, Governor
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.live import LiveRun
from x2c_edge.runtime.operator import Operator
from x2c_edge.runtime.recorder import Recorder, RunRecorder
from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.telemetry import Snapshot, as_dict
from x2c_edge.runtime.vision import NO_FACE, Eyes
from x2c_edge.safety.correction import Correction
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.supervisor import Supervisor

if TYPE_CHECKING:
    from x2c_edge.runtime.foxglove_feed import FoxgloveFeed
    from x2c_edge.runtime.mcap_recorder import McapRecorder
    from x2c_edge.runtime.page import RunPage


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run writes besides its links, and when it ends by itself."""

    fast: bool = False
    record: Path | None = None
    save_video: Path | None = None
    monitor: str | None = None  # [HOST:]PORT of the live page
    foxglove: str | None = None  # [HOST:]PORT for Foxglove
    save_reference: Path | None = None
    trace: Path | None = None
    per_step: bool = False  # a GPU times every step by itself, as it does for a trace
    duration_s: float | None = None
    max_frames: int | None = None
    later: tuple[Path | None, ...] = ()  # what the caller writes afterwards; checked before anything starts
    watchers: tuple[RunRecorder, ...] = ()  # what else is told about every frame and command


class Steering:
    """Supervisor, links, recorders, loop. ``run`` blocks; ``stop`` may be called from a signal handler.

    Who derives from it makes a source and what sees in its frames, in this order: ``__init__``, the source,
    ``_open_links``, the eyes, ``_steer``; and calls ``_abandon`` when one of them fails.
    """

    source: Source

    def __init__(
        self, settings: Settings, outputs: Outputs, on_snapshot: Callable[[Snapshot], None] | None
    ) -> None:
        for path in (outputs.trace, outputs.save_reference, outputs.record, *outputs.later):
            _require_writable(path)
        if outputs.record is not None:
            _require_recordable(outputs.record)
        self._settings, self._outputs, self._on_snapshot = settings, outputs, on_snapshot
        self.supervisor = supervisor_of(settings)
        self.operator = Operator(hold_to_run=settings.safety.hold_to_run)
        self.recording: McapRecorder | None = None
        self.page: RunPage | None = None
        self._ran = False
        self.foxglove: FoxgloveFeed | None = None
        self._recorders: list[RunRecorder] = list(outputs.watchers)
        self._links: list[Link] = []  # the open ones
        if outputs.fast and (outputs.monitor or outputs.foxglove):
            option = "--monitor" if outputs.monitor else "--foxglove"
            raise BadArgumentError(f"{option} shows a run as it happens; leave out --fast")
        if outputs.monitor is not None:
            from x2c_edge.runtime.page import RunPage

            self.page = RunPage(outputs.monitor, self.operator)
        if outputs.foxglove is not None:
            from x2c_edge.runtime.foxglove_feed import FoxgloveFeed

            self.foxglove = FoxgloveFeed(outputs.foxglove)
        rate = settings.run.rate
        self._to_open = [
            make_link(uri, rate_hz=rate, lossless=outputs.fast) for uri in (settings.run.link or ("null:",))
        ]

    def __enter__(self) -> Steering:
        return self

    def __exit__(self, *_: object) -> None:
        """Lets go of everything, if it never ran: a run closes what it opened."""
        if not self._ran:
            self._abandon()

    def _open_links(self) -> None:
        for link in self._to_open:
            link.open()
            self._links.append(link)

    def _steer(
        self, eyes: Eyes, gears: tuple[str, ...], book: LatencyBook, *, generated: bool, facts: dict[str, str]
    ) -> None:
        """Make the recorders and the loop.

        gears: names of pipelines, best first. generated: there will be faces of the two-stage pipeline.
        facts: for the recording, besides what is known here.
        """
        self.eyes, self.book = eyes, book
        run, outputs = self._settings.run, self._outputs
        if outputs.save_video is not None:
            fps = self.source.nominal_fps or 30.0
            self._recorders.append(
                Recorder(outputs.save_video, fps, lossless=outputs.fast, generated=generated)
            )
        if outputs.record is not None:
            from x2c_edge.runtime.mcap_recorder import McapRecorder

            self.recording = McapRecorder(
                outputs.record, self._facts() | facts, lossless=outputs.fast, generated=generated
            )
            self._recorders.append(self.recording)
        if self.page is not None:
            self._recorders.append(self.page)
        if self.foxglove is not None:
            self.foxglove.start(generated=generated)
            self._recorders.append(self.foxglove)
        budget_ns = round(run.budget_ms * 1e6)
        self.governor = Governor(gears, budget_ns, round(1e9 / run.rate))
        on_snapshot = self._on_snapshot
        tell = None if on_snapshot is None else lambda: on_snapshot(self.snapshot())
        self.loop: LiveRun | FastRun
        if outputs.fast:
            self.loop = FastRun(
                self.source,
                eyes,
                gears[0],
                self.supervisor,
                self._links,
                book,
                rate_hz=run.rate,
                operator=self.operator,
                recorders=self._recorders,
                on_telemetry=tell,
                duration_s=outputs.duration_s,
                max_frames=outputs.max_frames,
            )
        else:
            self.loop = LiveRun(
                self.source,
                eyes,
                self.governor,
                self.supervisor,
                self._links,
                book,
                budget_ns=budget_ns,
                rate_hz=run.rate,
                operator=self.operator,
                recorders=self._recorders,
                on_telemetry=tell,
                duration_s=outputs.duration_s,
                max_frames=outputs.max_frames,
            )

    def stop(self) -> None:
        """Ease to neutral, then end ``run``."""
        self.loop.stop()

    def run(self) -> None:
        """FaultError when the run ended in FAULT, NotFoundError when it wrote less than it was asked to."""
        self._run_loop()
        self._judge()

    def _run_loop(self) -> None:
        self._ran = True
        with ExitStack() as closing:
            for recorder in self._recorders:
                closing.callback(recorder.close)
            if self.page is not None:
                self.page.start(self._facts() | self._page_facts(), self._page_snapshot)
            self.loop.run()

    def _judge(self) -> None:
        failures: list[UserError] = []
        if self.supervisor.fault is not None:
            failures.append(
                FaultError(
                    f"the run ended in FAULT: {self.supervisor.fault}; see the link's and camera's state"
                )
            )
        failures += [recorder.failure for recorder in self._recorders if recorder.failure is not None]
        failures += [NotFoundError(line) for line in self.loop.losses]
        failure = the_worst(failures)
        if failure is not None:
            raise failure

    def snapshot(self) -> Snapshot:
        """The run now; callable from any thread."""
        book, loop = self.book, self.loop
        with_face = loop.with_face  # before the frames: it must not be ahead of them
        p50, p99 = book.capture_to_wire.percentiles(50, 99)
        return Snapshot(
            elapsed_s=loop.elapsed_s,
            state=self.supervisor.state,
            reason=self.supervisor.reason,
            gear=self.governor.gear,
            calibration=self._advice(),
            neutral=self.eyes.neutral,
            frames=loop.processed,
            skipped=loop.skipped,
            with_face=with_face,
            vision_fps=loop.recent_fps(),
            commands=self.supervisor.counters.commands,
            capture_to_wire_p50_ms=p50 / 1e6,
            capture_to_wire_p99_ms=p99 / 1e6,
            misses=book.misses,
            budget_ms=self._settings.run.budget_ms,
            tick_jitter_p99_ms=book.tick_jitter.percentile(99) / 1e6,
            source=self.source.status(),
            links=tuple(link.status() for link in self._links),
        )

    def _page_snapshot(self) -> dict[str, Any]:
        return as_dict(self.snapshot())

    def _page_facts(self) -> dict[str, Any]:
        motion = self._settings.motion
        gain = {group: motion.gain.get(group, 1.0) for group in GROUPS}
        return {"gain": gain, "mirror": motion.mirror, "budget": self._settings.run.budget_ms}

    def _advice(self) -> str:
        """What the person at the screen should do now; empty when all is well."""
        if self.supervisor.state == "FAULT":
            return "look at the robot and the links, then: r, or x2c-edge ctl reset"
        if self.operator.halted:
            how = "hold space" if self.operator.hold_to_run else "r"
            return f"{self.operator.halted}; {how} to go on"
        if self.governor.gear == HOLD and self.governor.shifts:
            return f"too slow: {self.governor.shifts[-1].why}; raise --budget-ms or give it more CPU"
        hint = self.loop.hint
        return "" if self.eyes.has_reference and hint == NO_FACE else hint  # the state says that much

    def _facts(self) -> dict[str, str]:
        return {
            "version": __version__,
            "source": self.source.name,
            "rate": str(self._settings.run.rate),
            "budget_ms": f"{self._settings.run.budget_ms:g}",
            "started": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "clock": "file" if self._outputs.fast else "monotonic",
            "fps": f"{self.source.nominal_fps:.3f}",
        }

    def _abandon(self) -> None:
        self.source.close()
        if self.page is not None and self.page not in self._recorders:
            self.page.close()
        for link in self._links:
            link.close(0.0)
        for recorder in self._recorders:
            recorder.close()


def _require_writable(path: Path | None) -> None:
    """NotFoundError if a file could not be written there; found now rather than after the run."""
    if path is not None and not (
        path.parent.is_dir() and os.access(path.parent, os.W_OK) and not path.is_dir()
    ):
        raise NotFoundError(f"{path}: cannot be written; choose a file in a folder that exists and is yours")


def _require_recordable(path: Path) -> None:
    if path.suffix.lower() != ".mcap":
        raise BadArgumentError(
            f"--record {path}: a recording is an MCAP file; give a name that ends in .mcap"
        )
    from x2c_edge.record import mcap_file  # noqa: F401 (that the package is there)


def envelope_of(settings: Settings) -> Envelope:
    """Ranges and speeds after the settings, and how the robot differs. BadArgumentError names the control."""
    controls = settings.robot.controls
    envelope = Envelope(
        correction=Correction.of(
            {name: control.sign for name, control in controls.items()},
            {name: control.offset for name, control in controls.items()},
        )
    )
    for name, limit in settings.safety.limits.items():
        envelope = envelope.narrowed(name, low=limit.low, high=limit.high, slew=limit.slew)
    return envelope


def supervisor_of(settings: Settings) -> Supervisor:
    """The one supervisor of a run, whose commands go to every link."""
    return Supervisor(settings.safety, envelope_of(settings), settings.safety.smoothing)
