"""Manifests, settings and saved neutrals from strangers: one line, whatever is in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.manifest import edit_manifest
from x2c_edge import packs
from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.errors import BadArgumentError, NotFoundError, UserError
from x2c_edge.pipelines.reference import Reference
from x2c_edge.runtime import settings as config

DEEP = 100_000
NESTED = {
    "lists": "a = " + "[" * DEEP + "]" * DEEP,
    "tables": "a = " + "{b = " * DEEP + "1" + "}" * DEEP,
    "dotted keys": ".".join("a" * DEEP) + " = 1",
    "a dotted table": "[" + ".".join("a" * DEEP) + "]",
}


def said(error: type[UserError], call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED.keys())
def test_nested_settings_are_one_line(tmp_path: Path, text: str):
    path = tmp_path / "a.toml"
    path.write_text(text)
    assert str(path) in said(BadArgumentError, config.load, path)
    path.write_text(text.replace("a", "run", 1))
    assert str(path) in said(BadArgumentError, config.load, path)


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED.keys())
@pytest.mark.parametrize("section", ["", "[accuracy]\n", "[nets.single_stage.config]\n"])
def test_a_nested_manifest_is_one_line(small_pack: Path, text: str, section: str):
    manifest = small_pack / packs.MANIFEST
    whole = manifest.read_text()
    added = f"{text}\n{whole}" if not section else f"{whole.replace(section, '')}\n{section}{text}\n"
    manifest.write_text(added)
    assert str(manifest) in said(NotFoundError, packs.read_manifest, small_pack)


def test_settings_with_a_byte_order_mark_are_read(tmp_path: Path, small_pack: Path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf[run]\r\nrate = 30\r\n")
    assert config.load(path).run.rate == 30
    manifest = small_pack / packs.MANIFEST
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    assert packs.read_manifest(small_pack).name == "small"


def test_a_pack_s_files_stay_in_its_folder(small_pack: Path, tmp_path: Path):
    weights = next(small_pack.glob("*.safetensors"))
    outside = tmp_path / "elsewhere.safetensors"
    shutil.copy(weights, outside)
    inside = small_pack / "sub"
    inside.mkdir()
    (small_pack / "link.safetensors").symlink_to(outside)
    (small_pack / "folder").symlink_to(tmp_path)
    (inside / "fine.safetensors").symlink_to(weights)
    for name, fine in (
        (os.path.relpath(outside, small_pack), False),
        (str(outside), False),
        ("/etc/passwd", False),
        ("link.safetensors", False),
        ("folder/elsewhere.safetensors", False),
        ("..", False),
        ("sub/fine.safetensors", True),
        ("sub/../" + weights.name, True),
    ):
        for table in ("nets", "files"):

            def change(data: dict[str, Any], table: str = table, name: str = name) -> None:
                entry = data["nets"]["single_stage"]
                data["files"] = {"extra": {"file": weights.name, "sha256": entry["sha256"]}}
                (entry if table == "nets" else data["files"]["extra"])["file"] = name

            edit_manifest(small_pack, change)
            if fine:
                assert packs.open_pack(str(small_pack)).name == "small"
            else:
                assert "outside of the pack's folder" in said(NotFoundError, packs.open_pack, str(small_pack))
            edit_manifest(small_pack, lambda data: data["nets"]["single_stage"].update(file=weights.name))


def numbers_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where whole numbers are in a manifest's net."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    here = [path] if isinstance(value, int) and not isinstance(value, bool) else []
    return here + [found for key, item in entries for found in numbers_in(item, (*path, key))]


@pytest.mark.parametrize("size", [100_000, 10**30, -(10**9)])
def test_every_size_in_a_manifest_is_bounded(small_pack: Path, size: int):
    text = (small_pack / packs.MANIFEST).read_text()
    places: list[tuple[Any, ...]] = []
    edit_manifest(small_pack, lambda data: places.extend(numbers_in(data["nets"])))
    assert len(places) > 4
    for *path, last in places:

        def change(data: dict[str, Any], path: list[Any] = path, last: Any = last) -> None:
            value = data["nets"]
            for key in path:
                value = value[key]
            value[last] = size if abs(size) < 2**63 else 2**63 - 1

        edit_manifest(small_pack, change)
        said(NotFoundError, packs.read_manifest, small_pack)
        (small_pack / packs.MANIFEST).write_text(text)


def test_a_broken_pack_does_not_hide_the_others(small_pack: Path, tmp_path: Path):
    folder = tmp_path / "other"
    for name in ("aa", "mm", "zz"):
        shutil.copytree(small_pack, folder / name)
    (folder / "aa" / packs.MANIFEST).write_text(NESTED["lists"])
    (folder / "mm" / packs.MANIFEST).write_bytes(b"\xff\xfe\0")
    run = subprocess.run(
        [sys.executable, "-m", "x2c_edge.cli.main", "packs", "list"],
        env={**os.environ, "X2C_EDGE_PACKS": str(folder), "XDG_DATA_HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["aa", "mm", "zz", "default"]
    assert [("damaged" in line) for line in lines] == [True, True, False, False]
    assert run.stderr == ""


def saved(path: Path, **changes: Any) -> Path:
    data: dict[str, Any] = {
        "format": "x2c-edge reference 1",
        "controls": dict(zip(NAMES, NEUTRAL.tolist(), strict=True)),
        "rotation": np.eye(3).tolist(),
        "motion": {"rotation": np.eye(3).tolist(), "exp": [[0.0] * 3] * 21, "t": [0.0] * 3, "scale": 1.2},
    }
    for place, value in changes.items():
        *keys, last = place.split("__")
        inner = data
        for key in keys:
            inner = inner[key]
        inner[last.replace("_", " ")] = value
    path.write_text(json.dumps(data))
    return path


MIRROR = np.diag([1.0, 1.0, -1.0]).tolist()
DAMAGE: dict[str, dict[str, Any]] = {
    "huge control": {"controls__Jaw_Pitch": 1e300},
    "control out of range": {"controls__Head_Yaw": 40.0},
    "no number": {"controls__Jaw_Pitch": float("nan")},
    "infinite": {"controls__Jaw_Pitch": float("inf")},
    "integer beyond floats": {"controls__Jaw_Pitch": 10**400},
    "text": {"controls__Jaw_Pitch": "wide"},
    "mirror image": {"rotation": MIRROR},
    "huge rotation": {"rotation": (1e300 * np.eye(3)).tolist()},
    "flat rotation": {"rotation": np.zeros((3, 3)).tolist()},
    "list for the controls": {"controls": [1.0] * 30},
    "huge motion": {"motion__t": [0.0, 1e300, 0.0]},
    "mirrored motion": {"motion__rotation": MIRROR},
    "motion of no size": {"motion__scale": 0.0},
    "motion that is none": {"motion": [1, 2, 3]},
}


@pytest.mark.parametrize("changes", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_reference_that_no_face_can_have_is_refused(tmp_path: Path, changes: dict[str, Any]):
    Reference.load(saved(tmp_path / "fine.json"))
    line = said(BadArgumentError, Reference.load, saved(tmp_path / "a.json", **changes))
    assert "a.json" in line
    assert "calibrate again" in line


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP, "[]", "3", '"x"', "", "\ufeff{}"])
def test_what_is_no_reference_is_one_line(tmp_path: Path, text: str):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert "calibrate again" in said(BadArgumentError, Reference.load, path)


def test_a_reference_with_a_byte_order_mark_is_read(tmp_path: Path):
    path = saved(tmp_path / "a.json")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    np.testing.assert_array_equal(Reference.load(path).values, NEUTRAL)


def test_an_error_is_one_short_line_whatever_it_quotes():
    """Names of files and keys come from outside: they may be long, or orders for a terminal."""
    error = NotFoundError("pack 'a\nb\x1b[2Jc\x9b' " + "x" * 100_000 + " get it again")
    assert "\n" not in str(error)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 1000
    assert str(error).startswith("pack 'a b [2Jc ' xxx")
    assert str(error).endswith("xxx get it again")
