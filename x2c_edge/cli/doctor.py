"""``x2c-edge doctor``."""

from __future__ import annotations

import typer


def doctor() -> None:
    """What works here, what does not, and the command that fixes it. Exit code 3 when a run cannot work."""
    from x2c_edge.runtime.checkup import checkup

    findings = checkup()
    for finding in findings:
        mark = "ok  " if finding.ok else ("FAIL" if finding.needed else "--  ")
        typer.echo(f"{mark} {finding.what:14s} {finding.found}")
        if not finding.ok and finding.fix:
            typer.echo(f"{'':19s} fix: {finding.fix}")
    if any(f.needed and not f.ok for f in findings):
        raise typer.Exit(3)
