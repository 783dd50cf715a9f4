"""The command line's root. Commands are imported only when called, so that ``--help`` stays quick."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Final

import typer

from x2c_edge import __version__
from x2c_edge.cli import (
    build_engines,
    check_robot,
    config,
    ctl,
    doctor,
    log,
    packs,
    profile,
    replay,
    run,
    setup,
    sim,
    streams,
)
from x2c_edge.errors import NotFoundError, UserError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_STDOUT_LOST: Final = "standard output cannot be written; is its disk full?"

app = typer.Typer(
    name="x2c-edge",
    help="A person smiles at a camera; the Ameca humanoid wears the same smile, now.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_CODES: Final = (
    "Exit codes: 0 done; 2 bad arguments; 3 something is missing, or an output (link, video, recording) did "
    "not take what it was given; 4 the run ended in FAULT."
)
app.command("run", help="Follow a face and drive the robot.", epilog=_CODES)(run.run)
app.command("profile", help="Measure where the time goes.")(profile.profile)
app.command("sim", help="The virtual Ameca: listens, obeys, reports.")(sim.sim)
app.command("replay", help="Drive the robot with what an earlier run saw.", epilog=_CODES)(replay.replay)
app.command("ctl", help="Stop, resume, reset: talk to a running run.")(ctl.ctl)
app.command("setup", help="Find camera and robot, and write the settings.")(setup.setup)
app.command("check-robot", help="Move one control after the other, and note what differs.", epilog=_CODES)(
    check_robot.check_robot
)
app.command("build-engines", help="Build engines for this GPU or CPU.")(build_engines.build_engines)
app.command("doctor", help="What works here, what does not, and the command that fixes it.")(doctor.doctor)
app.add_typer(packs.app, name="packs")
app.add_typer(config.app, name="config")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"x2c-edge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks of errors."),
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
    log_level: Annotated[
        log.Level | None, typer.Option(help="Write what happens in a run to standard error.")
    ] = None,
    log_file: Annotated[Path | None, typer.Option(help="Write it to the end of this file instead.")] = None,
) -> None:
    if debug:
        os.environ["X2C_EDGE_DEBUG"] = "1"
    log.start(log_level, log_file)


def main() -> None:
    """Entry point: errors of the user's to fix are one line and an exit code, never a traceback."""
    streams.open_missing()
    try:
        app()
    except SystemExit as end:
        whole = streams.flushed()
        if end.code or (whole and not log.lost()):
            raise
        error: UserError = NotFoundError(log.lost() if whole else _STDOUT_LOST)
    except UserError as trouble:
        if os.environ.get("X2C_EDGE_DEBUG"):
            raise
        error = trouble
    except ImportError as trouble:
        if os.environ.get("X2C_EDGE_DEBUG") or not _of_opencv(trouble):
            raise
        error = NotFoundError(f"OpenCV cannot be loaded ({trouble}); what to do says: x2c-edge doctor")
    except OSError as trouble:
        streams.flushed()
        if os.environ.get("X2C_EDGE_DEBUG") or trouble.filename is not None or trouble.errno not in _FULL:
            raise
        error = NotFoundError(f"{_STDOUT_LOST} ({trouble.strerror})")
    with contextlib.suppress(OSError):
        print(f"x2c-edge: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def _of_opencv(error: ImportError) -> bool:
    """Whether the system lacks a library that OpenCV's wheel needs, or OpenCV is built for another NumPy."""
    lines = (frame.line or "" for frame in traceback.extract_tb(error.__traceback__))
    return error.name == "cv2" or any(line.strip() == "import cv2" for line in lines)


if __name__ == "__main__":
    main()
