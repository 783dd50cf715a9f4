"""tools/setup_venv.sh and the Makefile's use of it: what they decide, with interpreters that only pretend."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEM = (
    "awk",
    "bash",
    "cat",
    "cp",
    "dirname",
    "find",
    "flock",
    "grep",
    "id",
    "make",
    "mkdir",
    "rm",
    "sleep",
    "sort",
    "touch",
)
if not all(map(shutil.which, SYSTEM)):
    pytest.skip("make or flock is not here", allow_module_level=True)

# Answers what the script asks, and writes down what it is told to install. Beside it: "version" (none: too
# old), "no-ensurepip". In an environment: "pip".
PYTHON = """#!/bin/bash
own=${0%/*}
case "$*" in
    *"version_info < (3, 10)"*) [ -e "$own/version" ] ;;
    *base_prefix*) cat "$own/version" ;;
    *"import ensurepip"*) [ ! -e "$own/no-ensurepip" ] ;;
    *"-dev'"*) echo "python$(cat "$own/version")-dev" ;;
    *"-venv'"*) echo "python$(cat "$own/version")-venv" ;;
    *sysconfig*) echo "$HEADERS" ;;
    *find_spec*) echo "$OPENCV" ;;
    "-m venv --clear .venv")
        echo "venv $(cat "$own/version")" >> "$LOG"
        mkdir -p .venv/bin && rm -f .venv/.installed .venv/.runs && : > .venv/bin/pip
        cp "$0" .venv/bin/python && cp "$own/version" .venv/bin
        echo "VIRTUAL_ENV=$(pwd -P)/.venv" > .venv/bin/activate ;;
    "-m pip --version") [ -e "$own/pip" ] ;;
    "-m pip install"*" -e "*)
        echo "begin ${@: -1}" >> "$LOG"; sleep 0.1; echo "end ${@: -1}" >> "$LOG" ;;
    "-m pip install"*) ;;
    *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def python(path: Path, version: str) -> Path:
    made = program(path, PYTHON)
    if version:
        (path.parent / "version").write_text(version)
    return made


class Checkout:
    """A checkout with nothing in it but the script and the Makefile, on a system that has python3 3.11."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "checkout"
        for name in ("tools/setup_venv.sh", "Makefile"):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.path / name)
        for name in ("csrc/a.cpp", "x2c_edge/__init__.py", "pyproject.toml", "CMakeLists.txt"):
            (self.path / name).parent.mkdir(exist_ok=True)
            (self.path / name).touch()
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in SYSTEM:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        for name in ("c++", "ldd"):
            program(self.bin / name, "#!/bin/sh\n")
        python(self.bin / "python3", "3.11")
        self.headers, self.log = folder / "headers", folder / "log"
        self.headers.mkdir()
        (self.headers / "Python.h").touch()
        self.variables = {
            "PATH": str(self.bin),
            "LOG": str(self.log),
            "HEADERS": str(self.headers),
            "OPENCV": str(folder),
        }

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.path, env=self.variables | variables, capture_output=True, text=True, timeout=60
        )

    def set_up(self, **variables: str) -> str:
        """What it did, from an empty log on; it must succeed."""
        self.log.write_text("")
        done = self.run("tools/setup_venv.sh", **variables)
        assert (done.returncode, done.stderr) == (0, "")
        return self.log.read_text()

    def make(self, *words: str) -> str:
        self.log.write_text("")
        done = self.run("make", *words)
        assert (done.returncode, done.stderr) == (0, "")
        return self.log.read_text()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


INSTALLED = "begin .\nend .\n"


def test_one_that_is_whole_is_kept(checkout: Checkout) -> None:
    assert checkout.set_up() == f"venv 3.11\n{INSTALLED}"
    assert checkout.set_up() == INSTALLED
    assert checkout.make(".venv/.runs") == INSTALLED
    assert checkout.make(".venv/.runs") == ""


def test_an_interrupted_one_is_made_again(checkout: Checkout) -> None:
    checkout.make(".venv/.runs")
    (checkout.path / ".venv/bin/pip").unlink()
    assert checkout.make(".venv/.runs") == f"venv 3.11\n{INSTALLED}"


def test_one_that_was_moved_is_made_again(checkout: Checkout) -> None:
    checkout.make(".venv/.runs")
    checkout.path = checkout.path.rename(checkout.folder / "elsewhere")
    assert checkout.make(".venv/.runs") == f"venv 3.11\n{INSTALLED}"
    assert checkout.make(".venv/.runs") == ""


def test_another_checkouts_behind_a_link_is_left_alone(checkout: Checkout) -> None:
    checkout.set_up()
    others = (checkout.path / ".venv").rename(checkout.folder / "others")
    (others / "bin/activate").write_text("VIRTUAL_ENV=/another/checkout/.venv")
    (checkout.path / ".venv").symlink_to(others)
    assert checkout.set_up().startswith("venv")
    assert not (checkout.path / ".venv").is_symlink()
    assert "another" in (others / "bin/activate").read_text()


def test_a_python_that_is_named_is_taken(checkout: Checkout) -> None:
    named = python(checkout.folder / "my pythons/python3", "3.12")
    checkout.make(".venv/.runs")
    assert checkout.make(".venv/.runs", f"PYTHON={named}") == f"venv 3.12\n{INSTALLED}"
    assert checkout.make(".venv/.runs", f"PYTHON={named}") == ""
    assert checkout.make(".venv/.runs") == ""  # with none named the one in use is right


@pytest.mark.parametrize("version", ["too old", "not there"])
def test_a_named_python_that_cannot_be_used_is_an_error(checkout: Checkout, version: str) -> None:
    checkout.set_up()
    named = checkout.folder / "old/python3"
    if version == "too old":
        python(named, "")
    done = checkout.run("tools/setup_venv.sh", PYTHON=str(named))
    assert done.returncode == 1
    assert done.stderr == f"make: PYTHON={named} is no Python 3.10 or newer; name another, or leave it out\n"


def test_the_packages_asked_for_are_the_chosen_pythons(checkout: Checkout) -> None:
    """The default one is too old; its python3-venv would not help."""
    (checkout.bin / "python3").unlink()
    python(checkout.bin / "python3.12", "3.12")
    (checkout.bin / "no-ensurepip").touch()
    done = checkout.run("tools/setup_venv.sh")
    assert done.stderr == "make: missing system packages; run: sudo apt-get install python3.12-venv\n"
    (checkout.bin / "no-ensurepip").unlink()
    (checkout.headers / "Python.h").unlink()
    done = checkout.run("tools/setup_venv.sh")
    assert done.stderr == "make: missing system packages; run: sudo apt-get install python3.12-dev\n"


def test_two_at_once_take_turns(checkout: Checkout) -> None:
    done = checkout.make("-j2", ".venv/.runs", ".venv/.installed").splitlines()
    assert done[0] == "venv 3.11"
    extras = {done[1].split()[1], done[3].split()[1]}
    assert extras == {".", ".[torch,dev]"}
    for begin, end in (done[1:3], done[3:5]):
        assert (begin.split()[0], end.split()[0]) == ("begin", "end")
        assert begin.split()[1] == end.split()[1]


def test_the_build_tools_are_those_of_the_project() -> None:
    """They are installed by the script, and not by pip for each build."""
    required = (ROOT / "pyproject.toml").read_text().partition("requires = [")[2].partition("]")[0]
    for tool in required.replace('"', "").split(", "):
        assert f"'{tool}'" in (ROOT / "tools/setup_venv.sh").read_text()
