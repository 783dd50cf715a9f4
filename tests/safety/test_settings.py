"""Settings are values: nobody changes them under a running supervisor, and a misspelt name is an error."""

from __future__ import annotations

import dataclasses

import pytest

from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.extremes import ExtremesSettings
from x2c_edge.safety.settings import SupervisorSettings, ns
from x2c_edge.safety.smoothing import OneEuroSettings, SmoothingSettings
from x2c_edge.safety.supervisor import Counters


@pytest.mark.parametrize(
    "value",
    [
        Envelope(),
        ExtremesSettings(1.0, 5.0),
        OneEuroSettings(1.0, 1.0),
        SmoothingSettings(),
        SupervisorSettings(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_setting_does_not_change(value: object) -> None:
    name = dataclasses.fields(value)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, getattr(value, name))
    assert not hasattr(value, "__dict__")


def test_counters_count_what_they_name_and_nothing_else() -> None:
    assert not hasattr(Counters(), "__dict__")
    counts = {f.name: getattr(Counters(), f.name) for f in dataclasses.fields(Counters)}
    assert {name for name, count in counts.items() if not isinstance(count, int)} == {"entries", "travel"}
    assert not any(count for count in counts.values() if isinstance(count, int))


def test_the_numbers_are_those_of_the_specification() -> None:
    """docs/spec/program.md section 7 and docs/spec/safety.md; smoothing is tuned elsewhere."""
    assert dataclasses.asdict(SupervisorSettings()) == {
        "hold_after": 0.15,
        "neutral_after": 1.5,
        "face_lost_hold": 0.3,
        "ease": 1.0,
        "blend": 0.3,
        "soft_start": 0.6,
        "replace_at_most": 3,
        "replace_for": 0.2,
        "nonfinite_fault": 1.0,
        "link_errors": 5,
        "link_errors_within": 2.0,
        "dead_band_deg": 0.3,
        "lids_closed_below": 0.05,
        "lids_closed_longest": 1.5,
        "extremes_allowed": 1.0,
        "extremes_kept": 5.0,
    }


def test_a_second_has_a_thousand_million_nanoseconds() -> None:
    assert (ns(0.15), ns(1.5), ns(1000.0)) == (150_000_000, 1_500_000_000, 10**12)
