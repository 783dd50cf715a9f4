"""Who may import whom (docs/architecture.md, "Rooms"), read from the source of every module of x2c_edge."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patient

PACKAGE = Path(__file__).parents[1] / "x2c_edge"
FILES = sorted(PACKAGE.rglob("*.py")) + sorted(PACKAGE.rglob("*.pyi"))

# Imports only point down this list. Rooms of one level do not know each other, but for the last level:
# the shared vocabulary is one.
LEVELS = (
    ("cli",),
    ("runtime", "convert"),
    ("pipelines", "monitor", "record", "robot"),
    ("face", "backends", "capture", "links", "safety"),
    ("packs", "nets", "config", "retarget", "zeromq"),
    (
        "controls",
        "frames",
        "errors",
        "locked",
        "one_euro",
        "places",
        "processor",
        "schemes",
        "within",
        "toml_text",
        "whole_file",
        "_kernels",
        "x2c_edge",
    ),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

# Heavy or optional packages, and where they may be imported. Torch is the language that nets/ is written
# in; outside of it, as for the others, one file each.
ONE_FILE_EACH = {
    "tensorrt",
    "pycuda",
    "zmq",
    "mcap",
    "tritium",
    "serial",
    "websockets",
    "aiohttp",
    "foxglove",
    "pydantic",
    "torch",
}
HOMES = {"torch": "nets", "pydantic": "config.py"}

# What `x2c-edge --help` may load from outside the standard library.
LIGHT = {
    "x2c_edge",
    "numpy",
    "cv2",
    "typer",
    "click",
    "rich",
    "annotated_doc",
    "shellingham",
    "typing_extensions",
}
LIGHT |= {"markdown_it", "mdurl", "pygments", "attr"}  # what rich uses, or looks for


def room_of(path: Path) -> str:
    """The part of the package that a file belongs to; its root module is called x2c_edge."""
    first = path.relative_to(PACKAGE).parts[0].split(".")[0]
    return "x2c_edge" if first == "__init__" else first


def imports_of(path: Path) -> list[str]:
    """Absolute dotted names that a file imports anywhere in it, functions included."""
    package = ["x2c_edge", *path.relative_to(PACKAGE).parts[:-1]]
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(base + (node.module.split(".") if node.module else []))
            names += [f"{module}.{alias.name}" for alias in node.names]
    return names


def rooms_known_by(path: Path) -> set[str]:
    rooms = set()
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "x2c_edge":
            rooms.add(parts[1] if len(parts) > 1 and parts[1] in LEVEL else "x2c_edge")
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    if path == PACKAGE / "__init__.py":  # the front door names what is behind it, and loads none of it
        return
    room = room_of(path)
    assert room in LEVEL, f"{room} has no place in LEVELS yet"
    for other in rooms_known_by(path) - {room}:
        same_vocabulary = LEVEL[room] == LEVEL[other] == len(LEVELS) - 1
        assert LEVEL[other] > LEVEL[room] or same_vocabulary, f"{room} imports {other}"


def test_every_name_imported_from_the_package_is_a_room():
    """So that a misspelt or new room cannot pass for the package's root."""
    for path in FILES:
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] == "x2c_edge" and len(parts) > 1:
                assert parts[1] in LEVEL or parts[1] == "__version__", f"{path}: {name}"


@pytest.mark.parametrize("package", sorted(ONE_FILE_EACH))
def test_heavy_packages_stay_in_one_file(package):
    users = [
        path.relative_to(PACKAGE) for path in FILES if package in {n.split(".")[0] for n in imports_of(path)}
    ]
    home = HOMES.get(package)
    strangers = [str(path) for path in users if home is None or path.parts[0] != home]
    allowed = 0 if package == "pydantic" else 1
    assert len(strangers) <= allowed, f"{package} is imported by {strangers}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_imports_tools(path):
    assert "tools" not in {name.split(".")[0] for name in imports_of(path)}


def loaded_by(snippet: str) -> set[str]:
    """Top-level packages from outside the standard library that a fresh interpreter holds afterwards."""
    ending = """
import json, sys
print("\\n" + json.dumps(sorted({name.split(".")[0] for name in list(sys.modules)} - before)))
"""
    beginning = "import sys\nbefore = {name.split('.')[0] for name in sys.modules}\n"
    result = subprocess.run(
        [sys.executable, "-c", beginning + snippet + ending],
        check=True,
        capture_output=True,
        text=True,
        timeout=patient(120),
    )
    return set(json.loads(result.stdout.splitlines()[-1])) - set(sys.stdlib_module_names)


def test_import_of_the_package_is_light():
    assert loaded_by("import x2c_edge\n") <= {"x2c_edge"}


def test_help_is_light():
    snippet = """
sys.argv[:] = ["x2c-edge", "--help"]
from x2c_edge.cli.main import main
try:
    main()
except SystemExit as done:
    assert not done.code
"""
    assert loaded_by(snippet) <= LIGHT
