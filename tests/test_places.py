from __future__ import annotations

import os
from pathlib import Path

import pytest

from x2c_edge import config, packs, places
from x2c_edge.backends.engine_files import installed_sets
from x2c_edge.cli.options import settings_from
from x2c_edge.errors import NotFoundError


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``docker --user 12345`` without HOME."""

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", staticmethod(none))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "X2C_EDGE_PACKS", "X2C_EDGE_ENGINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home that we may not look into; a test that runs as root cannot be kept out by permissions."""
    home = tmp_path / "home"
    is_file, glob = Path.is_file, Path.glob

    def refuse(path: Path) -> None:
        if path.is_relative_to(home):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", lambda self: refuse(self) or is_file(self))
    monkeypatch.setattr(Path, "glob", lambda self, pattern: refuse(self) or glob(self, pattern))
    monkeypatch.setattr(Path, "home", staticmethod(lambda: home))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "X2C_EDGE_PACKS", "X2C_EDGE_ENGINES"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.mark.parametrize("home", ["homeless", "closed"])
def test_without_a_home_there_is_the_pack_that_ships(home: str, request: pytest.FixtureRequest):
    request.getfixturevalue(home)
    assert [path.name for path in packs.installed()] == ["default"]
    pack = packs.read_manifest(packs.find(None))
    assert list(installed_sets(pack)) == []
    assert settings_from({"camera": "0"}).capture.camera == 0
    assert config.default_path().name == "config.toml"


def test_a_tilde_that_is_nobody_s_is_part_of_a_name():
    assert places.expanded("~nobody-of-this-name.mp4") == Path("~nobody-of-this-name.mp4")
    assert places.expanded("~/a.mp4") == Path.home() / "a.mp4"


def test_only_names_in_utf8_go_to_opencv():
    assert places.opencv_name(Path("/tmp/Grüße 1.png")) == "/tmp/Grüße 1.png"
    with pytest.raises(NotFoundError, match="its name is not UTF-8"):
        places.opencv_name(os.fsdecode(b"/tmp/caf\xe9.png"))
