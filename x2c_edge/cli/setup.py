"""``x2c-edge setup``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from x2c_edge.cli import options as o


def setup(
    camera: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="This camera, instead of those that are found.")
    ] = None,
    link: Annotated[
        str | None, typer.Option(metavar="URI", help="This robot, instead of those that are found.")
    ] = None,
    robot: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Also look for a robot there; may be given several times."),
    ] = None,
    config: o.Config = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: the first camera and the first robot that work.")
    ] = False,
    dev: Annotated[Path, typer.Option(metavar="DIR", help="Where device files are.")] = Path("/dev"),
) -> None:
    """Find the camera and the robot, try them, and write the settings that a run without arguments uses.

    Nothing is moved. What the file said before is kept beside it.
    """
    from x2c_edge.capture.modes import CameraFound, find_cameras
    from x2c_edge.config import default_path
    from x2c_edge.errors import BadArgumentError, NotFoundError
    from x2c_edge.links.registry import make_link
    from x2c_edge.links.search import find_on_net, find_on_ports
    from x2c_edge.runtime import first_setup, settings_file

    if not yes and not sys.stdin.isatty():
        raise BadArgumentError("setup: nobody can be asked here; start it in a terminal, or with --yes")
    target = config or default_path()
    before = settings_file.tables_of(target)
    if link is not None:
        make_link(link, rate_hz=60)  # that it can be understood

    cameras = [CameraFound(_device(camera))] if camera is not None else find_cameras(dev)
    working: list[tuple[CameraFound, dict[str, Any]]] = []
    troubles: list[str] = []
    for one in cameras:
        capture, trouble = first_setup.tried(one)
        if capture is not None:
            working.append((one, capture))
        else:
            troubles.append(trouble)
        typer.echo(f"--    {trouble}" if trouble else f"ok    camera {first_setup.of_camera(one)}")
    places = [] if link is not None else [*find_on_ports(dev), *find_on_net(robot or ())]
    for place in places:
        typer.echo(f"{'ok  ' if place.speaks else '--  '}  robot {first_setup.of_robot(place)}")

    choose = _first if yes else _asked
    picked = first_setup.chosen("Which camera?", working, lambda one: first_setup.of_camera(one[0]), choose)
    robots = [place for place in places if place.speaks]
    found = first_setup.chosen("Which robot?", robots, first_setup.of_robot, choose)
    uri = link if link is not None else (found.uri if found is not None else None)
    new = first_setup.changes(picked[1] if picked else None, uri)
    if not new:
        trouble = (
            "; ".join((*troubles, "no robot was heard")) if troubles else "no camera and no robot was found"
        )
        raise NotFoundError(f"setup: {trouble}; nothing was written (see x2c-edge doctor)")
    after = settings_file.with_changes(before, new)
    if after == before:
        typer.echo(f"{target} says so already")
    elif yes or not target.exists() or typer.confirm(f"Change {target}?"):
        kept = settings_file.write(target, after)
        typer.echo(f"written to {target}" + (f"; before: {kept}" if kept else ""))
    else:
        return
    if picked is None:
        raise NotFoundError(
            f"setup: {'; '.join(troubles) or 'no camera was found'}; plug one in and repeat it"
        )
    if uri is None:
        typer.echo("no robot was heard: switch it on and repeat, or name it with --link URI")
    else:
        typer.echo("next: x2c-edge check-robot   (is every control what it is said to be?)")
    typer.echo("then: x2c-edge run")


def _device(camera: str) -> str:
    return f"/dev/video{camera}" if camera.isdecimal() else camera


def _first(question: str, choices: Sequence[str]) -> int:
    typer.echo(f"{question} the first: {choices[0]}")
    return 0


def _asked(question: str, choices: Sequence[str]) -> int:
    for number, choice in enumerate(choices, 1):
        typer.echo(f"  {number}  {choice}")
    answer: int = typer.prompt(f"{question} (0: none)", default=1, type=int)
    return answer - 1
