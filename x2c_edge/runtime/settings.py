"""The settings of a run: one tree, made of what the rooms define; sections and keys of the settings file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from x2c_edge import config
from x2c_edge.capture.base import SourceSpec
from x2c_edge.controls import NAMES
from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.face.follow import FollowSettings
from x2c_edge.pipelines.calibration import CalibrationSettings
from x2c_edge.pipelines.neutral import Way
from x2c_edge.pipelines.retargeter import MotionSettings
from x2c_edge.processor import MOST_THREADS
from x2c_edge.safety.correction import ControlCorrection
from x2c_edge.safety.envelope import Limit
from x2c_edge.safety.settings import SupervisorSettings
from x2c_edge.safety.smoothing import SmoothingSettings
from x2c_edge.within import Within


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The loop. budget_ms: capture to wire. rate: commands per second. threads: of the net (0 = auto).

    precision: of the heavy convolutions of the two-stage nets.
    """

    pack: str | None = None
    pipeline: Literal["auto", "two-stage", "direct", "single-stage"] = "auto"
    backend: Literal["auto", "tensorrt", "cpu", "torch"] = "auto"
    link: tuple[str, ...] = ()
    budget_ms: Annotated[float, Within(5, 1000)] = 50.0
    rate: Annotated[int, Within(1, 120)] = 60
    threads: Annotated[int, Within(0, MOST_THREADS)] = 0
    precision: Literal["fp32", "bf16"] = "fp32"


@dataclass(frozen=True, slots=True)
class FaceSettings(FollowSettings):
    """detector: a YuNet ONNX file to use instead of OpenCV's bundled Haar cascade."""

    detector: Path | None = None


@dataclass(frozen=True, slots=True)
class NeutralSettings(CalibrationSettings):
    """What the driver's face is compared with. neutral: as ``--neutral``. reference: a saved one to begin
    with.

    The rest is about ``hold-still``, and about a neutral that the driver asks for.
    """

    neutral: Way = "auto"
    reference: Path | None = None


@dataclass(frozen=True, slots=True)
class SafetySettings(SupervisorSettings):
    """hold_to_run: the robot follows only while a key or the page's button is held.

    limits: by control name. smoothing: by group.
    """

    hold_to_run: bool = False
    limits: dict[str, Limit] = field(default_factory=dict)
    smoothing: SmoothingSettings = field(default_factory=SmoothingSettings)

    def __post_init__(self) -> None:
        SupervisorSettings.__post_init__(self)
        _require_controls("safety.limits", self.limits)


@dataclass(frozen=True, slots=True)
class RobotSettings:
    """What ``x2c-edge check-robot`` found, by control name."""

    controls: dict[str, ControlCorrection] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_controls("robot.controls", self.controls)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole tree."""

    run: RunSettings = field(default_factory=RunSettings)
    capture: SourceSpec = field(default_factory=SourceSpec)
    face: FaceSettings = field(default_factory=FaceSettings)
    motion: MotionSettings = field(default_factory=MotionSettings)
    calibration: NeutralSettings = field(default_factory=NeutralSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    robot: RobotSettings = field(default_factory=RobotSettings)


def load(path: Path | None, overrides: dict[str, dict[str, Any]] | None = None) -> Settings:
    """Defaults, then the TOML file, then ``overrides``; see ``config.load``."""
    return config.load(Settings, path, overrides)


def _require_controls(table: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in NAMES:
            raise BadArgumentError(
                f"{table}.{name!r}: unknown control{nearest(name, NAMES)}; see controls.py for all 30"
            )
