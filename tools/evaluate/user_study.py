"""Ask people how well robot faces match human faces, and count what they said.

    python -m tools.evaluate.user_study sheet PAIRS_FOLDER --out sheet.html --seed 1
    python -m tools.evaluate.user_study report ratings-ann.csv ratings-bo.csv

PAIRS_FOLDER holds ``human/`` and one folder a method (``ours/``, ``baseline/``, ...), with pictures of the
same file names (.png, .jpg). The sheet is one HTML file that needs no network. As in the paper's study it
shows one human and one robot and asks for a rating from 1 (does not match at all) to 5 (closely matches);
then, when there are two methods or more, the robots of all methods side by side and asks for the most
realistic one. With --pairwise it asks for the better one of every two methods instead. Order and sides are
shuffled by the seed; give every rater another one. It works with the mouse or the keyboard alone and keeps
answers in the browser until they are saved as CSV.

AUR, the average user rating: a rater's mean over the samples, then the mean over raters. SD is that of the
ratings; SEM and the interval (± 1.96 SEM) are the AUR's, from the spread of the raters' means. Beside them
stands the share of ratings of 4 or 5, "same expression". Preference: each method's share of the picks with
Wilson's 95 % interval. Pairwise: how often each of two methods was chosen, Wilson's interval of the share,
and the two-sided exact binomial test against one half; "no difference" is counted apart.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tools._errors import user_errors
from tools.bench.common import markdown_table, replace_section
from tools.dataset.pair_shards import written_beside
from tools.evaluate.mapping_errors import Mean, mean_of
from x2c_edge.errors import BadArgumentError, NotFoundError

COLUMNS = ("rater", "kind", "picture", "left", "right", "answer")
HUMAN = "human"
BESIDE = "|"  # between the methods of a pick
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_RATINGS = ("1", "2", "3", "4", "5")
_CHOICES = ("left", "right", "same")
_SAME_FROM = 4
_Z95 = 1.959963984540054

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, rich_markup_mode=None)


@dataclass(frozen=True)
class Answer:
    """One line of a CSV. kind "rating": left is the method, answer 1 to 5. kind "pick": left are all methods
    in the order shown, joined by "|", answer the one that was picked. kind "preference": left and right are
    the methods on each side, answer left, right or same."""

    rater: str
    kind: str
    picture: str
    left: str
    right: str
    answer: str

    @property
    def chosen(self) -> str:
        """The answer, whatever the order it was asked in: of a preference the method, or same."""
        sides = {"left": self.left, "right": self.right} if self.kind == "preference" else {}
        return sides.get(self.answer, self.answer)


@dataclass(frozen=True)
class Preference:
    """How often each of two methods was chosen, and how often neither."""

    first: str
    second: str
    wins: int
    losses: int
    same: int

    @property
    def share(self) -> float:
        """Of the first method among the decided answers; nan without any."""
        decided = self.wins + self.losses
        return self.wins / decided if decided else math.nan

    @property
    def p_value(self) -> float:
        """Of the two-sided exact binomial test against one half."""
        return binomial_p(self.wins, self.wins + self.losses)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; (0, 1) without any observation."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, _Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def binomial_p(successes: int, n: int) -> float:
    """Two-sided exact p of ``successes`` in ``n`` fair throws: both tails at least as far from n / 2."""
    tail = sum(math.comb(n, k) for k in range(min(successes, n - successes) + 1))
    return min(1.0, 2 * tail / 2**n)


def read_answers(path: Path) -> list[Answer]:
    """All answers of a CSV with the columns of ``COLUMNS`` (in any order).

    NotFoundError for a file that cannot be read; BadArgumentError names file, line and fault.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise NotFoundError(f"{path}: {reason}; give a CSV that the rating sheet saved") from None
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    answers = []
    try:
        head = next(reader, [])
        missing = [name for name in COLUMNS if name not in head]
        if missing:
            raise BadArgumentError(
                f"{path}:1: column '{missing[0]}' is missing; the first line names {', '.join(COLUMNS)}"
            )
        answers.extend(_answer(f"{path}:{reader.line_num}", head, row) for row in reader if row)
    except csv.Error as error:
        raise BadArgumentError(f"{path}:{reader.line_num}: {error}; mend the line or delete it") from None
    return answers


def distinct(answers: Sequence[Answer]) -> list[Answer]:
    """One answer of each rater to each question: a file given twice, or saved again, counts once.

    BadArgumentError for two that differ: nothing in a file tells which was the last.
    """
    kept: dict[tuple[str, ...], Answer] = {}
    for a in answers:
        sides = sorted((*a.left.split(BESIDE), a.right))
        before = kept.setdefault((a.rater, a.kind, a.picture, *sides), a)
        if before.chosen != a.chosen:
            raise BadArgumentError(
                f"rater '{a.rater}', {a.kind} of {a.picture}: answered with {before.chosen} and with "
                f"{a.chosen}; give only the last file that this rater saved, and every rater another name"
            )
    return list(kept.values())


def preferences(answers: Sequence[Answer]) -> list[Preference]:
    """One entry for every two methods that were compared, sides taken together."""
    counts: dict[tuple[str, str], list[int]] = {}
    for a in answers:
        if a.kind != "preference":
            continue
        first, second = sorted((a.left, a.right))
        place = 2 if a.answer == "same" else 0 if a.chosen == first else 1
        counts.setdefault((first, second), [0, 0, 0])[place] += 1
    return [Preference(*methods, *counted) for methods, counted in sorted(counts.items())]


def aur(answers: Sequence[Answer], method: str) -> Mean:
    """The average user rating: of each rater's mean over the samples, the mean and spread over raters."""
    by_rater: dict[str, list[int]] = {}
    for a in answers:
        if a.kind == "rating" and a.left == method:
            by_rater.setdefault(a.rater, []).append(int(a.answer))
    return mean_of(np.array([np.mean(ratings) for ratings in by_rater.values()]))


def picks(answers: Sequence[Answer]) -> dict[str, tuple[int, int]]:
    """How often each method was picked, and how often it was among those shown."""
    counts: dict[str, list[int]] = {}
    for a in answers:
        if a.kind == "pick":
            for method in a.left.split(BESIDE):
                counted = counts.setdefault(method, [0, 0])
                counted[0] += method == a.answer
                counted[1] += 1
    return {method: (picked, shown) for method, (picked, shown) in counts.items()}


def report_text(answers: Sequence[Answer]) -> str:
    """All tables as Markdown."""
    parts = [f"Answers: {len(answers)}; raters: {len({a.rater for a in answers})}.\n"]
    by_method: dict[str, list[int]] = {}
    for a in answers:
        if a.kind == "rating":
            by_method.setdefault(a.left, []).append(int(a.answer))
    if by_method:
        rows = []
        for method, ratings in sorted(by_method.items(), key=lambda item: -aur(answers, item[0]).mean):
            m, n, same = aur(answers, method), len(ratings), sum(r >= _SAME_FROM for r in ratings)
            low, high = wilson(same, n)
            agree = f"{same / n:.0%} ({low:.0%} to {high:.0%})"
            sd = _known(mean_of(np.array(ratings, np.float64)).sd, ".2f")
            interval = "–" if m.n == 1 else f"{m.ci95[0]:.2f} to {m.ci95[1]:.2f}"
            rows.append([method, f"{n}", f"{m.mean:.2f}", sd, _known(m.sem, ".3f"), interval, agree])
        head = ("method", "ratings", "AUR", "SD", "SEM", "95 % CI", "same expression (95 % CI)")
        parts.append(markdown_table(head, rows))
    picked = sorted(picks(answers).items(), key=lambda item: -item[1][0] / item[1][1])
    if picked:
        rows = []
        for method, (count, shown) in picked:
            low, high = wilson(count, shown)
            rows.append([method, f"{count}", f"{shown}", f"{count / shown:.1%}", f"{low:.1%} to {high:.1%}"])
        parts.append(markdown_table(("preference", "picked", "of", "share", "95 % CI"), rows))
    compared = preferences(answers)
    if compared:
        rows = []
        for p in compared:
            low, high = wilson(p.wins, p.wins + p.losses)
            share = f"{p.share:.0%}" if p.wins + p.losses else "–"
            figures = [f"{p.wins}", f"{p.losses}", f"{p.same}", share, f"{low:.0%} to {high:.0%}"]
            rows.append([f"{p.first} before {p.second}", *figures, f"{p.p_value:.2g}"])
        head = ("of two", "chosen", "other chosen", "no difference", "share", "95 % CI", "p")
        parts.append(markdown_table(head, rows))
    return "\n".join(parts)


def _known(value: float, form: str) -> str:
    return "–" if math.isnan(value) else f"{value:{form}}"


def questions(
    folder: Path, seed: int, pairwise: bool = False
) -> tuple[list[dict[str, object]], dict[str, str]]:
    """The sheet's questions in a shuffled order, and its pictures as data URIs by "method/name".

    BadArgumentError for a method that cannot be told from others in a CSV, NotFoundError when a folder or a
    picture is missing.
    """
    if not (folder / HUMAN).is_dir():
        raise NotFoundError(f"{folder / HUMAN}: no such folder; put the human pictures there")
    names = sorted(f.name for f in (folder / HUMAN).iterdir() if f.suffix.lower() in _TYPES)
    methods = sorted(f.name for f in folder.iterdir() if f.is_dir() and f.name != HUMAN)
    if not names or not methods:
        what = f"{folder / HUMAN}: no pictures" if not names else f"{folder}: no folder of a method"
        raise NotFoundError(f"{what}; give human/NAME.png and METHOD/NAME.png")
    for method in methods:
        if BESIDE in method:
            raise BadArgumentError(f"{folder / method}: '{BESIDE}' separates methods; give it another name")
    pictures = {}
    for place in (HUMAN, *methods):
        for name in names:
            file = folder / place / name
            if not file.is_file():
                raise NotFoundError(f"{file}: no such picture; every method needs every picture of {HUMAN}/")
            content = base64.b64encode(file.read_bytes()).decode()
            pictures[f"{place}/{name}"] = f"data:{_TYPES[file.suffix.lower()]};base64,{content}"
    rng = np.random.default_rng(seed)
    ratings: list[dict[str, object]] = [
        {"kind": "rating", "picture": name, "left": method, "right": ""}
        for name in names
        for method in methods
    ]
    choices: list[dict[str, object]] = []
    for name in names:
        for pair in combinations(methods, 2) if pairwise else ():
            left, right = pair if rng.random() < 0.5 else pair[::-1]
            choices.append({"kind": "preference", "picture": name, "left": left, "right": right})
        if not pairwise and len(methods) > 1:
            shown = BESIDE.join(methods[i] for i in rng.permutation(len(methods)))
            choices.append({"kind": "pick", "picture": name, "left": shown, "right": ""})
    # All ratings come first: comparing two robots would colour what is said about one.
    return [part[i] for part in (ratings, choices) for i in rng.permutation(len(part))], pictures


def sheet_html(folder: Path, seed: int, pairwise: bool = False) -> str:
    """The rating sheet as one page."""
    asked, pictures = questions(folder, seed, pairwise)
    template = Path(__file__).with_name("user_study_sheet.html").read_text(encoding="utf-8")
    # The browser keeps answers by their question's place, under this: another sheet must not find them.
    digest = hashlib.sha256(json.dumps([seed, asked, pictures]).encode()).hexdigest()[:16]
    content = {"digest": digest, "study": folder.resolve().name, "questions": asked, "pictures": pictures}
    return template.replace("/*CONTENT*/null", json.dumps(content).replace("<", "\\u003c"))


@app.command()
def sheet(
    folder: Annotated[Path, typer.Argument(help="human/ and a folder for each method")],
    out: Path = typer.Option(Path("sheet.html"), help="the HTML file to write"),
    seed: int = typer.Option(1, help="order and sides; another one for every rater"),
    pairwise: bool = typer.Option(False, help="ask for the better of two instead of the best of all"),
) -> None:
    """Write a rating sheet."""
    with user_errors():
        text = sheet_html(folder, seed, pairwise)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with written_beside(out) as file:
                file.write(text.encode())
        except OSError as error:
            raise NotFoundError(
                f"{out}: cannot be written ({error.strerror}); choose another place"
            ) from None
        print(f"{out}: {len(text) / 2**20:.1f} MB; open it in a browser, save the answers, then run report")


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(help="CSV files that the sheet saved")],
    write: Path | None = typer.Option(None, help="put the tables into this Markdown page"),
) -> None:
    """Print AUR and preferences."""
    with user_errors():
        answers = distinct([answer for file in files for answer in read_answers(file)])
        if not answers:
            raise BadArgumentError(f"{files[0]}: no answers in it; give a CSV that the rating sheet saved")
        text = report_text(answers)
        print(text)
        if write:
            replace_section(write, "user-study", text)


def _answer(where: str, head: Sequence[str], row: Sequence[str]) -> Answer:
    if len(row) != len(head):
        raise BadArgumentError(
            f"{where}: {len(row)} fields instead of {len(head)}; mend the line or delete it"
        )
    fields = {name: value.strip() for name, value in zip(head, row, strict=True)}
    answer = Answer(**{name: fields[name] for name in COLUMNS})
    shown = tuple(answer.left.split(BESIDE))
    known = {"rating": _RATINGS, "preference": _CHOICES, "pick": shown}.get(answer.kind)
    if known is None:
        raise BadArgumentError(f"{where}: kind '{answer.kind}': rating, pick or preference")
    if answer.answer not in known:
        raise BadArgumentError(
            f"{where}: answer '{answer.answer}' to a {answer.kind}: one of {', '.join(known)}"
        )
    needed = ("rater", "picture", "left") + (("right",) if answer.kind == "preference" else ())
    for name in needed:
        if not fields[name]:
            raise BadArgumentError(f"{where}: '{name}' is empty; mend the line or delete it")
    return answer


if __name__ == "__main__":
    app()
