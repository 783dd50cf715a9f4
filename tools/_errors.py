"""How a tool ends when the user can mend what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from x2c_edge.errors import UserError


@contextmanager
def user_errors(prefix: str = "") -> Iterator[None]:
    """A UserError ends the command with its line on standard error and its exit code."""
    try:
        yield
    except UserError as error:
        typer.echo(f"{prefix}{error}", err=True)
        raise typer.Exit(error.exit_code) from None
