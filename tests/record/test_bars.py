from __future__ import annotations

import numpy as np
import pytest

from x2c_edge.controls import CONTROLS, GROUPS, INDEX, NEUTRAL, indices
from x2c_edge.record.bars import (
    CENTRE_COLOUR,
    LEFT_COLOUR,
    MIN_HEIGHT,
    MIN_WIDTH,
    RIGHT_COLOUR,
    bars_layout,
    draw_bars,
)
from x2c_edge.record.drawing import INK, STATE_COLOURS, put_text, shortened, text_width

W, H = 560, 720


def draw(values=NEUTRAL, state="FOLLOWING", note="", size=(W, H)):
    return draw_bars(np.asarray(values), *size, state=state, note=note)


def moved(name, value):
    values = NEUTRAL.copy()
    values[INDEX[name]] = value
    return values


def own_x(control, value, layout):
    return layout.track_left + (value - control.low) / (control.high - control.low) * (
        layout.track_right - layout.track_left
    )


def in_colour(image, colour, y):
    return np.flatnonzero((image[round(y)] == colour).all(axis=1))


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.abbreviation + str(c.index))
def test_moving_one_control_changes_only_its_row(control):
    layout = bars_layout(W, H)
    target = control.high if control.neutral < (control.low + control.high) / 2 else control.low
    changed = (draw() != draw(moved(control.name, target))).any(axis=2)
    rows = np.flatnonzero(changed.any(axis=1))
    middle = layout.row_y[control.index]
    assert len(rows)
    assert abs(rows - middle).max() <= layout.row / 2
    columns = np.flatnonzero(changed.any(axis=0))
    assert columns.min() >= layout.track_left - 1  # the name stays


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.abbreviation + str(c.index))
def test_neutral_is_marked_at_its_place_and_stays_when_the_value_moves(control):
    layout = bars_layout(W, H)
    x = own_x(control, control.neutral, layout)
    for values in (NEUTRAL, moved(control.name, (control.neutral + control.high + control.low) / 3)):
        image = draw(values)
        # Above the bar, where nothing else is as bright.
        y = layout.row_y[control.index] - layout.row * 0.32
        bright = in_colour(image, INK, y)
        bright = bright[(bright >= layout.track_left - 1) & (bright <= layout.track_right)]
        assert len(bright) == 2
        assert abs(bright.mean() + 0.5 - x) <= 1


@pytest.mark.parametrize(
    ("name", "value", "colour"),
    [
        ("Lip Corner Raise Left", 0.9, LEFT_COLOUR),
        ("Lip Corner Raise Right", 0.1, RIGHT_COLOUR),
        ("Jaw Pitch", 0.6, CENTRE_COLOUR),
        ("Gaze Target Phi", -1.0, CENTRE_COLOUR),
    ],
)
def test_bar_reaches_from_neutral_to_the_value_in_the_colour_of_its_side(name, value, colour):
    layout = bars_layout(W, H)
    control = CONTROLS[INDEX[name]]
    filled = in_colour(draw(moved(name, value)), colour, layout.row_y[control.index] - 2)
    ends = sorted(own_x(control, v, layout) for v in (control.neutral, value))
    assert abs(filled.min() - ends[0]) <= 2
    assert abs(filled.max() + 1 - ends[1]) <= 2
    assert len(filled) >= (ends[1] - ends[0]) - 4


def test_sides_have_different_colours():
    assert len({LEFT_COLOUR, RIGHT_COLOUR, CENTRE_COLOUR}) == 3


def test_safe_range_is_shaded_and_the_rest_of_the_wire_range_is_not():
    layout = bars_layout(W, H)
    image = draw()
    control = CONTROLS[INDEX["Head Roll"]]  # safe range is half of the wire range
    y = round(layout.row_y[control.index] - layout.row * 0.3)
    row = image[y, layout.track_left : layout.track_right].astype(int)
    background = image[y, layout.track_left - 4].astype(int)
    shaded = np.flatnonzero(np.abs(row - background).sum(axis=1) > 20) + layout.track_left
    assert abs(shaded.min() - own_x(control, control.safe_low, layout)) <= 1
    assert abs(shaded.max() + 1 - own_x(control, control.safe_high, layout)) <= 1


def test_value_beyond_the_range_fills_to_the_end_and_no_further():
    layout = bars_layout(W, H)
    control = CONTROLS[INDEX["Lip Top Raise Left"]]
    filled = in_colour(draw(moved(control.name, 7.0)), LEFT_COLOUR, layout.row_y[control.index])
    assert filled.max() == layout.track_right - 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_value_that_is_not_finite_has_no_bar_and_leaves_the_other_rows(bad):
    layout = bars_layout(W, H)
    image = draw(moved("Lip Top Raise Left", bad))
    index = INDEX["Lip Top Raise Left"]
    assert len(in_colour(image, LEFT_COLOUR, layout.row_y[index])) == 0
    rows = np.flatnonzero((image != draw()).any(axis=(1, 2)))
    assert abs(rows - layout.row_y[index]).max() <= layout.row / 2


def test_angles_are_written_in_degrees():
    layout = bars_layout(W, H)
    index = INDEX["Head Yaw"]
    image = draw(moved("Head Yaw", np.radians(12.5)))
    expected = image.copy()
    y, left = layout.row_y[index], layout.track_right + 8
    expected[round(y - layout.row / 2) : round(y + layout.row / 2) + 1, left:] = image[5, 5]
    put_text(expected, "+12.5 deg", left, y, layout.text * 0.92, INK)
    assert np.array_equal(image, expected)


@pytest.mark.parametrize("size", [(W, H), (MIN_WIDTH, MIN_HEIGHT), (840, 1080)])
def test_widest_value_fits(size):
    layout = bars_layout(*size)
    assert layout.track_right + 8 + text_width("+130.0 deg", layout.text * 0.92) <= size[0]
    names = max(text_width(c.name, layout.text * 0.95) for c in CONTROLS)
    assert 20 + names <= layout.track_left


def test_rows_are_grouped_in_the_order_of_the_groups_without_overlap():
    layout = bars_layout(W, H)
    order = [layout.heading_y[g] for g in GROUPS]
    assert order == sorted(order)
    for group, following in zip(GROUPS, (*GROUPS[1:], None), strict=True):
        below = layout.heading_y[following] if following else H
        assert all(layout.heading_y[group] < layout.row_y[i] < below for i in indices(group))
    ys = sorted([*layout.row_y, *order])
    assert min(np.diff(ys)) >= layout.row * 0.9


@pytest.mark.parametrize("state", ["FOLLOWING", "HOLDING", "RETURNING", "FAULT", "NEUTRAL", "STARTING"])
def test_header_shows_the_state_in_its_colour(state):
    header = draw(state=state)[: round(bars_layout(W, H).header / 2)]
    assert (header == STATE_COLOURS[state]).all(axis=2).sum() > 50


def test_states_differ_in_words_even_where_the_colour_is_the_same():
    assert STATE_COLOURS["STARTING"] == STATE_COLOURS["STOPPED"]
    assert not np.array_equal(draw(state="STARTING"), draw(state="STOPPED"))


def test_note_changes_only_the_header_and_a_long_one_is_cut():
    header = round(bars_layout(W, H).header)
    image = draw(note="a note " * 50)
    assert np.array_equal(image[header:], draw()[header:])
    assert not np.array_equal(image[:header], draw()[:header])
    assert np.array_equal(image[:header, -6:], draw()[:header, -6:])


def test_shortened_keeps_what_fits():
    assert shortened("short", 500, 10) == "short"
    cut = shortened("a rather long sentence", 100, 10)
    assert cut.endswith("...")
    assert text_width(cut, 10) <= 100
    assert shortened("anything", 1, 10) == ""


def test_every_call_returns_a_picture_of_its_own():
    first = draw()
    first[:] = 0
    assert draw().any()


def test_wrong_shape_and_too_small_are_refused():
    with pytest.raises(ValueError, match="values"):
        draw(np.zeros(29))
    with pytest.raises(ValueError, match="width, height"):
        draw(size=(MIN_WIDTH - 1, MIN_HEIGHT))
