"""The command line's root. Commands are imported only when called, so that ``--help`` stays quick."""

from __future__ import annotations

import os
import sys

import typer

from x2c_edge import __version__
from x2c_edge.cli import build_engines, ctl, doctor, packs, profile, replay, run, sim
from x2c_edge.errors import UserError

app = typer.Typer(
    name="x2c-edge",
    help="A person smiles at a camera; the Ameca humanoid wears the same smile, now.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run", help="Follow a face and drive the robot.")(run.run)
app.command("profile", help="Measure where the time goes.")(profile.profile)
app.command("sim", help="The virtual Ameca: listens, obeys, reports.")(sim.sim)
app.command("replay", help="Drive the robot with what an earlier run saw.")(replay.replay)
app.command("ctl", help="Stop, resume, reset: talk to a running run.")(ctl.ctl)
app.command("build-engines", help="Build TensorRT engines for this GPU.")(build_engines.build_engines)
app.command("doctor", help="What works here, what does not, and the command that fixes it.")(doctor.doctor)
app.add_typer(packs.app, name="packs")


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
) -> None:
    if debug:
        os.environ["X2C_EDGE_DEBUG"] = "1"


def main() -> None:
    """Entry point: errors of the user's to fix are one line and an exit code, never a traceback."""
    try:
        app()
    except UserError as error:
        if os.environ.get("X2C_EDGE_DEBUG"):
            raise
        print(f"x2c-edge: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
