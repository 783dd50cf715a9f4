"""Whatever a comment, a docstring or a page refers to is in this repository."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "docs" / "spec"
FOLDERS = ("x2c_edge", "csrc", "tests", "tools", "docs", "examples", "constraints")
KINDS = (".py", ".pyi", ".h", ".cpp", ".cu", ".md", ".txt", ".sh")
FILES = sorted(
    path
    for path in [*ROOT.glob("*"), *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*"))]
    if path.suffix in KINDS and path != Path(__file__) and path.is_file()
)

# Beside the checkout on purpose: docs/spec/README.md says what it is.
BESIDE = re.compile(r"(?:\.\./)*\bshared/(?:data|golden)\b[\w./*-]*")
ELSEWHERE = {"linux/videodev2.h", "misc/dataset_preprocessing.py"}  # named with whose they are
GONE = re.compile(r"\bdesign(?:'s)?,? section|\bthe design\b|\bdesign\.md|\bspecs/")
NAME = re.compile(r"[\w.~$/*{}<>-]*\w\.(?:md|py|pyi|h|cpp|cu)\b")
NUMBER = r"\d+(?:\.\d+)?"
SECTIONS = re.compile(
    rf"(?:(\w+)\.md\W{{1,3}})?(?<!paper's )\bsections? ({NUMBER}(?:(?:, | to | and ){NUMBER}\b)*)"
)
WORTH_READING = re.compile(r"\.(?:md|pyi?|h|cpp|cu)\b|\bsection|\bR\d|\bdesign|specs/")
COMMENT = re.compile(r"(?:^|\s)# (.*)$", re.MULTILINE)
LONG_STRING = re.compile(r'(^[ \t]*r?)?"""(.*?)"""', re.MULTILINE | re.DOTALL)
STEP = re.compile(r"\b(4\.[23])(?:,? rules? |\.)(\d+(?: to \d+)?)")


@functools.cache
def prose(path: Path) -> str:
    """What a file says to people (of Python, comments and docstrings), its lines joined."""
    text = path.read_text(encoding="utf-8")
    if not WORTH_READING.search(text):
        return ""
    if path.suffix in (".py", ".pyi"):
        docstrings = [found[2] for found in LONG_STRING.finditer(text) if found[1] is not None]
        text = "\n".join([*COMMENT.findall(text), *docstrings])
    text = re.sub(r"\s*\n[ \t]*(?:#|//)?\s*", " ", text)  # a reference may be broken across lines
    return BESIDE.sub("", text)


@functools.cache
def sections_of(page: str) -> frozenset[str]:
    """Numbers of a page's sections."""
    text = (SPEC / f"{page}.md").read_text(encoding="utf-8")
    return frozenset(re.findall(rf"^#+ ({NUMBER})\.? ", text, re.MULTILINE))


def pages_of(path: Path) -> set[str]:
    """The pages of the specification that a file names; all around one of them count as well."""
    if path.parent == SPEC:
        return {path.stem, *re.findall(r"\]\((\w+)\.md\)", prose(path))} - {"README"}
    return set(re.findall(r"\bspec/(\w+)\.md", prose(path)))


def nowhere(complaints: Callable[[Path], Iterator[str]]) -> list[str]:
    return [f"{path.relative_to(ROOT)}: {text}" for path in FILES for text in complaints(path)]


def test_pages_and_files_that_are_named_exist() -> None:
    names = {path.name for path in FILES}

    def complaints(path: Path) -> Iterator[str]:
        yield from GONE.findall(prose(path))
        homes = (ROOT, path.parent, *path.parent.parents, ROOT / "x2c_edge")
        for name in NAME.findall(prose(path)):
            if name in ELSEWHERE or re.search(
                r"[*{}<>$~]|^[A-Z]+\b|^build/", name
            ):  # a pattern, a place for a name
                continue
            if "/" in name:
                known = any((home / name).is_file() for home in homes)
            else:
                known = name in names or name == Path(__file__).name
            if not known:
                yield name

    assert not nowhere(complaints)


def test_sections_that_are_named_exist() -> None:
    def complaints(path: Path) -> Iterator[str]:
        pages = pages_of(path)
        for page, numbers in SECTIONS.findall(prose(path)):
            places = {page} if (SPEC / f"{page}.md").is_file() else pages
            for number in re.findall(NUMBER, numbers):
                if not any(number in sections_of(place) for place in places):
                    yield f"section {number} of {' or '.join(sorted(places)) or 'which page?'}"

    assert not nowhere(complaints)


def test_rules_that_are_named_exist() -> None:
    rules = re.findall(r"^\* \*\*(R\d+)\*\*", (SPEC / "safety.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rules == [f"R{n}" for n in range(1, len(rules) + 1)]
    links = (SPEC / "links.md").read_text(encoding="utf-8")

    def complaints(path: Path) -> Iterator[str]:
        for rule in re.findall(r"(?<![\w./])R\d{1,2}\b(?![\w(/.]\w)", prose(path)):
            if rule not in rules:
                yield rule
        for section, numbers in STEP.findall(prose(path)):
            steps = links.split(f"### {section} ")[1].split("\n#")[0]
            yield from (f"{section} rule {n}" for n in re.findall(r"\d+", numbers) if f"\n{n}. " not in steps)

    assert not nowhere(complaints)


def test_the_files_that_hold_a_rule_exist() -> None:
    text = (SPEC / "safety.md").read_text(encoding="utf-8")
    for name in re.findall(r"`([\w/]+\.py)`", text):
        assert (ROOT / name).is_file() or (ROOT / "x2c_edge" / "safety" / name).is_file(), name


def test_links_between_pages_lead_somewhere() -> None:
    def complaints(path: Path) -> Iterator[str]:
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
                if not (path.parent / target).exists():
                    yield target

    assert not nowhere(complaints)


def test_the_specification_lists_its_pages() -> None:
    listed = set(re.findall(r"\]\((\w+\.md)\)", (SPEC / "README.md").read_text(encoding="utf-8")))
    assert listed >= {path.name for path in SPEC.glob("*.md")} - {"README.md"}
