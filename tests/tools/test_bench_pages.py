from __future__ import annotations

from pathlib import Path

import pytest

from tools.bench.common import replace_section


def section(name: str, text: str) -> str:
    return f"<!-- bench:{name} -->\n{text}\n<!-- /bench -->\n"


def written(page: Path, before: str, name: str = "a", text: str = "new") -> str:
    page.write_text(before, encoding="utf-8")
    replace_section(page, name, text)
    return page.read_text(encoding="utf-8")


def test_a_section_takes_its_own_place_and_no_more(tmp_path: Path):
    before = "prose µ\n\n" + section("a", "old") + "\nmore\n" + section("b", "kept") + "end"
    assert written(tmp_path / "p.md", before) == before.replace("old", "new")
    assert [file.name for file in tmp_path.iterdir()] == ["p.md"]


def test_a_page_without_it_gets_it_at_its_end(tmp_path: Path):
    assert written(tmp_path / "p.md", "prose\n") == "prose\n\n" + section("a", "new")
    replace_section(tmp_path / "deep" / "new.md", "a", "new")
    assert (tmp_path / "deep" / "new.md").read_text() == section("a", "new")


@pytest.mark.parametrize("after", ["", "\nprose\n" + section("b", "table")])
def test_a_section_that_lost_its_end_takes_nobody_else_s(after: str, tmp_path: Path):
    page, before = tmp_path / "p.md", "prose\n<!-- bench:a -->\nold\n" + after
    with pytest.raises(SystemExit, match=r"p\.md:2: <!-- bench:a --> is never closed; add <!-- /bench -->"):
        written(page, before)
    assert page.read_text() == before


@pytest.mark.parametrize("shown", [
    "```\n<!-- bench:a -->\n...\n```\n", "~~~\n" + section("a", "old") + "~~~\n",
    "write `<!-- bench:a -->` and `<!-- /bench -->`\n", "    <!-- bench:a -->\n",
])  # fmt: skip
def test_a_mark_that_is_only_shown_is_none(shown: str, tmp_path: Path):
    before = shown + "\nprose\n" + section("b", "table")
    assert written(tmp_path / "p.md", before) == before + "\n" + section("a", "new")
    before += section("a", "old").replace("old", "```\ncode\n```")
    assert written(tmp_path / "p.md", before) == before.replace("```\ncode\n```", "new")
