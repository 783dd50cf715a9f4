"""``x2c-edge check-robot``."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from x2c_edge.cli import options as o

if TYPE_CHECKING:
    from x2c_edge.runtime.robot_check import RobotCheck
    from x2c_edge.runtime.settings import Settings


def check_robot(
    link: o.Links = None,
    config: o.Config = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CONTROL", help="Just this one; may be given several times."),
    ] = None,
    rate: o.Rate = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write what was found without asking.")] = False,
) -> None:
    """Move one control after the other, small and slow, and ask what was seen.

    What differs (direction, rest, a narrower range) goes into the settings file, --config or the default
    one, and every link then gets it. Space stops the robot, q or Ctrl-C eases it to neutral and ends.
    """
    options = {"link": link, "config": config, "rate": rate}
    from x2c_edge.cli.doors import listen_to_signals
    from x2c_edge.cli.keys import watched
    from x2c_edge.config import default_path
    from x2c_edge.controls import NAMES
    from x2c_edge.errors import BadArgumentError, UserError, nearest
    from x2c_edge.runtime.control_socket import ControlSocket
    from x2c_edge.runtime.robot_check import RobotCheck
    from x2c_edge.runtime.settings import load
    from x2c_edge.runtime.telemetry import as_dict

    if not sys.stdin.isatty():
        raise BadArgumentError("check-robot: somebody must look and answer; start it in a terminal")
    for name in only or ():
        if name not in NAMES:
            raise BadArgumentError(f"--only '{name}'{nearest(name, NAMES)}: choose one of the 30 controls")
    target = config or default_path()
    if config is None or config.exists():
        settings = o.settings_from(options, by_itself=True)
    else:  # a new file begins with nothing
        settings = load(None, {"run": {"link": link or None, "rate": rate}})
    if not settings.run.link:
        raise BadArgumentError("check-robot: which robot? name it with --link URI")
    check = RobotCheck(settings, only or NAMES)
    pressed: queue.SimpleQueue[str] = queue.SimpleQueue()
    troubles: list[UserError] = []

    def ask(question: str, keys: str) -> str:
        while not pressed.empty():  # an answer to what is not yet asked is none
            if (key := pressed.get()) in (" ", "q", ""):
                return key
        typer.echo(f"\n{question}", err=True)
        while (key := pressed.get()) and key not in keys:
            pass
        return key

    def talk() -> None:
        try:
            check.check(ask)
        except UserError as error:
            troubles.append(error)
        finally:
            check.stop()

    def stop_now() -> None:
        check.operator.stop("keys")
        pressed.put(" ")

    listen_to_signals(check.operator, check.stop)
    actions = {key: lambda key=key: pressed.put(key) for key in "yoxanlsrqde+-"}
    socket = ControlSocket(check.operator, lambda: {"pid": os.getpid(), **as_dict(check.snapshot())})
    with socket, watched(actions | {" ": stop_now}, check.stop):
        if socket.problem:
            typer.echo(f"x2c-edge: {socket.problem}", err=True)
        dialogue = threading.Thread(target=talk, name="dialogue", daemon=True)
        dialogue.start()
        try:
            check.run()
        except UserError as error:
            troubles.append(error)
        finally:
            pressed.put("")
            dialogue.join(timeout=3.0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)  # the robot is at rest and let go
    if check.found:
        _keep(check, settings, target, yes=yes)
    if troubles:
        raise troubles[0]


def _keep(check: RobotCheck, settings: Settings, target: Path, *, yes: bool) -> None:
    """Show what was found and, when it is wanted, put it into the settings file."""
    from x2c_edge.runtime import settings_file
    from x2c_edge.runtime.robot_check import changes
    from x2c_edge.toml_text import to_toml

    for name, found in check.found.items():
        if found.moved:
            typer.echo(f"{name:26s} {found.moved}")
    new = changes(settings, check.found)
    if not new:
        typer.echo("nothing to change")
        return
    typer.echo(f"\n{to_toml(new)}")
    settings_file.checked(settings_file.with_changes(settings_file.tables_of(target), new))
    if not yes and not typer.confirm(f"Write this into {target}?"):
        return
    kept = settings_file.write(target, settings_file.with_changes(settings_file.tables_of(target), new))
    typer.echo(f"written to {target}" + (f"; before: {kept}" if kept else ""))
