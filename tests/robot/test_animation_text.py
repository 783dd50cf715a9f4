"""The text form of animations: what it says, what is wrong with it, and back."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.controls import HIGH, INDEX, LOW, N_CONTROLS, NEUTRAL
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.robot.animation import Animation, KeyFrame
from x2c_edge.robot.animation_text import format_animation, library, load, parse

SMILE = """
# A smile.
name: a smile
tags: joy,  symmetric

[Lip Corner Raise]
0     n
0.5   n+0.3  linear           # up
1     0.8    bezier 0.1 0 0.2 -0.1
2     n-0.05 hold

[Gaze Target Phi]
0  -0.5
"""


def test_a_file_reads_as_written():
    animation = parse(SMILE, "smile.txt")
    left, right = INDEX["Lip Corner Raise Left"], INDEX["Lip Corner Raise Right"]
    assert animation.name == "a smile"
    assert animation.tags == ("joy", "symmetric")
    assert set(animation.tracks) == {left, right, INDEX["Gaze Target Phi"]}
    assert animation.tracks[left] == (
        KeyFrame(0, NEUTRAL[left], "bezier"),
        KeyFrame(0.5, NEUTRAL[left] + 0.3, "linear"),
        KeyFrame(1, 0.8, "bezier", (0.1, 0, 0.2, -0.1)),
        KeyFrame(2, NEUTRAL[left] - 0.05, "hold"),
    )
    assert animation.tracks[right][1].value == NEUTRAL[right] + 0.3
    assert animation.tracks[INDEX["Gaze Target Phi"]] == (KeyFrame(0, -0.5),)


@pytest.mark.parametrize(
    ("line", "instead", "says"),
    [
        (
            6,
            "[Lip Corner Rise Left]",
            "unknown control 'Lip Corner Rise Left' (did you mean 'Lip Corner Raise",
        ),
        (6, "[Jaw Pitch", "does not end with ]"),
        (12, "[Lip Corner Raise Left]", "Lip Corner Raise Left has a track already"),
        (9, "0.2 n", "time 0.2 does not come after 0.5"),
        (8, "0.5 n+0.9", "value 1.37; give 0..1"),
        (8, "0.5 fast", "'fast' is not a number"),
        (8, "soon 0.5", "'soon' is not a number"),
        (8, "0.5 n+", "'+' is not a number"),
        (8, "0.5", "expected: time value interpolation"),
        (8, "0.5 n cubic", "unknown interpolation 'cubic'"),
        (8, "0.5 n linaer", "did you mean 'linear'?"),
        (8, "0.5 n linear 1 2 3 4", "4 handle numbers"),
        (8, "0.5 n bezier 1 2", "2 handle numbers"),
        (8, "0.5 n bezier 0.6 0 0.1 0", "keep both in 0..0.5"),
        (8, "nan n", "give seconds"),
        (8, "0.5 nan", "value nan"),
        (8, "0.5 inf", "value inf"),
        (4, "colour: red", "'colour: red'; expected name:, tags:"),
        (5, "name: twice", "'name: twice'; expected"),
        (4, "0.1 0.5", "before key frames"),
    ],
)
def test_errors_name_file_and_line_in_one_line(line, instead, says):
    lines = SMILE.splitlines()
    lines[line - 1] = instead
    with pytest.raises(BadArgumentError) as raised:
        parse("\n".join(lines), "smile.txt")
    message = str(raised.value)
    assert message.startswith(f"smile.txt:{line}: ")
    assert says in message
    assert "\n" not in message


def test_a_track_without_key_frames_and_a_file_without_a_name():
    with pytest.raises(BadArgumentError, match=r"x\.txt:2: Jaw Pitch: the track has no key frames"):
        parse("name: x\n[Jaw Pitch]\n", "x.txt")
    with pytest.raises(BadArgumentError, match=r"x\.txt:1: the animation has no name"):
        parse("[Jaw Pitch]\n0 n\n", "x.txt")


def test_files_that_are_none(tmp_path):
    with pytest.raises(NotFoundError, match="No such file"):
        load(tmp_path / "none.txt")
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\xff")
    with pytest.raises(BadArgumentError, match="not UTF-8"):
        load(tmp_path / "picture.txt")


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(BadArgumentError):
        parse(text, "x")


WORDS = st.lists(st.from_regex(r"[a-zé:\[\]0-9.]+", fullmatch=True), min_size=1, max_size=3).map(" ".join)


@st.composite
def animations(draw: st.DrawFn) -> Animation:
    chosen = draw(st.lists(st.integers(0, N_CONTROLS - 1), unique=True, max_size=4))
    found = {}
    for control in chosen:
        value = st.floats(float(LOW[control]), float(HIGH[control]))
        times = sorted(draw(st.lists(st.floats(0, 60), min_size=1, max_size=4, unique=True)))
        found[control] = tuple(
            KeyFrame(time, draw(value), draw(st.sampled_from(["bezier", "linear", "hold"]))) for time in times
        )
        if draw(st.booleans()):
            last = found[control][-1]
            handles = (draw(st.floats(0, 1)), draw(value) - last.value, 0.25, 0.125)
            if LOW[control] <= last.value + handles[1] <= HIGH[control]:
                found[control] = (*found[control][:-1], KeyFrame(last.time, last.value, "bezier", handles))
    return Animation(draw(WORDS), tuple(draw(st.lists(WORDS, max_size=3))), found)


@given(animations())
def test_what_is_written_reads_back_the_same(animation):
    text = format_animation(animation)
    assert parse(text, "x") == animation
    assert format_animation(parse(text, "x")) == text


def test_the_library_survives_writing():
    for animation in library():
        assert parse(format_animation(animation), "x") == animation


@pytest.mark.parametrize(
    ("name", "tags"), [("", ()), ("a # b", ()), ("two\nlines", ()), ("x", ("a,b",)), ("x", ("",))]
)
def test_names_that_the_text_cannot_hold_are_refused(name, tags):
    with pytest.raises(BadArgumentError):
        format_animation(Animation(name, tags, {0: (KeyFrame(0, 0.5),)}))


def test_the_documented_example_reads():
    page = (Path(__file__).parents[2] / "docs" / "dataset.md").read_text()
    animation = parse(page.split("```")[1], "dataset.md")
    assert animation.name == "wink left"
    assert len(animation.tracks) == 3
