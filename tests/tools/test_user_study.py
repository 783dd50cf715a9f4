from __future__ import annotations

import base64
import json
import math
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools.evaluate.user_study import (
    COLUMNS,
    Answer,
    app,
    aur,
    binomial_p,
    distinct,
    picks,
    preferences,
    questions,
    read_answers,
    report_text,
    sheet_html,
    wilson,
)
from x2c_edge.errors import BadArgumentError, NotFoundError

HEAD = ",".join(COLUMNS) + "\n"


def rating(rater: str, picture: str, method: str, answer: int) -> Answer:
    return Answer(rater, "rating", picture, method, "", str(answer))


def choice(rater: str, picture: str, left: str, right: str, answer: str) -> Answer:
    return Answer(rater, "preference", picture, left, right, answer)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (8, 10), (50, 100), (1, 1000)])
def test_wilson_solves_its_equation(k: int, n: int):
    """The ends are the shares p whose distance from k / n is 1.96 of their own standard errors."""
    for end in wilson(k, n):
        if 0 < end < 1:
            assert abs(k / n - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), rel=1e-5)
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert wilson(0, 0) == (0, 1)


@pytest.mark.parametrize(("k", "n", "p"), [
    (5, 10, 1.0), (10, 10, 2 / 1024), (0, 10, 2 / 1024), (8, 10, 2 * 56 / 1024), (0, 0, 1.0), (3, 3, 0.25),
])  # fmt: skip
def test_the_binomial_test_counts_both_tails(k: int, n: int, p: float):
    assert binomial_p(k, n) == pytest.approx(p)


def test_preferences_are_counted_whatever_the_side():
    answers = [
        choice("a", "1", "ours", "base", "left"),
        choice("a", "2", "base", "ours", "right"),
        choice("a", "3", "base", "ours", "left"),
        choice("b", "1", "base", "ours", "same"),
        choice("b", "2", "ours", "third", "right"),
        rating("b", "1", "ours", 3),
    ]
    first, second = preferences(answers)
    assert (first.first, first.second, first.wins, first.losses, first.same) == ("base", "ours", 1, 2, 1)
    assert first.share == pytest.approx(1 / 3)
    assert (second.first, second.wins, second.losses) == ("ours", 0, 1)
    undecided = preferences([choice("a", "1", "x", "y", "same")])[0]
    assert math.isnan(undecided.share)
    assert undecided.p_value == 1


def test_the_report_states_the_average_user_rating():
    answers = [rating("a", str(i), "ours", r) for i, r in enumerate((5, 5, 4, 2))]
    answers += [rating("a", str(i), "base", 1) for i in range(4)]
    answers += [choice("a", str(i), "ours", "base", "left") for i in range(5)]
    text = report_text(answers)
    assert "Answers: 13; raters: 1." in text
    rows = [line for line in text.splitlines() if line.startswith(("| ours", "| base"))]
    assert rows[0].startswith("| ours | 4 | 4.00 | 1.41 | – | – | 75% (30% to 95%)")
    assert rows[1].startswith("| base | 4 | 1.00 | 0.00 | – | – |")
    assert rows[2].startswith("| base before ours | 0 | 5 | 0 | 0% | 0% to 43% | 0.062")


def test_ratings_are_averaged_over_samples_and_then_over_raters():
    answers = [rating("a", str(i), "ours", 5) for i in range(3)] + [rating("b", "0", "ours", 1)]
    assert aur(answers, "ours").mean == 3.0  # not 4, the mean of all ratings
    assert "| ours | 4 | 3.00 | 2.00 | 2.000 | -0.92 to 6.92 |" in report_text(answers)


def test_a_preference_is_the_share_of_picks_among_all_methods():
    """88, 8, 3 and 1 of a hundred picks, whatever the order they were shown in."""
    shown = ("ours|smile|coexpression|single", "single|coexpression|smile|ours")
    chosen = ["ours"] * 88 + ["smile"] * 8 + ["coexpression"] * 3 + ["single"]
    answers = [Answer("a", "pick", str(i), shown[i % 2], "", name) for i, name in enumerate(chosen)]
    assert picks(answers) == {
        "ours": (88, 100), "smile": (8, 100), "coexpression": (3, 100), "single": (1, 100)
    }  # fmt: skip
    rows = [line for line in report_text(answers).splitlines() if line.startswith("| ")]
    low, high = wilson(88, 100)
    assert rows[2] == f"| ours | 88 | 100 | 88.0% | {low:.1%} to {high:.1%} |"
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["ours", "smile", "coexpression", "single"]


def test_an_answer_given_again_counts_once():
    kept = distinct([
        rating("a", "1", "ours", 5), rating("b", "1", "ours", 2), rating("a", "1", "ours", 5),
        choice("a", "1", "x", "y", "left"), choice("a", "1", "y", "x", "right"),
        Answer("a", "pick", "1", "x|y|z", "", "y"), Answer("a", "pick", "1", "z|x|y", "", "y"),
    ])  # fmt: skip
    assert [a.answer for a in kept] == ["5", "2", "left", "y"]


@pytest.mark.parametrize(("first", "second"), [
    (rating("a", "1", "ours", 1), rating("a", "1", "ours", 5)),
    (choice("a", "1", "x", "y", "left"), choice("a", "1", "y", "x", "left")),
    (choice("a", "1", "x", "y", "left"), choice("a", "1", "x", "y", "same")),
    (Answer("a", "pick", "1", "x|y", "", "x"), Answer("a", "pick", "1", "y|x", "", "y")),
])  # fmt: skip
def test_files_that_contradict_each_other_are_refused_in_any_order(first: Answer, second: Answer):
    for given in ([first, second], [second, first]):
        with pytest.raises(BadArgumentError, match=r"rater 'a', .* of 1: answered with .*; give only"):
            distinct(given)


def test_a_saved_csv_is_read_whatever_its_quotes_and_columns(tmp_path: Path):
    file = tmp_path / "r.csv"
    file.write_bytes(
        b'\xef\xbb\xbfanswer,rater,kind,picture,left,right,extra\r\n5,"Ann, B",rating,p.png,ours,,x\r\n\r\n'
        b'left,"C ""D""",preference,p.png,ours,base,\r\n'
    )
    first, second = read_answers(file)
    assert first == Answer("Ann, B", "rating", "p.png", "ours", "", "5")
    assert second == Answer('C "D"', "preference", "p.png", "ours", "base", "left")


@pytest.mark.parametrize(("line", "message"), [
    ("a,rating,p.png,ours,", r":3: 5 fields instead of 6"),
    ("a,rating,p.png,ours,,6", r":3: answer '6' to a rating: one of 1, 2, 3, 4, 5"),
    ("a,preference,p.png,ours,base,2", r":3: answer '2' to a preference: one of left, right, same"),
    ("a,opinion,p.png,ours,,3", r":3: kind 'opinion': rating, pick or preference"),
    ("a,pick,p.png,ours|base,,third", r":3: answer 'third' to a pick: one of ours, base"),
    (",rating,p.png,ours,,3", r":3: 'rater' is empty"),
    ("a,preference,p.png,ours,,left", r":3: 'right' is empty"),
    ('a,rating,"p".png,ours,,3', r":3: .*mend the line"),
])  # fmt: skip
def test_a_bad_line_is_named(line: str, message: str, tmp_path: Path):
    file = tmp_path / "r.csv"
    file.write_text(HEAD + "a,rating,p.png,ours,,5\n" + line + "\n")
    with pytest.raises(BadArgumentError, match=r"r\.csv" + message) as raised:
        read_answers(file)
    assert "\n" not in str(raised.value)


def test_files_that_are_no_answers(tmp_path: Path):
    file = tmp_path / "r.csv"
    with pytest.raises(NotFoundError, match="No such file"):
        read_answers(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NotFoundError, match="not UTF-8"):
        read_answers(file)
    file.write_text("rater,kind\n")
    with pytest.raises(BadArgumentError, match=":1: column 'picture' is missing"):
        read_answers(file)
    file.write_text(HEAD)
    result = CliRunner().invoke(app, ["report", str(file)])
    assert (result.exit_code, len(result.output.strip().splitlines())) == (2, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in ("human", "ours", "base"):
        (tmp_path / "study" / place).mkdir(parents=True)
        for name in ("a.png", "b.jpg"):
            (tmp_path / "study" / place / name).write_bytes(f"{place} {name}".encode())
    return tmp_path / "study"


def test_every_question_is_asked_once_in_an_order_of_the_seed(folder: Path):
    asked, pictures = questions(folder, 1)
    kinds = [q["kind"] for q in asked]
    assert kinds == ["rating"] * 4 + ["pick"] * 2
    assert len({json.dumps(q) for q in asked}) == 6
    uri = "data:image/jpeg;base64," + base64.b64encode(b"ours b.jpg").decode()
    assert pictures["ours/b.jpg"] == uri
    assert questions(folder, 1)[0] == asked
    orders = [questions(folder, seed)[0] for seed in range(12)]
    assert any(order != asked for order in orders)
    assert {q["left"] for order in orders for q in order[4:]} == {"ours|base", "base|ours"}
    pairwise = [questions(folder, seed, pairwise=True)[0][4:] for seed in range(12)]
    assert {(q["kind"], q["left"], q["right"]) for order in pairwise for q in order} == {
        ("preference", "ours", "base"), ("preference", "base", "ours")
    }  # fmt: skip


def test_one_method_alone_is_not_compared(folder: Path):
    shutil.rmtree(folder / "base")
    assert {q["kind"] for q in questions(folder, 1)[0]} == {"rating"}


def test_a_method_whose_name_would_be_two(folder: Path):
    (folder / "ours").rename(folder / "ours|new")
    with pytest.raises(BadArgumentError, match=r"ours\|new: '\|' separates methods"):
        questions(folder, 1)


def test_the_sheet_needs_nothing_else(folder: Path, tmp_path: Path):
    html = sheet_html(folder, 1)
    assert "http" not in html
    assert "src=" not in html
    start = html.index("const content = ") + len("const content = ")
    content = json.loads(html[start : html.index(";\n", start)])
    assert len(content["questions"]) == 6
    assert len(content["pictures"]) == 6
    result = CliRunner().invoke(app, ["sheet", str(folder), "--out", str(tmp_path / "new" / "s.html")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "new" / "s.html").read_text() == html


def test_a_folder_that_lacks_something(folder: Path):
    (folder / "ours" / "b.jpg").unlink()
    with pytest.raises(NotFoundError, match=r"ours/b\.jpg: no such picture"):
        sheet_html(folder, 1)
    with pytest.raises(NotFoundError, match="human: no such folder"):
        sheet_html(folder / "ours", 1)
    for name in ("a.png", "b.jpg"):
        (folder / "human" / name).unlink()
    with pytest.raises(NotFoundError, match="human: no pictures"):
        sheet_html(folder, 1)
    result = CliRunner().invoke(app, ["sheet", str(folder)])
    assert (result.exit_code, len(result.output.strip().splitlines())) == (3, 1)
