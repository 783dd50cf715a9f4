"""Options that ``run``, ``profile`` and ``replay`` share, and how they become settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from x2c_edge.runtime.settings import Settings

Camera = Annotated[
    str | None,
    typer.Option(metavar="N|DEVICE|gst:...", help="Camera number, device path or GStreamer pipeline."),
]
Input = Annotated[
    str | None, typer.Option(metavar="FILE|DIR|URI", help="Video, image or folder instead of a camera.")
]
Pack = Annotated[str | None, typer.Option(metavar="NAME|PATH", help="Model pack (default: default).")]
Pipeline = Annotated[str | None, typer.Option(help="auto, two-stage, direct or single-stage.")]
Backend = Annotated[str | None, typer.Option(help="auto, tensorrt, cpu or torch.")]
Links = Annotated[
    list[str] | None,
    typer.Option("--link", metavar="URI", help="Where commands go; may be given several times."),
]
BudgetMs = Annotated[float | None, typer.Option(help="Capture to wire, milliseconds (default 50).")]
Rate = Annotated[int | None, typer.Option(help="Commands per second (default 60).")]
Width = Annotated[int | None, typer.Option(help="Camera picture width, pixels.")]
Height = Annotated[int | None, typer.Option(help="Camera picture height, pixels.")]
Fps = Annotated[float | None, typer.Option(help="Camera frames per second.")]
Format = Annotated[str | None, typer.Option(help="Camera pixel format: auto, MJPG, YUYV, NV12 or BGR.")]
Fast = Annotated[
    bool, typer.Option("--fast", help="Every frame of a file, as quickly as it can, on the file's clock.")
]
SaveVideo = Annotated[
    Path | None,
    typer.Option(metavar="FILE.mp4", help="Side by side: camera, virtual Ameca, the 30 controls."),
]
Duration = Annotated[float | None, typer.Option(min=0.0, metavar="S", help="Stop after this many seconds.")]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Settings in TOML.")]
Mirror = Annotated[
    bool | None, typer.Option("--mirror/--no-mirror", help="The person's left drives the robot's right.")
]
Monitor = Annotated[
    str | None, typer.Option(metavar="[HOST:]PORT", help="Show it on a web page, with a stop button.")
]
Foxglove = Annotated[
    str | None, typer.Option(metavar="[HOST:]PORT", help="Show it live in Foxglove (its own port: 8765).")
]
HoldToRun = Annotated[
    bool | None,
    typer.Option("--hold-to-run", help="Follow only while space, or the page's button, is held down."),
]
ReferenceFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The driver's neutral, saved earlier with --save-reference."),
]
NeutralWay = Annotated[
    str | None,
    typer.Option(
        "--neutral",
        help="What your face is compared with: auto (the average person, then learnt), average, "
        "first-frame (paper Eq. 6) or hold-still.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=0, help="CPU threads of the network (0: half of the cores).")
]


# Which setting an option sets: option -> (section, key).
SETTINGS: Final = {
    **{
        name: ("run", name)
        for name in ("pack", "pipeline", "backend", "link", "budget_ms", "rate", "threads")
    },
    **{name: ("capture", name) for name in ("camera", "input", "width", "height", "fps", "format")},
    "mirror": ("motion", "mirror"),
    "reference": ("calibration", "reference"),
    "neutral": ("calibration", "neutral"),
    "hold_to_run": ("safety", "hold_to_run"),
}


def settings_from(options: dict[str, Any], *, by_itself: bool = False) -> Settings:
    """The settings tree of a command line.

    options: a command's options by name, "config" among them; those that are no settings are passed over,
    and what is None keeps the file's or the default's value. Without a file, ``config.default_path`` is
    read where there is one. by_itself: the links of that one count too. Otherwise a robot moves only when
    its --link, or a file with it, was named.
    """
    from x2c_edge.config import default_path
    from x2c_edge.errors import BadArgumentError
    from x2c_edge.places import is_readable_file
    from x2c_edge.runtime.settings import load

    if options.get("camera") is not None and options.get("input") is not None:
        raise BadArgumentError("--camera and --input: give one of them")
    given: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        if name in SETTINGS and value is not None:
            section, key = SETTINGS[name]
            number = name == "camera" and value.isdecimal() and len(value) < 10  # else it is no camera's
            given.setdefault(section, {})[key] = int(value) if number else value
    if not given.get("run", {}).get("link"):
        given.get("run", {}).pop("link", None)
    file = options.get("config")
    if file is None and is_readable_file(default_path()):
        file = default_path()
        if not by_itself:
            given.setdefault("run", {}).setdefault("link", [])
    return load(file, given)
