"""docs/own-link.md and docs/own-source.md: what is printed there works when a package brings it."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from x2c_edge.capture.open import SOURCES, SourceSpec, open_source
from x2c_edge.controls import NEUTRAL, to_robot
from x2c_edge.errors import BadArgumentError
from x2c_edge.frames import Command
from x2c_edge.links.registry import LINKS, make_link
from x2c_edge.robot.endpoints import ENDPOINTS, make_endpoint
from x2c_edge.robot.faults import Faults
from x2c_edge.schemes import Schemes

DOCS = Path(__file__).parents[1] / "docs"
Install = Callable[..., None]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """install(package, module, code, entry_points): as pip would; gone after the test."""

    def put(package: str, module: str, code: str, entry_points: str) -> None:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / f"{module}.py").write_text(code)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        group, line = re.fullmatch(
            r'\[project\.entry-points\."([\w.]+)"\]\n(.*)\n', entry_points, re.DOTALL
        ).groups()  # type: ignore[union-attr]
        (info / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        for name in (package, f"{package}.{module}"):
            monkeypatch.delitem(sys.modules, name, raising=False)

    return put


def test_the_documented_link_sends_what_it_is_given(install: Install) -> None:
    install("my_robot", "text_link", *blocks("own-link.md", "python"), *blocks("own-link.md", "toml"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as robot:
        robot.bind(("127.0.0.1", 0))
        robot.settimeout(10)
        link = make_link(f"text://127.0.0.1:{robot.getsockname()[1]}", rate_hz=60)
        link.open()
        link.send(Command(0, 0, "NEUTRAL", 0, NEUTRAL))
        line = robot.recv(4096).decode()
        link.close(2)
    np.testing.assert_allclose([float(word) for word in line.split()], to_robot(NEUTRAL), atol=1e-4)
    assert (link.status().state, link.status().sent, link.status().dropped) == ("closed", 1, 0)
    with pytest.raises(BadArgumentError, match="write text://HOST:PORT"):
        make_link("text:9000", rate_hz=60)


def test_the_documented_source_delivers(install: Install) -> None:
    install("my_camera", "card", *blocks("own-source.md", "python"), *blocks("own-source.md", "toml"))
    source = open_source(SourceSpec(input="card:64x48", fps=200))
    try:
        frames = [source.read(10) for _ in range(3)]
    finally:
        source.close()
    assert [frame is not None and (frame.width, frame.height) for frame in frames] == [(64, 48)] * 3
    with pytest.raises(BadArgumentError, match="write card:WIDTHxHEIGHT"):
        open_source(SourceSpec(input="card:big"))


def test_a_mistyped_scheme_is_told_what_packages_bring(install: Install) -> None:
    install("my_robot", "text_link", *blocks("own-link.md", "python"), *blocks("own-link.md", "toml"))
    with pytest.raises(BadArgumentError, match=r"did you mean 'text'\?\); use one of .*, text:$"):
        make_link("txet://robot", rate_hz=60)


@pytest.mark.parametrize(
    ("group", "make"),
    [
        ("links", lambda uri: make_link(uri, rate_hz=60)),
        ("sources", lambda uri: open_source(SourceSpec(input=uri))),
        ("endpoints", lambda uri: make_endpoint(uri, Faults())),
    ],
)
def test_a_package_that_does_not_load_is_one_line(install: Install, group: str, make: Callable) -> None:
    entry = f'[project.entry-points."x2c_edge.{group}"]\nbroken = "half:make"\n'
    install("half", "rest", "", entry)
    with pytest.raises(BadArgumentError, match="comes from the package half, which cannot be loaded") as told:
        make("broken://")
    assert "\n" not in str(told.value)


def test_a_package_cannot_replace_one_of_ours(install: Install) -> None:
    entry = '[project.entry-points."x2c_edge.links"]\nnull = "thief:make"\n'
    install("thief", "rest", "", entry)
    assert type(make_link("null:", rate_hz=60)).__name__ == "NullLink"


@pytest.mark.parametrize("table", [LINKS, SOURCES, ENDPOINTS], ids=lambda table: table.group)
def test_every_entry_of_our_tables_is_there(table: Schemes[object]) -> None:
    for scheme in table.ours:
        if scheme == "zmq":
            pytest.importorskip("zmq")
        if scheme == "tritium":
            pytest.importorskip("websockets")
        assert callable(table.find(scheme))
