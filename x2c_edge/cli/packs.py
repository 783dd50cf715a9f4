"""``x2c-edge packs``."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Model packs: list, show, verify.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME|PATH")]


@app.command("list")
def list_packs() -> None:
    """Every pack that --pack can name."""
    from x2c_edge import packs

    for path in packs.installed():
        pack = packs.read_manifest(path)
        typer.echo(f"{pack.name:16s} {pack.pipeline:14s} {path}")


@app.command()
def show(name: Name = "default") -> None:
    """What a pack is, how it was trained and how good it is."""
    from x2c_edge import packs

    pack = packs.read_manifest(packs.find(name))
    typer.echo(f"{pack.name}: {pack.description}")
    typer.echo(f"  path        {pack.path}")
    typer.echo(f"  pipeline    {pack.pipeline}")
    typer.echo(f"  licence     {pack.licence}")
    typer.echo(f"  trained by  {pack.trained_by}")
    typer.echo(f"  digest      {pack.digest}")
    for key, net in pack.nets.items():
        size = net.file.stat().st_size / 1e6 if net.file.is_file() else 0.0
        pixels = f"{net.input.size}x{net.input.size} {net.input.order}"
        typer.echo(f"  net         {key}: {net.arch}, {pixels}, {size:.1f} MB")
    for key, value in pack.accuracy.items():
        if isinstance(value, dict):
            typer.echo(f"  {key}")
            for name_, number in value.items():
                typer.echo(f"    {name_:28s} {number}")
        else:
            typer.echo(f"  {key:28s}  {value}")


@app.command()
def verify(name: Name = "default") -> None:
    """Check a pack's files against the hashes in its manifest."""
    from x2c_edge import packs
    from x2c_edge.errors import NotFoundError

    pack = packs.read_manifest(packs.find(name))
    problems = packs.verify(pack)
    for problem in problems[1:]:
        typer.echo(problem, err=True)
    if problems:
        raise NotFoundError(problems[0])
    typer.echo(f"{pack.name}: {len(pack.nets)} net(s) as the manifest says")
