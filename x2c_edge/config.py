"""Settings: one typed tree, filled from defaults, a TOML file, then the command line.

Every error names the key and what is allowed there. The tree mirrors the rooms; the rooms' own
settings classes are filled from it in ``runtime/session.py``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from x2c_edge.controls import NAMES, Group
from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.toml_text import from_toml

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
# TOML and the command line hold paths as text and tuples as lists.
File = Annotated[Path, Field(strict=False)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class _Section(BaseModel):
    # strict: "60" and true are not numbers.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Run(_Section):
    """The loop. budget_ms: capture to wire. rate: commands per second. threads: of the net (0 = auto).

    precision: of the heavy convolutions of the two-stage nets.
    """

    pack: str | None = None
    pipeline: Literal["auto", "two-stage", "single-stage"] = "auto"
    backend: Literal["auto", "tensorrt", "cpu", "torch"] = "auto"
    link: Texts = ()
    budget_ms: Annotated[float, Field(ge=5, le=1000)] = 50.0
    rate: Annotated[int, Field(ge=1, le=120)] = 60
    threads: Annotated[int, Field(ge=0, le=64)] = 0
    precision: Literal["fp32", "bf16"] = "fp32"


class Capture(_Section):
    """Wishes to a camera. format as the device names it."""

    camera: int | str | None = None
    input: str | None = None
    width: Annotated[int, Field(gt=0, le=16384)] | None = None
    height: Annotated[int, Field(gt=0, le=16384)] | None = None
    fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    format: Literal["auto", "MJPG", "YUYV", "NV12", "BGR"] = "auto"


class Face(_Section):
    """detector: a YuNet ONNX file to use instead of OpenCV's bundled Haar cascade."""

    detector: File | None = None
    lost_after: Annotated[int, Field(ge=1, le=100)] = 4


class Motion(_Section):
    """gain: multiplies the motion of a group of controls. mirror: swap the robot's sides.

    multiplier: two-stage only, scale the motion by the faces' sizes (docs/spec/liveportrait.md section 6,
    step 6).
    """

    mirror: bool = False
    multiplier: bool = False
    gain: dict[Group, Annotated[float, Field(ge=0, le=3)]] = {}


class Calibration(_Section):
    """What the driver's face is compared with. neutral: as ``--neutral``. reference: a saved one to begin
    with. seconds, timeout: of hold-still, and of a neutral that the driver asks for."""

    neutral: Literal["auto", "average", "first-frame", "hold-still"] = "auto"
    reference: File | None = None
    seconds: Annotated[float, Field(ge=0.2, le=10)] = 1.0
    timeout: Annotated[float, Field(ge=1, le=600)] = 4.0


class Filter(_Section):
    """One-Euro: cutoff at rest (Hz), cutoff gained per unit of speed, cutoff of the speed (Hz)."""

    min_cutoff: Positive
    beta: NonNegative
    d_cutoff: Positive = 1.0


class Limit(_Section):
    """Narrows one control, in paper units (radians for angles, per second for slew)."""

    low: Finite | None = None
    high: Finite | None = None
    slew: Finite | None = None


class Safety(_Section):
    """Times in seconds. limits and smoothing by control name and by group.

    hold_to_run: the robot follows only while a key or the page's button is held.
    """

    hold_after: Annotated[float, Field(gt=0, le=5)] = 0.15
    neutral_after: Annotated[float, Field(gt=0, le=60)] = 1.5
    ease: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    hold_to_run: bool = False
    limits: dict[str, Limit] = {}
    smoothing: dict[Group, Filter] = {}


class Correction(_Section):
    """How one control of this robot differs from the description: direction, and rest in paper units."""

    sign: Literal[-1, 1] = 1
    offset: Finite = 0.0


class Robot(_Section):
    """What ``x2c-edge check-robot`` found, by control name."""

    controls: dict[str, Correction] = {}


class Settings(_Section):
    """The whole tree."""

    run: Run = Run()
    capture: Capture = Capture()
    face: Face = Face()
    motion: Motion = Motion()
    calibration: Calibration = Calibration()
    safety: Safety = Safety()
    robot: Robot = Robot()


def default_path() -> Path:
    """The file that ``setup`` and ``check-robot`` write, and that is read when no other is named."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(home) if home.startswith("/") else Path.home() / ".config"
    return folder / "x2c-edge" / "config.toml"


def load(path: Path | None, overrides: dict[str, dict[str, Any]] | None = None) -> Settings:
    """Defaults, then the TOML file, then ``overrides`` (section -> key -> value; None is "not given")."""
    data: dict[str, Any] = {}
    typed: set[tuple[str, str]] = set()  # keys that the command line gave
    if path is not None:
        try:
            data = from_toml(path.read_bytes())
        except OSError as error:
            raise BadArgumentError(f"config {path}: {error.strerror}") from None
        except ValueError as error:
            raise BadArgumentError(f"config {path}: not TOML: {error}") from None
    for section, values in (overrides or {}).items():
        given = {key: value for key, value in values.items() if value is not None}
        if given:
            current = data.setdefault(section, {})
            if isinstance(current, dict):
                if "camera" in given or "input" in given:  # one source, whichever kind the file names
                    current.pop("camera", None)
                    current.pop("input", None)
                current.update(given)
                typed.update((section, key) for key in given)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        location, complaint = _describe(error)
        where = "command line" if path is None or location in typed else f"config {path}"
        raise BadArgumentError(f"{where}: {complaint}") from None
    except RecursionError:
        raise BadArgumentError(
            f"config {path}: is nested too deeply; a section has keys with plain values"
        ) from None
    for table, name in (
        *(("safety.limits", name) for name in settings.safety.limits),
        *(("robot.controls", name) for name in settings.robot.controls),
    ):
        if name not in NAMES:
            raise BadArgumentError(
                f"config {path}: {table}.{name!r}: unknown control{nearest(name, NAMES)}; "
                "see controls.py for all 30"
            )
    return settings


def _describe(error: ValidationError) -> tuple[tuple[str, str], str]:
    """Section and key of the first complaint, and the complaint in one line with what is allowed.

    An unknown key comes before a missing one: it is often the same key, misspelt.
    """
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    # pydantic adds the members of a union, and "[key]" for a table's own keys.
    location = [str(part) for part in first["loc"] if part not in ("int", "str", "[key]")]
    key, given = ".".join(location), first["input"]
    at = (location[0], location[1] if len(location) > 1 else "")
    choices: list[str] = re.findall(r"'([^']*)'", first.get("ctx", {}).get("expected", ""))
    if first["type"] == "extra_forbidden":
        choices = _keys_of(location[:-1])
    if first["type"] == "extra_forbidden" or "[key]" in first["loc"]:
        hint = nearest(location[-1], choices)
        return at, f"unknown key {key!r}{hint}; allowed here: {', '.join(choices)}"
    if first["type"] == "missing":
        return at, f"{key} is missing; give it a value"
    if first["type"] in ("model_type", "dict_type"):
        return at, f"{key} = {given!r}: is a table; write its keys below [{key}]"
    if choices:
        hint = nearest(given, choices) if isinstance(given, str) else ""
        return at, f"{key} = {given!r}{hint}: choose {', '.join(choices)}"
    message = first["msg"].replace("tuple", "list").removesuffix(" for <class 'pathlib.Path'>")
    return at, f"{key} = {given!r}: {message[0].lower()}{message[1:]}"


def _keys_of(location: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in location:
        field = model.model_fields.get(part)
        inner = field.annotation if field is not None else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
        else:  # a table with free keys (limits, smoothing, controls)
            free: dict[str, type[BaseModel]] = {"limits": Limit, "controls": Correction}
            model = free.get(location[1], Filter)
    return list(model.model_fields)
