"""What the documentation tells people to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from x2c_edge.cli.main import app
from x2c_edge.runtime import settings as config

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CODE = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)


def lines(start: str) -> list[tuple[str, str]]:
    """(page, line) of every command in a code block that starts so; continued lines are joined."""
    found = []
    for page in PAGES:
        for block in CODE.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                line = line.strip().removeprefix("$ ").split("   #")[0].strip()
                if line.startswith(start):
                    found.append((page.name, line))
    return found


@pytest.mark.parametrize(("page", "line"), lines("x2c-edge "))
def test_commands_and_their_options_exist(page: str, line: str) -> None:
    command = typer.main.get_command(app)
    words = line.split()[1:]
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        if name.startswith("--"):
            continue
        assert name in command.commands, f"{page}: {line}"
        command = command.commands[name]
        if words[:1] == ["|"]:  # "packs list | show | verify"
            return
    known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)} | {"--help"}
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in known, f"{page}: {line}: {word}"


@pytest.mark.parametrize(("page", "line"), lines("python -m tools."))
def test_tools_and_their_options_exist(page: str, line: str) -> None:
    words = line.split()
    source = ROOT / (words[2].replace(".", "/") + ".py")
    assert source.exists(), f"{page}: {line}"
    text = source.read_text()
    for word in words:
        if word.startswith("--"):
            name = word.split("=")[0]
            assert name in text or name[2:].replace("-", "_") in text, f"{page}: {line}: {word}"


@pytest.mark.parametrize(("page", "line"), lines("make "))
def test_make_targets_exist(page: str, line: str) -> None:
    assert f"\n{line.split()[1]}:" in (ROOT / "Makefile").read_text(), f"{page}: {line}"


def test_the_documented_settings_load(tmp_path: Path) -> None:
    block = CODE.search((ROOT / "docs" / "configuration.md").read_text())
    assert block is not None
    file = tmp_path / "settings.toml"
    file.write_text(block.group(1))
    assert config.load(file).safety.limits
