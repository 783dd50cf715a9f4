"""Would the tests notice if the safety rules or the frame codec were wrong?

    pip install -e '.[mutation]'
    nice python -m tools.check.mutation_run
    nice python -m tools.check.mutation_run --only eyelids --longest 0.5   while writing tests

Changes x2c_edge/safety, its filter and x2c_edge/links/codec in one small place at a time (``mutants.py``) and
runs the tests beside them against each change; a change that no test fails for has survived. The files on
disk stay as they are: every mutant lives in a process of its own (``mutant_tests.py``). Survivors that change
nothing are listed with the reason in ``equivalent_mutants.toml``; any other ends the run with exit code 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from tools.check.judged import JUDGED, ROOT, TESTS
from tools.check.mutant_tests import survivors_of
from tools.check.mutants import Mutant, mutants

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")
GOAL = 0.95


def known() -> dict[tuple[str, str, str, str], str]:
    """The reason why each listed mutant changes nothing, by its name."""
    rows = tomllib.loads(EQUIVALENT.read_text())["mutant"]
    return {(r["file"], r["where"], was, now): r["why"] for r in rows for was, now in r["changes"]}


def line_of(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.line} {mutant.where}: {mutant.was}  ->  {mutant.now}"


def main(
    only: str = typer.Option("", help="Only files whose name contains this."),
    again: Path | None = typer.Option(None, help="Only the survivors in this --out file."),
    out: Path | None = typer.Option(None, help="Write the survivors there, as JSON."),
    longest: float = typer.Option(60.0, help="Leave out tests that take more seconds than this."),
    show: bool = typer.Option(False, help="List the mutants and test nothing."),
) -> None:
    files = [file for file in JUDGED if only in file]
    todo = [mutant for file in files for mutant in mutants(ROOT, file)]
    if again:
        before = {tuple(name) for name in json.loads(again.read_text())}
        todo = [m for m in todo if m.name in before]
    if show:
        print("\n".join(map(line_of, todo)))
        return
    survivors = survivors_of(todo, ROOT, TESTS, longest)
    if out:
        out.write_text(json.dumps([m.name for m in survivors], indent=1))
    reasons = known()
    unexplained = [m for m in survivors if m.name not in reasons]
    print("\n".join(map(line_of, unexplained)))
    for file in files:
        number = sum(m.file == file for m in todo)
        alive = sum(m.file == file for m in survivors)
        print(f"| `{file}` | {number} | {number - alive} | {alive} |")
    killed = 1 - len(survivors) / max(len(todo), 1)
    print(f"{len(todo)} mutants, {killed:.1%} killed; {len(unexplained)} survivors without a reason")
    raise typer.Exit(int(bool(unexplained) or killed < GOAL))


if __name__ == "__main__":
    typer.run(main)
