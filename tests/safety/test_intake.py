import math

import numpy as np
import pytest

from x2c_edge.controls import INDEX, NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.frames import Expression
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.intake import Intake
from x2c_edge.safety.settings import SupervisorSettings, ns
from x2c_edge.safety.smoothing import SmoothingSettings

FRAME = 33_333_333
PHI, YAW = INDEX["Gaze Target Phi"], INDEX["Head Yaw"]
LIDS = [INDEX["Eyelid Upper Left"], INDEX["Eyelid Upper Right"]]


@pytest.fixture
def intake():
    return Intake(SupervisorSettings(), Envelope(), SmoothingSettings())


def take(intake, values, now, captured=None, presence=1.0):
    captured = now if captured is None else captured
    expression = Expression(1, captured, "test", np.asarray(values), presence, np.zeros((0, 2)))
    return intake.take(expression, now)


def with_nan(*indices):
    values = NEUTRAL.copy()
    values[list(indices)] = math.nan
    return values


@pytest.mark.parametrize("huge", [1e308, -1e308, 5.0])
def test_out_of_range_is_clamped_before_it_is_smoothed(intake, huge):
    assert take(intake, np.full(30, huge), 0) == "used"
    assert intake.clamped
    assert np.array_equal(intake.target[:8], (SAFE_HIGH if huge > 0 else SAFE_LOW)[:8])


def test_three_bad_values_are_replaced_by_the_last_good_ones(intake):
    good = NEUTRAL.copy()
    good[0:3] = 0.8
    take(intake, good, 0)
    assert take(intake, with_nan(0, 1, 2), FRAME) == "used"
    assert intake.replaced
    assert (intake.target[0:3] == 0.8).all()
    assert take(intake, good, 2 * FRAME) == "used"
    assert not intake.replaced


def test_four_bad_values_are_unusable(intake):
    assert take(intake, with_nan(0, 1, 2, 3), 0) == "unusable"
    assert intake.newest is None


def test_one_bad_value_is_unusable_after_200_ms(intake):
    verdicts = [take(intake, with_nan(5), k * FRAME) for k in range(9)]
    assert verdicts == ["used"] * 7 + ["unusable"] * 2


def test_bad_values_far_apart_are_no_stream(intake):
    assert [take(intake, with_nan(5), k * 600_000_000) for k in range(5)] == ["used"] * 5


@pytest.mark.parametrize("values", [np.zeros(29), np.zeros((1, 30)), np.zeros(0)])
def test_the_wrong_shape_is_unusable(intake, values):
    assert take(intake, values, 0) == "unusable"


def test_presence_that_is_no_number_is_unusable(intake):
    assert take(intake, NEUTRAL, 0, presence=math.nan) == "unusable"


def test_an_older_expression_is_late(intake):
    take(intake, NEUTRAL, 2 * FRAME)
    assert take(intake, NEUTRAL + 0.1, 2 * FRAME, captured=FRAME) == "late"
    assert np.array_equal(intake.target, NEUTRAL)


def test_a_source_whose_clock_restarted_is_believed_once_the_old_is_worthless(intake):
    take(intake, NEUTRAL, 10_000_000_000)
    assert take(intake, NEUTRAL, 11_000_000_000, captured=0) == "late"
    assert take(intake, NEUTRAL, 11_600_000_000, captured=0) == "used"


def test_capture_times_of_the_future_count_as_now(intake):
    take(intake, NEUTRAL, FRAME, captured=10**18)
    assert intake.t_capture_ns == FRAME


def test_gaze_stays_while_both_upper_lids_are_closed(intake):
    looking = NEUTRAL.copy()
    looking[PHI] = 0.4
    for k in range(10):
        take(intake, looking, k * FRAME)
    asleep = NEUTRAL.copy()
    asleep[LIDS], asleep[PHI] = 0.0, -1.5
    for k in range(10, 40):
        take(intake, asleep, k * FRAME)
    assert intake.target[PHI] == pytest.approx(0.4)
    one_open = asleep.copy()
    one_open[LIDS[0]] = 0.6
    for k in range(40, 70):
        take(intake, one_open, k * FRAME)
    assert intake.target[PHI] == pytest.approx(-1.5, abs=0.01)


def test_head_has_a_dead_band_and_follows_beyond_it(intake):
    take(intake, NEUTRAL, 0)
    track = []
    for k in range(1, 90):
        pose = NEUTRAL.copy()
        pose[YAW] = math.radians(0.25) * math.sin(k / 3)
        take(intake, pose, k * FRAME)
        track.append(intake.target[YAW])
    assert np.ptp(track) == 0.0
    for k in range(90, 240):
        pose = NEUTRAL.copy()
        pose[YAW] = math.radians(10)
        take(intake, pose, k * FRAME)
    assert math.degrees(intake.target[YAW]) == pytest.approx(9.7, abs=0.02)


def test_after_forgetting_the_next_pose_is_the_first(intake):
    """Neither the filter nor what stands in for a NaN remembers the driver's former neutral."""
    take(intake, NEUTRAL + 0.1, 0)
    intake.forget()
    pose = NEUTRAL - 0.1
    pose[:2] = math.nan
    assert take(intake, pose, FRAME) == "used"
    assert np.array_equal(intake.target[:2], NEUTRAL[:2])
    assert np.array_equal(intake.target[2:8], pose[2:8])


def test_a_restarted_source_is_not_smoothed_into_the_old(intake):
    take(intake, NEUTRAL + 0.1, 10_000_000_000)
    assert take(intake, NEUTRAL - 0.1, 12_000_000_000, captured=0) == "used"
    assert np.array_equal(intake.target[:8], np.clip(NEUTRAL - 0.1, SAFE_LOW, SAFE_HIGH)[:8])


def test_a_source_restarts_after_neutral_after_and_no_sooner():
    limit = ns(SupervisorSettings().neutral_after)
    for late_ns, verdict in ((0, "late"), (1, "used")):
        intake = Intake(SupervisorSettings(), Envelope(), SmoothingSettings())
        take(intake, NEUTRAL, FRAME)
        assert take(intake, NEUTRAL, FRAME + limit + late_ns, captured=0) == verdict


def test_the_same_picture_again_is_no_late_one(intake):
    take(intake, NEUTRAL, FRAME)
    assert take(intake, NEUTRAL, 2 * FRAME, captured=FRAME) == "used"


def test_a_capture_time_before_the_clock_began_counts_as_its_beginning(intake):
    assert take(intake, NEUTRAL, FRAME, captured=-5) == "used"
    assert intake.t_capture_ns == 0


def test_a_good_expression_ends_a_bad_stream(intake):
    limit = ns(SupervisorSettings().replace_for)
    take(intake, with_nan(5), 0)
    assert intake.bad_since_ns == 0
    assert take(intake, NEUTRAL, limit // 2) == "used"
    assert intake.bad_since_ns is None
    assert take(intake, with_nan(5), limit + 1) == "used"
    assert take(intake, with_nan(5), 2 * limit + 1) == "used"
    assert take(intake, with_nan(5), 2 * limit + 2) == "unusable"


def test_bad_values_half_a_second_apart_are_still_one_stream(intake):
    """At the gap it is the same stream, so the second is past ``replace_for``; beyond it a new one."""
    take(intake, with_nan(5), 0)
    assert take(intake, with_nan(5), ns(0.5)) == "unusable"
    assert take(intake, with_nan(5), 2 * ns(0.5) + 1) == "used"


def test_forgiving_starts_the_clock_of_bad_values_anew(intake):
    limit = ns(SupervisorSettings().replace_for)
    take(intake, with_nan(5), 0)
    intake.forgive()
    assert take(intake, with_nan(5), limit + 1) == "used"


def test_forgetting_forgives(intake):
    take(intake, with_nan(5), 0)
    intake.forget()
    assert take(intake, with_nan(5), ns(SupervisorSettings().replace_for) + 1) == "used"


def test_one_value_that_is_stood_in_for_is_said(intake):
    take(intake, with_nan(5), 0)
    assert intake.replaced


def test_what_is_in_range_is_not_called_clamped(intake):
    assert (intake.clamped, intake.replaced, intake.newest, intake.t_capture_ns) == (False, False, None, 0)
    take(intake, NEUTRAL, 0)
    assert not intake.clamped
    assert not intake.replaced
