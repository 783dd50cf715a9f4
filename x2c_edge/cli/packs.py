"""``x2c-edge packs``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from x2c_edge.packs import Pack

app = typer.Typer(help="Model packs: list, show, verify, import, replace-net, pull.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME|PATH")]


@app.command("list")
def list_packs() -> None:
    """Every pack that --pack can name, and its pipelines: those that auto uses, then others."""
    from x2c_edge import packs
    from x2c_edge.errors import UserError
    from x2c_edge.runtime.gears import gears_in_words

    def gears(path: Path) -> str:
        try:
            return gears_in_words(packs.read_manifest(path))
        except UserError as error:
            return f"damaged: {error}"

    for path in packs.installed():
        typer.echo(f"{path.name:16s} {gears(path):44s} {path}")


@app.command()
def show(name: Name = "default") -> None:
    """What a pack is, how it was trained and how good it is."""
    from x2c_edge import packs
    from x2c_edge.runtime.gears import gears_in_words

    pack = packs.read_manifest(packs.find(name))
    typer.echo(f"{pack.name}: {pack.description}")
    typer.echo(f"  path        {pack.path}")
    typer.echo(f"  pipelines   {gears_in_words(pack)}")
    typer.echo(f"  licence     {pack.licence}")
    typer.echo(f"  trained by  {pack.trained_by}")
    typer.echo(f"  digest      {pack.digest}")
    for key, net in pack.nets.items():
        size = net.file.stat().st_size / 1e6 if net.file.is_file() else 0.0
        pixels = "" if net.input is None else f" {net.input.size}x{net.input.size} {net.input.order},"
        typer.echo(f"  net         {key}: {net.arch},{pixels} {size:.1f} MB")
    for key, entry in pack.files.items():
        typer.echo(f"  file        {key}: {entry.file.name}")
    _tell(pack.accuracy, "  ")


def _tell(figures: Mapping[str, Any], indent: str) -> None:
    for key, value in figures.items():
        if isinstance(value, dict):
            typer.echo(f"{indent}{key}")
            _tell(value, indent + "  ")
        else:
            typer.echo(f"{indent}{key:28s} {value}")


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


@app.command("import")
def import_checkpoints(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(metavar="CHECKPOINT...", help="LivePortrait's and X2C's files, or folders."),
    ],
    robot_image: Annotated[
        Path, typer.Option(metavar="FILE", help="The robot's face, neutral, seen from the front.")
    ],
    name: Annotated[str, typer.Option(help="The new pack's name.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the pack's folder is made (default: your packs)."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store weights in 16 bits: half the size.")] = False,
    mapping_input: Annotated[
        str, typer.Option(help="How the mapping network was trained: x2c, x2c-animated or vividface.")
    ] = "x2c",
    angle_unit: Annotated[
        str, typer.Option(help="The mapping network's angles: degree or radian.")
    ] = "degree",
    tracker: Annotated[
        str | None, typer.Option(metavar="NAME|PATH", help="The pack whose net follows the face.")
    ] = None,
) -> None:
    """Make a two-stage pack from published checkpoints and a picture of the robot."""
    from x2c_edge.convert.requirements import require_importer
    from x2c_edge.errors import BadArgumentError

    require_importer()
    from x2c_edge.convert.checkpoints import import_pack

    if angle_unit not in ("degree", "radian"):
        raise BadArgumentError(f"angle unit '{angle_unit}': choose degree or radian")
    pack = import_pack(
        checkpoints, robot_image, name, out,
        half=half, mapping_input=mapping_input, angle_unit=angle_unit, tracker=tracker,  # type: ignore[arg-type]
    )  # fmt: skip
    typer.echo(f"{pack.name}: {pack.path}")
    typer.echo(f"try it: x2c-edge run --pack {pack.path} --pipeline two-stage --input VIDEO --fast")


@app.command("replace-net")
def replace_net(
    pack: Name,
    net: Annotated[str, typer.Argument(metavar="NET", help="mapping, single_stage, ...")],
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE|PACK", help="A trained mapping network's .json, or a pack with NET."),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave PACK as it is; write the new one here.")
    ] = None,
) -> None:
    """Put a newly trained net into a pack, with its hash and accuracy."""
    from x2c_edge import packs
    from x2c_edge.convert.requirements import require_graph_maker

    require_graph_maker()
    from x2c_edge.convert.replace_net import replace_net as replaced

    made = replaced(packs.open_pack(pack), net, source, out)
    typer.echo(f"{made.name}: {made.path}")
    typer.echo(f"measure people with it: python -m tools.train.measure_people --pack {made.path}")
    if "direct" in made.nets and net in _taught_by(made):
        typer.echo(
            f"its direct gear learnt from the former {net}: python -m tools.train.direct --pack {made.path}"
        )
    if "generator" in made.nets:
        typer.echo(
            "measure its gears; auto leaves out what states no accuracy: "
            f"python -m tools.evaluate.two_stage_report --write --pack {made.path}"
        )


def _taught_by(pack: Pack) -> set[str]:
    """The nets of which a pack's direct gear learns."""
    own = {"direct"} if pack.nets["motion"].hears_tracker else {"direct", "single_stage"}
    return set(pack.nets) - own


@app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="liveportrait")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to (default: your data folder).")
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="X2C_EDGE_MIRROR", help="A mirror with the publisher's paths."),
    ] = None,
) -> None:
    """Download published checkpoints, for `packs import`."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from x2c_edge.convert import pull as downloads

    remote = downloads.remote_set(name)
    folder = out or downloads.checkpoint_folder(name)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {file.path.rsplit("/", 1)[-1]: bars.add_task(file.path.rsplit("/", 1)[-1], total=file.size)
                 for file in remote.files}  # fmt: skip
        downloads.pull(
            remote, folder, base_url, lambda file, done, _total: bars.update(tasks[file], completed=done)
        )
    for file in remote.files:
        if file.sha256 is None:
            typer.echo(f"{file.path}: its sha256 is not known here; it was not checked", err=True)
    typer.echo(f"{name}: {folder} (licence: {remote.licence})")
    typer.echo(f"next: x2c-edge packs import {folder} x2control.pth --robot-image FILE --name NAME")
