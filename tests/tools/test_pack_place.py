"""Where trained packs are written: what is no pack is never lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.train.pack_place import pack_beside, require_place
from x2c_edge.errors import BadArgumentError, NotFoundError


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("ten years")
    with (
        pytest.raises(BadArgumentError, match="is no pack and would be lost"),
        pack_beside(tmp_path / "mine"),
    ):
        pytest.fail("it is asked for first")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "ten years"
    with pytest.raises(BadArgumentError, match="is a file"):
        require_place(tmp_path / "mine" / "thesis.txt")
    with pytest.raises(NotFoundError, match="cannot be written"):
        require_place(tmp_path / "mine" / "thesis.txt" / "pack")


def test_a_pack_takes_its_place_when_it_is_whole(tmp_path: Path, small_pack: Path):
    manifest = (small_pack / "manifest.toml").read_bytes()

    def stopped() -> None:
        with pack_beside(small_pack) as home:
            (home / "manifest.toml").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert (small_pack / "manifest.toml").read_bytes() == manifest
    with pack_beside(small_pack) as home:
        (home / "manifest.toml").write_text("whole")
    assert [file.name for file in small_pack.iterdir()] == ["manifest.toml"]
    (tmp_path / "empty").mkdir()
    with pack_beside(tmp_path / "empty") as home:
        (home / "manifest.toml").write_text("whole")
    assert not [*tmp_path.glob(".*"), *small_pack.parent.glob(".*")]
