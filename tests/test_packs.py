from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.manifest import edit_manifest
from x2c_edge import packs
from x2c_edge.errors import NotFoundError


def refusal(call: Callable[..., object], *arguments: object) -> str:
    """The one line of a NotFoundError (exit code 3)."""
    with pytest.raises(NotFoundError) as error:
        call(*arguments)
    message = str(error.value)
    assert error.value.exit_code == 3
    assert "\n" not in message
    return message


@pytest.fixture
def three_places(small_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The same pack "twin" in two folders of $X2C_EDGE_PACKS and in the user's data folder."""
    places = {}
    for key, folder in (
        ("first", tmp_path / "first"),
        ("second", tmp_path / "second"),
        ("user", tmp_path / "data" / "x2c-edge" / "packs"),
    ):
        places[key] = Path(shutil.copytree(small_pack, folder / "twin"))
    monkeypatch.setenv("X2C_EDGE_PACKS", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return places


def test_a_pack_opens_by_path(small_pack: Path):
    pack = packs.open_pack(str(small_pack))
    assert (pack.name, pack.pipeline, pack.path) == ("small", "single-stage", small_pack)
    net = pack.nets["single_stage"]
    assert (net.arch, net.input.size, net.input.order) == ("single_stage", 32, "RGB")
    assert net.options["crop_scale"] == 1.4
    assert packs.verify(pack) == []


def test_a_path_goes_first(three_places: dict[str, Path], small_pack: Path):
    assert packs.find(str(small_pack)) == small_pack


def test_names_are_looked_for_in_the_documented_order(three_places: dict[str, Path]):
    for key in ("first", "second", "user"):
        assert packs.find("twin") == three_places[key]
        shutil.rmtree(three_places[key])
    assert "not installed" in refusal(packs.find, "twin")


def test_the_shipped_folder_is_the_last_one(three_places: dict[str, Path], tmp_path: Path):
    folders = packs.search_folders()
    assert folders[:3] == [tmp_path / "first", tmp_path / "second", packs.user_folder()]
    assert folders[-1] == packs.shipped_folder()
    assert packs.shipped_folder().name == "engines"


def test_a_name_found_twice_is_listed_once(three_places: dict[str, Path]):
    assert [p for p in packs.installed() if p.name == "twin"] == [three_places["first"]]


def test_what_is_half_made_is_not_installed(three_places: dict[str, Path], small_pack: Path):
    folder = three_places["user"].parent
    shutil.copytree(small_pack, folder / ".mine.partial")
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / packs.MANIFEST)
    assert {path.name for path in packs.installed()}.isdisjoint({".mine.partial", "pipe"})


def test_a_manifest_is_written_whole_and_over_what_was_read(small_pack: Path):
    first, second = packs.open_pack(str(small_pack)), packs.open_pack(str(small_pack))
    packs.write_manifest(replace(first, trained_by="zuerst, in München"))
    with pytest.raises(NotFoundError, match="was changed while this ran"):
        packs.write_manifest(replace(second, accuracy={"mean": 1.0}))
    assert packs.open_pack(str(small_pack)).trained_by == "zuerst, in München"
    made = (small_pack / packs.MANIFEST).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))  # as a full disk
    try:
        with pytest.raises(NotFoundError, match="cannot be written"):
            packs.write_manifest(packs.open_pack(str(small_pack)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (small_pack / packs.MANIFEST).read_bytes() == made


def test_the_user_s_folder_without_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert packs.user_folder() == tmp_path / ".local" / "share" / "x2c-edge" / "packs"


def test_a_misspelt_name_gets_a_suggestion(pack_folders: Path):
    message = refusal(packs.find, "smal")
    assert "'smal'" in message
    assert "did you mean 'small'" in message


def test_a_folder_without_a_manifest(tmp_path: Path):
    assert "manifest.toml" in refusal(packs.find, str(tmp_path))
    assert "manifest.toml" in refusal(packs.find, str(tmp_path / "none"))


def test_a_changed_weight_is_noticed(small_pack: Path):
    weights = small_pack / "single_stage.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    message = refusal(packs.open_pack, str(small_pack))
    assert "sha256" in message
    assert str(weights) in message


def test_missing_weights(small_pack: Path):
    (small_pack / "single_stage.safetensors").unlink()
    assert "single_stage.safetensors: missing" in refusal(packs.open_pack, str(small_pack))


@pytest.mark.parametrize("damage", [b"", b"name = ", b"\xff\xfe", b"[nets]\n[nets]"], ids=repr)
def test_a_damaged_manifest(small_pack: Path, damage: bytes):
    (small_pack / packs.MANIFEST).write_bytes(damage)
    assert "manifest.toml" in refusal(packs.open_pack, str(small_pack))


@pytest.mark.parametrize("value", [0, 99, "1", None])
def test_another_format(small_pack: Path, value: object):
    edit_manifest(small_pack, lambda m: m.pop("format") if value is None else m.update(format=value))
    message = refusal(packs.open_pack, str(small_pack))
    assert repr(value) in message
    assert "update" in message


@pytest.mark.parametrize("key", ["name", "pipeline", "description", "licence", "trained_by", "nets"])
def test_a_missing_key(small_pack: Path, key: str):
    edit_manifest(small_pack, lambda m: m.pop(key))
    assert f"'{key}'" in refusal(packs.open_pack, str(small_pack))


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "/../../../tmp/a", "two\nlines", "\x1b[2J"])
def test_a_name_that_is_no_folders(small_pack: Path, name: str):
    """Engine sets are named after it, in the folder of them all."""
    edit_manifest(small_pack, lambda m: m.update(name=name))
    assert f"name {name!r}: no '/', no '.' at" in refusal(packs.open_pack, str(small_pack))


@pytest.mark.parametrize("key", ["arch", "file", "sha256"])
def test_a_missing_key_of_a_net(small_pack: Path, key: str):
    edit_manifest(small_pack, lambda m: m["nets"]["single_stage"].pop(key))
    assert f"'{key}'" in refusal(packs.open_pack, str(small_pack))


@pytest.mark.parametrize(
    "wrong",
    [{"mean": [0.5, 0.5]}, {"std": []}, {"order": "GRB"}, {"size": "many"}, {"mean": "grey"}, {"mean": 1}],
    ids=str,
)
def test_a_senseless_input_of_a_net(small_pack: Path, wrong: dict):
    edit_manifest(small_pack, lambda m: m["nets"]["single_stage"]["input"].update(wrong))
    assert "manifest.toml" in refusal(packs.open_pack, str(small_pack))


@pytest.mark.parametrize("nets", [[], 3, {"single_stage": 3}], ids=repr)
def test_nets_that_are_no_table(small_pack: Path, nets: object):
    edit_manifest(small_pack, lambda m: m.update(nets=nets))
    assert "manifest.toml" in refusal(packs.open_pack, str(small_pack))


def test_the_digest_covers_the_manifest(small_pack: Path):
    before = packs.open_pack(str(small_pack)).digest
    edit_manifest(small_pack, lambda m: m.update(description="another"))
    assert packs.open_pack(str(small_pack)).digest != before


def test_the_shipped_pack_is_what_the_documentation_promises(real_pack: str):
    pack = packs.open_pack(real_pack)
    assert "single_stage" in pack.nets
    assert sum(net.file.stat().st_size for net in pack.nets.values()) <= 20e6
