"""Ticks and arrivals on a made-up clock."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.runtime.tick import STRETCH, TickClock

MS = 1_000_000
PERIOD = round(1e9 / 60)


def run(
    arrivals: list[int], late=lambda k: 0, period: int = PERIOD
) -> tuple[list[int], list[int], TickClock]:
    """Deadlines and waits (ns) when expressions arrive at these times. late: of the k-th tick, ns."""
    clock = TickClock(period, 0)
    dues, waits, pending, now = [], [], list(arrivals), 0
    while pending:
        now = max(now, clock.due_ns) + late(len(dues))
        dues.append(clock.due_ns)
        before = len(pending)
        while pending and pending[0] <= now:
            clock.arrived(pending.pop(0))
        if len(pending) < before:
            waited = clock.taken(now)
            assert waited is not None
            waits.append(waited)
        clock.advance(now)
    return dues, waits, clock


def camera(fps: float, seconds: float, jitter_ms: float = 0.5, first_ms: float = 7.0) -> list[int]:
    rng = random.Random(1)
    times = [
        first_ms * MS + k * 1e9 / fps + rng.gauss(0, jitter_ms * MS) for k in range(round(seconds * fps))
    ]
    return sorted(max(round(t), 0) for t in times)


def steady(values: list[int]) -> list[int]:
    return values[len(values) // 3 :]


@pytest.mark.parametrize("fps", [30.0, 29.97, 60.0, 20.0, 15.0])
@pytest.mark.parametrize("first_ms", [0.0, 5.0, 9.0, 16.0])
def test_a_tick_follows_an_expression_by_about_two_milliseconds(fps: float, first_ms: float):
    _, waits, clock = run(camera(fps, 12, first_ms=first_ms))
    assert sum(steady(waits)) / len(steady(waits)) < 3 * MS
    assert clock.wait_ns < 8 * MS


@pytest.mark.parametrize("fps", [25.0, 24.0, 27.0])
def test_without_a_common_phase_it_is_no_worse_than_chance(fps: float):
    _, waits, _ = run(camera(fps, 30))
    assert sum(steady(waits)) / len(steady(waits)) < 0.55 * PERIOD


def test_arrivals_that_tremble_are_waited_for():
    _, waits, _ = run(camera(30.0, 30, jitter_ms=2.0))
    assert sum(steady(waits)) / len(steady(waits)) < 0.4 * PERIOD


@given(
    st.lists(st.integers(0, 200 * MS), min_size=1, max_size=80),
    st.lists(st.one_of(st.just(0), st.integers(0, 3 * MS), st.integers(0, 90 * MS)), min_size=1, max_size=20),
    st.sampled_from([1, 30, 60, 120]),
)
def test_periods_stay_within_five_percent_and_nothing_bursts(gaps, lates, rate: int):
    """Whatever arrives, however late a tick runs: deadlines are a period apart, or whole periods left out."""
    period = round(1e9 / rate)
    arrivals = [sum(gaps[: k + 1]) for k in range(len(gaps))]
    dues, _, _ = run(arrivals, lambda k: lates[k % len(lates)], period)
    for before, after in pairwise(dues):
        apart = (after - before) / period
        assert apart >= 1 - STRETCH - 1e-6
        assert apart - round(apart) <= STRETCH + 1e-6 if apart < 1.5 else True


def test_a_late_tick_does_not_move_the_next_ones():
    dues, _, _ = run([20 * 1000 * MS], late=lambda k: 5 * MS if k == 10 else 0)
    assert all(after - before == PERIOD for before, after in pairwise(dues))


def test_a_very_late_tick_leaves_deadlines_out():
    dues, _, _ = run([1000 * MS], late=lambda k: 4 * PERIOD + 1 if k == 10 else 0)
    gaps = [after - before for before, after in pairwise(dues)]
    assert sorted(set(gaps)) == [PERIOD, 4 * PERIOD]


def test_without_expressions_the_period_is_the_rates_own():
    clock = TickClock(PERIOD, 0)
    assert clock.taken(5) is None
    assert clock.wait_ns == PERIOD
    for at in camera(30.0, 1):
        clock.arrived(at)
    for _ in range(60):
        clock.advance(clock.due_ns)
    before = clock.due_ns
    clock.advance(10_000 * MS)  # long after the last one
    assert (clock.due_ns - before) % PERIOD == 0
