"""The rating sheet in a real browser: a rater answers by mouse and by keys, reloads, and saves a CSV."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.browser import Browser, Tab
from tools.evaluate.user_study import BESIDE, aur, picks, preferences, read_answers, report_text, sheet_html

METHODS = ("direct", "ours", "smile")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for k, place in enumerate(("human", *METHODS)):
        (tmp_path / "study" / place).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            cv2.imwrite(str(tmp_path / "study" / place / name), np.full((40, 40, 3), 60 * k + 20, np.uint8))
    return tmp_path / "study"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path / "browser")
    yield opened
    opened.kill()


def opened(browser: Browser, study: Path, pairwise: bool = False) -> Tab:
    sheet = study.parent / "sheet.html"
    sheet.write_text(sheet_html(study, 3, pairwise))
    tab = browser.open(sheet.as_uri())
    tab.wait("document.readyState === 'complete' && document.querySelectorAll('#answers button').length > 0")
    tab("Page.setDownloadBehavior", behavior="allow", downloadPath=str(study.parent / "saved"))
    return tab


def press(tab: Tab, key: str) -> None:
    tab("Input.dispatchKeyEvent", type="keyDown", key=key)
    tab("Input.dispatchKeyEvent", type="keyUp", key=key)


def leave_and_come_back(tab: Tab) -> None:
    """Reload; the page asks first, because answers are not saved."""
    tab.js("window.left = true; void setTimeout(() => location.reload())")
    until_done(lambda: tab("Page.handleJavaScriptDialog", accept=True) == {}, "the page did not ask")
    # What it leaves is still there for a moment, and looks the same.
    until_done(lambda: tab.js("!window.left && document.readyState === 'complete'"), "it did not come back")


def until_done(done: Callable[[], bool], otherwise: str) -> None:
    """What cannot be asked yet, while a page goes, is asked again."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(AssertionError):
            if done():
                return
        time.sleep(0.05)
    pytest.fail(otherwise)


def asked(tab: Tab) -> tuple[str, int]:
    """The title, and how many pictures with something in them are shown."""
    loaded = "[...document.images].filter(i => i.complete && i.naturalWidth === 40).length"
    tab.wait(f"{loaded} === document.images.length")
    return tab.js("document.querySelector('#title').textContent"), tab.js("document.images.length")


def saved(tab: Tab, study: Path) -> Path:
    tab.js("document.querySelector('#rater').value = 'Ann, B'")
    tab.click("#save")
    until = time.monotonic() + 60
    while not (found := list((study.parent / "saved").glob("*.csv"))):
        assert time.monotonic() < until, tab.complaints
        time.sleep(0.05)
    return found[0]


def test_ratings_one_pair_at_a_time_then_all_methods_side_by_side(browser: Browser, study: Path):
    tab = opened(browser, study)
    for k in range(6):
        assert asked(tab) == ("How well does the robot match the human?", 2)
        if k % 2:
            press(tab, "4")
        else:
            tab.click("#answers button:nth-child(2)")
    assert asked(tab) == ("Which robot is the most realistic?", 4)
    press(tab, "9")  # there are three
    assert asked(tab)[0] == "Which robot is the most realistic?"
    leave_and_come_back(tab)
    tab.wait(
        "document.querySelector('#state') && /^6 of 8/.test(document.querySelector('#state').textContent)"
    )
    order = tab.js("questions.slice(6).map(q => q.left)")
    tab.click("#all figure:nth-child(2)")
    press(tab, "3")
    tab.wait("document.querySelector('#title').textContent === 'Thank you'")
    answers = read_answers(saved(tab, study))
    assert [a.kind for a in answers] == ["rating"] * 6 + ["pick"] * 2
    assert {a.rater for a in answers} == {"Ann, B"}
    assert sorted(int(a.answer) for a in answers[:6]) == [2, 2, 2, 4, 4, 4]
    assert [a.left for a in answers[6:]] == order
    assert [a.answer for a in answers[6:]] == [order[0].split(BESIDE)[1], order[1].split(BESIDE)[2]]
    assert sum(picked for picked, _ in picks(answers).values()) == 2
    assert np.mean([aur(answers, method).mean for method in METHODS]) == pytest.approx(3)
    assert "| preference | picked | of |" in report_text(answers)
    assert tab.complaints == []


def test_a_sheet_of_other_pictures_or_questions_does_not_find_the_old_answers(browser: Browser, study: Path):
    tab = opened(browser, study)
    press(tab, "4")
    tab.wait("/^1 of 8/.test(document.querySelector('#state').textContent)")
    cv2.imwrite(str(study / "ours" / "a.png"), np.full((40, 40, 3), 99, np.uint8))
    for pairwise in (False, True):
        again = opened(browser, study, pairwise)
        assert again.js("document.querySelector('#state').textContent").startswith("0 of ")
    cv2.imwrite(str(study / "ours" / "a.png"), np.full((40, 40, 3), 60 * 2 + 20, np.uint8))
    assert opened(browser, study).js("document.querySelector('#state').textContent").startswith("1 of 8")


def test_every_two_methods_when_asked_for(browser: Browser, study: Path):
    tab = opened(browser, study, pairwise=True)
    for _ in range(6):
        press(tab, "5")
    for key in ("ArrowLeft", "ArrowRight", "ArrowDown") * 2:
        assert asked(tab) == ("Which robot matches the human better?", 3)
        press(tab, key)
    compared = preferences(read_answers(saved(tab, study)))
    assert {(p.first, p.second) for p in compared} == {
        ("direct", "ours"), ("direct", "smile"), ("ours", "smile")
    }  # fmt: skip
    assert sum(p.same for p in compared) == 2
    assert tab.complaints == []
