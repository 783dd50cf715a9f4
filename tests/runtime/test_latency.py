from __future__ import annotations

import json
import threading
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.errors import NotFoundError
from x2c_edge.runtime.latency import Histogram, LatencyBook
from x2c_edge.runtime.latency_plot import draw_latency, write_latency_plot

MS = 1_000_000
durations = st.integers(min_value=1_000, max_value=100_000_000_000)
# Spread over the decades, as durations are.
spread = st.floats(min_value=3.0, max_value=11.0).map(lambda power: int(10**power))


def filled(values):
    histogram = Histogram()
    for value in values:
        histogram.add(int(value))
    return histogram


@given(st.lists(st.one_of(durations, spread), min_size=1, max_size=300), st.floats(0, 100))
def test_percentiles_are_within_one_percent_of_numpys(values, q):
    # Where q falls exactly between two samples, rounding may pick either.
    array = np.array(values, dtype=np.float64)
    low, high = (
        np.percentile(array, np.clip(q + nudge, 0, 100), method="inverted_cdf") for nudge in (-1e-9, 1e-9)
    )
    assert low * 0.99 <= filled(values).percentile(q) <= high * 1.01


@pytest.mark.parametrize("scale_ms", [0.02, 3.0, 400.0])
def test_percentiles_of_a_long_run_are_within_one_percent(scale_ms):
    values = np.random.default_rng(7).lognormal(0, 0.4, 50_000) * scale_ms * MS
    histogram = filled(values)
    for q in (0, 1, 50, 90, 95, 99, 99.9, 100):
        assert histogram.percentile(q) == pytest.approx(np.percentile(values.astype(int), q), rel=0.01)
    assert histogram.count == len(values)
    assert histogram.max_ns == int(values.max())
    assert histogram.mean_ns == pytest.approx(values.astype(int).mean(), rel=1e-12)


@given(st.lists(durations, max_size=60), st.lists(durations, max_size=60))
def test_merged_is_the_same_as_added_together(first, second):
    merged, together = filled(first), filled(first + second)
    merged.merge(filled(second))
    for q in (0, 10, 50, 99, 100):
        assert merged.percentile(q) == together.percentile(q)
    assert (merged.count, merged.max_ns, merged.mean_ns) == (
        together.count,
        together.max_ns,
        together.mean_ns,
    )


@given(durations)
def test_one_value_is_every_percentile(value):
    histogram = filled([value])
    assert histogram.percentile(0) == histogram.percentile(100)
    assert histogram.percentile(50) == pytest.approx(value, rel=0.01)
    assert histogram.percentile(50) <= histogram.max_ns


@given(st.lists(spread, min_size=1, max_size=100))
def test_percentiles_grow_with_q(values):
    found = filled(values).percentiles(0, 1, 25, 50, 75, 99, 100)
    assert found == sorted(found)


def test_empty_histogram_is_all_zeros():
    histogram = Histogram()
    assert (histogram.count, histogram.max_ns, histogram.mean_ns, histogram.percentile(99)) == (0, 0, 0, 0)


def test_out_of_range_durations_are_counted_at_the_ends():
    histogram = filled([-5, 0, 3, 10**15])
    assert histogram.count == 4
    assert histogram.percentile(50) <= 16
    assert histogram.percentile(100) == pytest.approx(100e9, rel=0.02)
    assert histogram.max_ns == 10**15


def test_cumulative_counts_what_is_below_each_edge():
    values = np.random.default_rng(3).integers(1_000, 50 * MS, 2_000)
    edges, below = filled(values).cumulative()
    assert edges.shape == below.shape
    assert (np.diff(edges) > 0).all()
    # From 1 us up no bucket is wider than 1/64 of its low end.
    wide = edges[:-1] >= 1_000
    assert (np.diff(edges)[wide] <= edges[:-1][wide] / 62).all()
    for k in (100, 500, 900, len(edges) - 1):
        assert below[k] == (values < edges[k]).sum()


def test_memory_is_constant():
    book = LatencyBook(["a", "b"])
    values = [int(v) for v in np.random.default_rng(0).lognormal(0, 3, 2_000) * MS]

    def work():
        for value in values:
            book.stages["a"].add(value)
            book.capture_to_wire.add(value)
            book.note_gear("single-stage", value)

    work()
    tracemalloc.start()
    try:
        work()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            work()
        assert tracemalloc.get_traced_memory()[0] - before < 2_000
    finally:
        tracemalloc.stop()


def test_reader_beside_a_writer_sees_a_whole_distribution():
    histogram = Histogram()
    stop = threading.Event()

    def write():
        while not stop.is_set():
            histogram.add(5 * MS)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = []
        for _ in range(300):
            counts.append(histogram.count)
            p50 = histogram.percentile(50)
            assert p50 == 0 or p50 == pytest.approx(5 * MS, rel=0.01)
    finally:
        stop.set()
        writer.join()
    assert counts == sorted(counts)


def a_book():
    book = LatencyBook(["locate", "crop", "net"])
    for i in range(1, 101):
        book.stages["locate"].add(i * 1_000)
        book.stages["crop"].add(300_000)
        book.stages["net"].add(8 * MS + i * 1_000)
        book.capture_to_controls.add(10 * MS)
        book.capture_to_wire.add(20 * MS + i * 50_000)
    book.misses, book.skips = 3, 4
    return book


def test_book_names_what_dominates():
    assert LatencyBook(["net"]).dominant() is None
    stage, share = a_book().dominant()
    assert stage == "net"
    assert share == pytest.approx(8.05 / (8.05 + 0.3 + 0.05), rel=0.01)


def test_book_as_json_holds_everything_in_milliseconds():
    book = a_book()
    book.note_gear("two-stage", 1_000 * MS)
    book.note_gear("single-stage", 3_000 * MS)
    book.note_gear("single-stage", 3_500 * MS)
    book.note_gear("two-stage", 4_000 * MS)
    data = json.loads(json.dumps(book.to_dict()))
    assert list(data["stages"]) == ["locate", "crop", "net"]
    assert set(data["stages"]["net"]) == {"count", "p50", "p95", "p99", "max", "mean"}
    assert data["stages"]["net"]["count"] == 100
    assert data["stages"]["net"]["max"] == 8.1
    assert data["end_to_end"]["capture_to_controls"]["p99"] == pytest.approx(10, rel=0.01)
    assert data["end_to_end"]["capture_to_wire"]["p95"] == pytest.approx(24.75, rel=0.01)
    assert data["tick_jitter"]["count"] == data["overhead"]["count"] == 0
    assert (data["misses"], data["skips"]) == (3, 4)
    assert data["gear_seconds"] == {"two-stage": 2.0, "single-stage": 1.0}
    assert data["dominant"]["stage"] == "net"


def test_gear_clock_that_goes_back_takes_nothing_away():
    book = LatencyBook()
    for t in (10, 20, 5, 15):
        book.note_gear("hold", t * 1_000 * MS)
    assert book.gear_seconds == {"hold": 20.0}


def test_rows_come_in_the_order_of_the_journey_and_new_stages_last():
    book = a_book()
    book.stage("extra").add(MS)
    assert book.stage("extra") is book.stages["extra"]
    assert book.stage("net").count == 100
    assert [row.name for row in book.rows()] == [
        "locate", "crop", "net", "extra", "capture_to_controls", "capture_to_wire", "tick_jitter",
        "tick_wait", "overhead",
    ]  # fmt: skip


BUDGET_COLOUR = (0, 94, 213)
P50_COLOUR = (178, 114, 0)
DISTRIBUTION_COLOUR = (233, 180, 86)


def columns(image, colour, rows):
    return np.flatnonzero((image[rows] == colour).all(axis=2).sum(axis=0) > 100)


def test_plot_draws_bars_in_proportion_and_the_budget_where_the_axis_says():
    image = draw_latency(a_book(), budget_ms=50, title="test")
    assert image.shape == (900, 1400, 3)
    budget = columns(image, BUDGET_COLOUR, slice(165, 480))
    assert len(budget) in (1, 2)
    unit = (budget.mean() + 0.5 - 230) / 50  # pixels per millisecond
    lengths = []
    for y in range(165, 480):
        run = np.flatnonzero((image[y] == P50_COLOUR).all(axis=1))
        if len(run) and (not lengths or abs(lengths[-1] - run.max() - 1) > 3):
            lengths.append(run.max() + 1)
    expected = [230 + unit * ms for ms in (0.3, 8.05, 10, 22.5)]
    # The first stage, 0.05 ms, is the thinnest line there is.
    assert lengths[-4:] == pytest.approx(expected, abs=3)


def test_plot_places_the_distribution_beside_the_budget():
    book = LatencyBook(["net"])
    for i in range(1_000):
        book.capture_to_wire.add((20 + i % 10) * MS)
    image = draw_latency(book, budget_ms=50, title="test")
    budget = columns(image, BUDGET_COLOUR, slice(640, 825))
    bars = np.flatnonzero((image[820] == DISTRIBUTION_COLOUR).all(axis=1))
    # Logarithmic from 20 / 1.1 to 50 * 1.15 across 230..1350.
    scale = 1120 / np.log(50 * 1.15 / (20 / 1.1))
    assert budget.mean() + 0.5 == pytest.approx(1350 - scale * np.log(1.15), abs=8)
    assert bars.min() == pytest.approx(230 + scale * np.log(1.1), abs=25)
    assert bars.max() == pytest.approx(230 + scale * np.log(29 * 1.1 / 20), abs=25)


def test_plot_shows_capture_to_controls_where_nothing_was_on_a_wire():
    fast = LatencyBook(["net"])
    fast.capture_to_controls.add(12 * MS)
    image = draw_latency(fast, budget_ms=50, title="test")
    assert (image[640:825] == DISTRIBUTION_COLOUR).all(axis=2).any()
    empty = draw_latency(LatencyBook(), budget_ms=50, title="test")
    assert not (empty[640:825] == DISTRIBUTION_COLOUR).all(axis=2).any()


@pytest.mark.parametrize("worst_ns", [900, 49_999_999, 90_000_000_000])
def test_plot_copes_with_extremes_and_many_stages(worst_ns):
    book = LatencyBook([f"stage_{i}" for i in range(30)])
    for histogram in book.stages.values():
        histogram.add(worst_ns)
    book.capture_to_wire.add(worst_ns)
    book.capture_to_wire.add(1_000)
    image = draw_latency(book, budget_ms=50, title="a title that is far too long for the sheet " * 9)
    assert (image[640:825] == DISTRIBUTION_COLOUR).all(axis=2).any()


def test_plot_file_is_a_png_and_an_unwritable_place_one_clear_line(tmp_path):
    path = tmp_path / "latency.png"
    write_latency_plot(path, a_book(), budget_ms=50, title="test")
    assert np.array_equal(cv2.imread(str(path)), draw_latency(a_book(), budget_ms=50, title="test"))
    with pytest.raises(NotFoundError) as caught:
        write_latency_plot(tmp_path / "no" / "latency.png", a_book(), budget_ms=50, title="test")
    assert "latency.png" in str(caught.value)
    assert "\n" not in str(caught.value)
