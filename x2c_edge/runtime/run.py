"""One run, whatever its kind: what is seen goes through the supervisor to the links."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from x2c_edge import __version__
from x2c_edge.capture.base import Source
from x2c_edge.controls import GROUPS
from x2c_edge.errors import FaultError, NotFoundError, UserError
from x2c_edge.runtime.endings import the_worst
from x2c_edge.runtime.event_log import EventLog
from x2c_edge.runtime.fast_loop import FastLoop
from x2c_edge.runtime.governor import HOLD, Governor
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.live_loop import LiveLoop
from x2c_edge.runtime.loop_parts import LoopParts
from x2c_edge.runtime.operator import Operator
from x2c_edge.runtime.outlets import Outlets, Outputs
from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.supervision import supervisor_of
from x2c_edge.runtime.telemetry import Snapshot, as_dict
from x2c_edge.runtime.vision import NO_FACE, Eyes
from x2c_edge.safety.supervisor import Supervisor

if TYPE_CHECKING:
    from x2c_edge.runtime.page import Player, Retune


@dataclass(frozen=True, slots=True)
class Beginning:
    """What every run begins with, before anything is looked at."""

    settings: Settings
    outputs: Outputs
    supervisor: Supervisor
    outlets: Outlets
    undo: ExitStack  # what is to be let go of when there will be no run


@contextmanager
def beginning(settings: Settings, outputs: Outputs) -> Iterator[Beginning]:
    """For the body that makes a ``Run`` of it; whatever was opened is let go of when the body fails.

    NotFoundError, BadArgumentError for what cannot be used: said early, and cheaply.
    """
    outputs.require_writable()
    outputs.require_apart(settings)
    supervisor = supervisor_of(settings)
    with ExitStack() as undo:
        outlets = Outlets(settings, outputs)
        undo.callback(outlets.abandon)
        yield Beginning(settings, outputs, supervisor, outlets, undo)
        undo.pop_all()


@dataclass(frozen=True, slots=True)
class Kind:
    """What a run looks at and with what eyes: all that differs between one kind of run and another.

    gears: names of pipelines, best first. generated: there will be faces of the two-stage pipeline.
    facts: for the recording, besides what every run knows.
    recalibrate, retune, player: what the operator and the page may ask of eyes and source.
    page_facts: for the page, besides the snapshot.
    caution: what the user should be told before it begins; empty for nothing.
    after: called when the loop has ended; keeps what is to be kept, and returns why a run that nobody stopped
    was in vain.
    """

    source: Source
    eyes: Eyes
    gears: tuple[str, ...]
    book: LatencyBook
    generated: bool = False
    facts: dict[str, str] = field(default_factory=dict)
    recalibrate: Callable[[], None] | None = None
    retune: Retune | None = None
    player: Player | None = None
    page_facts: Callable[[], dict[str, Any]] = dict
    caution: str = ""
    after: Callable[[], UserError | None] = lambda: None


class Run:
    """Source, eyes, supervisor, loop and outlets of one run.

    ``run`` blocks; ``stop`` may be called from a signal handler; ``with`` lets go of everything, if it never
    ran. Made by ``open_run``, ``open_replay``, ``RobotOutput``, ``RobotCheck``.
    """

    def __init__(
        self, begun: Beginning, kind: Kind, on_snapshot: Callable[[Snapshot], None] | None = None
    ) -> None:
        """on_snapshot: told how the run goes, four times a second. NotFoundError for a file that cannot be
        written."""
        self._settings, self._outputs, self._kind = begun.settings, begun.outputs, kind
        self._ran = self._interrupted = False
        self._on_snapshot, self._events = on_snapshot, EventLog()
        self.supervisor, self.outlets = begun.supervisor, begun.outlets
        self.source, self.eyes, self.book = kind.source, kind.eyes, kind.book
        self.operator = Operator(hold_to_run=self._settings.safety.hold_to_run, recalibrate=kind.recalibrate)
        self.outlets.open_recorders(
            self._facts() | kind.facts, self.source.nominal_fps or 30.0, generated=kind.generated
        )
        run = self._settings.run
        parts = LoopParts(
            source=self.source,
            eyes=self.eyes,
            supervisor=self.supervisor,
            links=self.outlets.links,
            book=self.book,
            rate_hz=run.rate,
            operator=self.operator,
            recorders=self.outlets.recorders,
            service=self._outputs.service,
            on_telemetry=self._tell,
            duration_s=self._outputs.duration_s,
            max_frames=self._outputs.max_frames,
        )
        budget_ns = round(run.budget_ms * 1e6)
        self.governor = Governor(kind.gears, budget_ns, parts.period_ns)
        self.loop: LiveLoop | FastLoop
        if self._outputs.fast:
            self.loop = FastLoop(parts, kind.gears[0])
        else:
            self.loop = LiveLoop(parts, self.governor, budget_ns)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        """A run closes what it opened; one that never ran has it closed here."""
        if not self._ran:
            self.source.close()
            self.outlets.abandon()

    @property
    def facts(self) -> dict[str, str]:
        """What this kind of run is made with: pack, device."""
        return self._kind.facts

    @property
    def caution(self) -> str:
        """What the user should be told before it begins; empty for nothing."""
        return self._kind.caution

    def stop(self) -> None:
        """Ease to neutral, then end ``run``."""
        self._interrupted = True
        self.loop.stop()

    def run(self) -> None:
        """FaultError when the run ended in FAULT, NotFoundError when it wrote less than it was asked to, or a
        file never showed a face."""
        self._ran = True
        try:
            if self.outlets.page is not None:
                kind, facts = self._kind, self._facts() | self._page_facts()
                self.outlets.page.start(
                    facts, self._page_snapshot, self.operator, retune=kind.retune, player=kind.player
                )
            self.loop.run()
        finally:
            self.outlets.close()
        in_vain = self._kind.after()
        self._judge()
        if in_vain is not None and not self._interrupted:
            raise in_vain

    def _judge(self) -> None:
        failures: list[UserError] = []
        if self.supervisor.fault is not None:
            failures.append(
                FaultError(
                    f"the run ended in FAULT: {self.supervisor.fault}; see the link's and camera's state"
                )
            )
        failures += [one.failure for one in self.outlets.recorders if one.failure is not None]
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
            links=tuple(link.status() for link in self.outlets.links),
        )

    def _tell(self) -> None:
        now = self.snapshot()
        self._events.notice(now)
        if self._on_snapshot is not None:
            self._on_snapshot(now)

    def _page_snapshot(self) -> dict[str, Any]:
        return as_dict(self.snapshot()) | self._kind.page_facts()

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
