"""``x2c-edge config``."""

from __future__ import annotations

import typer

from x2c_edge.cli import options as o

app = typer.Typer(help="The settings: every key, its value, its default.", no_args_is_help=True)


@app.command("show")
def show(config: o.Config = None) -> None:
    """Print all settings as TOML. Behind what differs from the default stands the default.

    Of --config FILE, else of the file that setup and check-robot write, where there is one.
    """
    from x2c_edge.config import shown

    typer.echo(shown(o.settings_from({"config": config}, by_itself=True)))
