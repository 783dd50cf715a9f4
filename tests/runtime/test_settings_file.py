"""The file that setup and check-robot write: nothing is lost, nothing wrong gets in."""

from __future__ import annotations

from pathlib import Path

import pytest

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.runtime.settings_file import tables_of, with_changes, write


def test_changes_leave_the_rest_and_none_takes_away() -> None:
    before = {"run": {"rate": 50, "link": ["a"]}, "capture": {"input": "x"}}
    after = with_changes(before, {"run": {"link": ["b"]}, "capture": {"input": None, "camera": 1}})
    assert after == {"run": {"rate": 50, "link": ["b"]}, "capture": {"camera": 1}}
    assert before["capture"] == {"input": "x"}


def test_every_older_file_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "config.toml"
    assert write(file, {"run": {"rate": 50}}) is None
    assert write(file, {"run": {"rate": 50}}) is None  # the same again
    first = write(file, {"run": {"rate": 40}})
    second = write(file, {"run": {"rate": 30}})
    assert first is not None
    assert second is not None
    assert [tables_of(path)["run"]["rate"] for path in (first, second, file)] == [50, 40, 30]


@pytest.mark.parametrize(
    "tables",
    [
        {"run": {"rate": 0}},
        {"robot": {"controls": {"Head Yaw": {"offset": 3.0}}}},
        {"safety": {"limits": {"Head Yaw": {"high": 3.0}}}},
    ],
)
def test_what_a_run_would_refuse_is_not_written(tmp_path: Path, tables: dict[str, object]) -> None:
    file = tmp_path / "config.toml"
    with pytest.raises(BadArgumentError):
        write(file, tables)
    assert not file.exists()


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotFoundError, match="cannot be written"):
        write(tmp_path / "file" / "config.toml", {})


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[run]\nratee = 3\n")
    with pytest.raises(BadArgumentError, match="did you mean"):
        tables_of(file)
