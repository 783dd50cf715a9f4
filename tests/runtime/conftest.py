"""The parts of a run, small but real: the small pack's pipeline, a supervisor, a link that remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.capture.pacing import Paced
from x2c_edge.controls import NEUTRAL
from x2c_edge.frames import Command
from x2c_edge.links.base import LinkState, LinkStatus
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.loop_parts import LoopParts
from x2c_edge.safety.settings import SupervisorSettings
from x2c_edge.safety.supervisor import Supervisor


class Memory:
    """A link that keeps its commands. ``on_send`` may do more, or fail."""

    uri = "memory:"

    def __init__(self, on_send: Callable[[Command], None] = lambda command: None) -> None:
        self.commands: list[Command] = []
        self.state: LinkState = "closed"
        self._on_send = on_send

    def open(self) -> None:
        self.state = "up"

    def send(self, command: Command) -> None:
        self._on_send(command)
        self.commands.append(command)

    def status(self) -> LinkStatus:
        return LinkStatus(self.uri, self.state, sent=len(self.commands))

    def close(self, timeout_s: float) -> None:
        self.state = "closed"

    @property
    def states(self) -> list[str]:
        """The states in order, without repetitions."""
        found: list[str] = []
        for command in self.commands:
            if not found or found[-1] != command.state:
                found.append(command.state)
        return found

    def assert_home_and_closed(self, supervisor: Supervisor) -> None:
        """The last thing that was said was: at rest, the end."""
        assert self.state == "closed"
        last = self.commands[-1]
        assert last.state == "STOPPED"
        np.testing.assert_allclose(last.values, NEUTRAL, atol=0.2)  # the lips' own limits move a few
        np.testing.assert_array_equal(last.values, self.commands[-2].values)
        assert supervisor.stopped


@dataclass
class Parts:
    """What LiveLoop and FastLoop are built from; change what a test is about."""

    source: object
    eyes: object
    supervisor: Supervisor
    link: Memory
    book: LatencyBook = field(default_factory=LatencyBook)

    def of_loop(self, **more: object) -> LoopParts:
        """The same, as a loop takes them; 60 commands a second."""
        return LoopParts(self.source, self.eyes, self.supervisor, [self.link], self.book, 60, **more)


@pytest.fixture
def parts(small_pack: Path, face_clip: Path) -> Callable[..., Parts]:
    """``parts(paced=..., reference=..., pipeline=..., on_send=...)``: a run's parts over the face clip."""
    from x2c_edge.backends.open import open_backend
    from x2c_edge.face.follow import FaceFollower
    from x2c_edge.nets.landmarks import LANDMARK_IDS
    from x2c_edge.packs import open_pack
    from x2c_edge.pipelines.calibration import CalibrationSettings
    from x2c_edge.pipelines.neutral import keeper_for
    from x2c_edge.pipelines.people import People
    from x2c_edge.pipelines.reference import Reference
    from x2c_edge.pipelines.retargeter import MotionSettings, Retargeter
    from x2c_edge.pipelines.single_stage import SingleStagePipeline
    from x2c_edge.runtime.vision import Vision

    def build(
        *,
        paced: bool = False,
        reference: bool = True,
        neutral: str = "hold-still",
        source: Path = face_clip,
        pipeline: type[SingleStagePipeline] = SingleStagePipeline,
        on_send: Callable[[Command], None] = lambda command: None,
    ) -> Parts:
        book = LatencyBook()
        net = pipeline(open_pack(str(small_pack)), open_backend("torch", 1))
        vision = Vision(
            FaceFollower(LANDMARK_IDS, crop_size=net.crop_size, crop_scale=net.crop_scale),
            {"single-stage": net},
            keeper_for(
                neutral,
                People(),
                Reference(NEUTRAL.copy(), np.eye(3)) if reference else None,
                CalibrationSettings(),
            ),
            Retargeter(MotionSettings()),
            book,
        )
        opened = open_source(SourceSpec(input=str(source)))
        link = Memory(on_send)
        link.open()
        supervisor = Supervisor(SupervisorSettings(ease=0.1))
        return Parts(Paced(opened) if paced else opened, vision, supervisor, link, book)

    return build


@pytest.fixture
def settings(small_pack: Path, face_clip: Path) -> Callable[..., object]:
    """``settings(run={...}, ...)``: a run's settings for the small pack and the face clip."""
    from x2c_edge.runtime.settings import load

    def build(**sections: dict) -> object:
        base: dict[str, dict] = {
            "run": {"pack": str(small_pack), "threads": 1, "budget_ms": 1000.0},
            "capture": {"input": str(face_clip)},
            "safety": {"ease": 0.1},
        }
        for name, values in sections.items():
            base[name] = base.get(name, {}) | values
        return load(None, base)

    return build
