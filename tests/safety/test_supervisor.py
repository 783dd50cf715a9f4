"""Every row of the table of states in docs/safety.md, and the rules that need the whole supervisor."""

import math
from itertools import pairwise

import numpy as np
import pytest

from x2c_edge.controls import GROUPS, INDEX, NEUTRAL, SLEW
from x2c_edge.errors import BadArgumentError
from x2c_edge.frames import Flag
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.settings import SupervisorSettings, ns
from x2c_edge.safety.smoothing import OneEuroSettings, SmoothingSettings

BROW = INDEX["Brow Inner Left"]
JAW, PHI = INDEX["Jaw Pitch"], INDEX["Gaze Target Phi"]
LIDS = [INDEX["Eyelid Upper Left"], INDEX["Eyelid Upper Right"]]
RAISED = {"Brow_Inner_Left": 0.9, "Head_Yaw": 0.2}


def states(commands):
    return list(dict.fromkeys(c.state for c in commands))


def at_neutral(command):
    return np.abs(command.values - NEUTRAL).max() < 1e-9


def following(drive, **arguments):
    """A driver that has followed a raised brow for a second."""
    driver = drive(**arguments).ready()
    driver.run(1.0, driver.pose(**RAISED))
    assert driver.supervisor.state == "FOLLOWING"
    return driver


# --- STARTING and NEUTRAL ---------------------------------------------------------------------------


def test_starting_sends_nothing(drive):
    driver = drive()
    driver.supervisor.reference_ready(driver.now)
    assert driver.run(1.0, driver.pose(**RAISED)) == []
    assert driver.supervisor.state == "STARTING"


def test_first_command_is_neutral_whatever_is_offered(drive):
    driver = drive().ready()
    first, second, *_ = driver.run(0.5, driver.pose(**RAISED))
    assert np.array_equal(first.values, NEUTRAL)
    assert (first.seq, second.seq) == (0, 1)


def test_neutral_until_there_is_a_reference(drive):
    driver = drive()
    driver.supervisor.link_up(driver.now)
    commands = driver.run(1.0, driver.pose(**RAISED))
    assert states(commands) == ["NEUTRAL"]
    assert all(at_neutral(c) and c.flags == Flag.NEUTRAL and c.frame_seq is None for c in commands)


def test_recalibrating_eases_to_neutral_and_forgets_what_was_seen(drive):
    driver = following(drive)
    driver.supervisor.reference_lost()
    commands = driver.run(1.2, driver.pose(**RAISED))
    assert states(commands) == ["NEUTRAL"]
    assert at_neutral(commands[-1])
    driver.supervisor.reference_ready(driver.now)
    assert states(driver.run(0.1)) == ["NEUTRAL"]
    assert states(driver.run(0.1, driver.pose())) == ["FOLLOWING"]


def test_a_new_neutral_forgets_that_the_face_was_lost(drive):
    driver = following(drive)
    driver.supervisor.face_lost(driver.now)
    driver.tick()
    driver.supervisor.reference_lost()
    driver.supervisor.reference_ready(driver.now)
    command = driver.tick()
    assert (command.state, driver.supervisor.reason) == ("NEUTRAL", "no expression yet")
    assert not command.flags & Flag.FACE_LOST


def test_a_face_lost_before_the_first_expression_is_said(drive):
    driver = drive().ready()
    driver.supervisor.face_lost(driver.now)
    command = driver.tick()
    assert (command.state, driver.supervisor.reason) == ("NEUTRAL", "face lost")
    assert command.flags & Flag.FACE_LOST


# --- FOLLOWING --------------------------------------------------------------------------------------


def test_following_reaches_the_pose_and_names_its_expression(drive):
    driver = drive().ready()
    last = driver.run(1.0, driver.pose(**RAISED))[-1]
    assert last.values[BROW] == pytest.approx(0.9, abs=1e-3)
    assert (last.state, last.flags, last.pipeline, last.frame_seq) == ("FOLLOWING", 0, "test", driver.frame)
    assert last.t_capture_ns is not None
    assert driver.supervisor.reason == ""
    assert driver.supervisor.last_command is last


def test_soft_start_takes_600_ms(drive):
    driver = drive().ready()
    track = np.array([c.values[BROW] for c in driver.run(0.8, driver.pose(Brow_Inner_Left=0.9))])
    assert np.abs(np.diff(track)).max() < 1.6 * 0.4 / 0.6 / 60
    assert track[17] == pytest.approx(0.7, abs=0.02)
    assert track[38:] == pytest.approx(0.9, abs=1e-3)


def test_out_of_range_and_too_fast_are_flagged_and_counted(drive):
    driver = following(drive)
    commands = driver.run(0.1, np.full(30, 1e308))
    assert all(c.flags & Flag.CLAMPED for c in commands)
    assert commands[0].flags & Flag.SLEWED
    step = (commands[1].t_send_ns - commands[0].t_send_ns) * 1e-9 * SLEW
    assert (np.abs(commands[1].values - commands[0].values) <= step + 1e-12).all()
    assert driver.supervisor.counters.clamped == 3
    assert driver.supervisor.counters.slewed >= 1


def test_a_narrowed_envelope_holds(drive):
    driver = drive(envelope=Envelope().narrowed("Brow Inner Left", high=0.6, slew=0.5)).ready()
    values = np.array([c.values[BROW] for c in driver.run(2.0, driver.pose(Brow_Inner_Left=1.0))])
    assert values.max() == pytest.approx(0.6)
    assert np.diff(values).max() <= 0.5 / 60 + 1e-9


def test_rest_does_not_tremble_and_a_blink_gets_through(drive):
    driver = drive().ready()
    rng = np.random.default_rng(3)
    still = driver.run(4.0, lambda _: NEUTRAL + rng.normal(0, 0.025, 30))
    assert np.array([c.values for c in still[-60:]]).std(axis=0).max() <= 0.02
    closed = driver.pose(Eyelid_Upper_Left=0.0, Eyelid_Upper_Right=0.0)
    blink = driver.run(0.1, closed) + driver.run(0.2, NEUTRAL)
    assert min(c.values[LIDS[0]] for c in blink) <= 0.15


def test_three_nans_are_replaced_and_flagged(drive):
    driver = following(drive)
    values = driver.pose(**RAISED)
    values[:3] = math.nan
    driver.offer(values)
    command = driver.tick()
    assert command.state == "FOLLOWING"
    assert command.flags & Flag.DEGRADED
    assert command.values[BROW] == pytest.approx(0.9, abs=1e-3)
    assert driver.supervisor.counters.replaced == 1


def test_commanded_gaze_waits_behind_closed_lids_for_a_slow_gaze(drive):
    """Gaze still on its way when the lids have closed stays there, and goes on when they open."""
    driver = following(drive, envelope=Envelope().narrowed("Gaze Target Phi", slew=0.2))
    driver.run(1.0, driver.pose(Gaze_Target_Phi=1.0))
    blink = {"Eyelid_Upper_Left": -0.2, "Eyelid_Upper_Right": -0.2, "Gaze_Target_Phi": 1.0}
    commands = driver.run(1.0, driver.pose(**blink))
    closed = [c.values[PHI] for c in commands if (c.values[LIDS] <= 0.05).all()]
    assert len(closed) > 30
    assert 0 < closed[0] < 1
    assert np.ptp(closed) == 0.0
    assert driver.run(1.0, driver.pose(Gaze_Target_Phi=1.0))[-1].values[PHI] > closed[0] + 0.1


# --- HOLDING ----------------------------------------------------------------------------------------


def test_holding_after_150_ms_keeps_the_pose(drive):
    driver = following(drive)
    before = driver.supervisor.last_command
    commands = driver.run(1.2)
    since = driver.now - before.t_capture_ns
    assert since < 1_500_000_000
    held = [c for c in commands if c.state == "HOLDING"]
    assert states(commands) == ["FOLLOWING", "HOLDING"]
    assert held[0].t_send_ns - before.t_capture_ns == pytest.approx(0.15e9, abs=0.02e9)
    assert all(np.array_equal(c.values, held[0].values) for c in held)
    assert all(c.flags == Flag.HOLD | Flag.DEGRADED for c in held)
    assert all(c.frame_seq == driver.frame for c in held)


def at_age(driver, age_ns):
    """The state when the newest expression is exactly that old."""
    driver.offer(driver.pose(**RAISED))
    driver.now += age_ns
    return driver.supervisor.tick(driver.now).state


@pytest.mark.parametrize("after", ["hold_after", "neutral_after"])
def test_an_age_on_the_limit_is_within_it(drive, after):
    limit = ns(getattr(SupervisorSettings(), after))
    within, beyond = ("FOLLOWING", "HOLDING") if after == "hold_after" else ("HOLDING", "RETURNING")
    assert at_age(following(drive), limit) == within
    assert at_age(following(drive), limit + 1) == beyond


def test_a_lost_face_is_held_for_less_than_the_limit(drive):
    limit = ns(SupervisorSettings().face_lost_hold)
    for late_ns, state in ((-1, "HOLDING"), (0, "RETURNING")):
        driver = following(drive)
        driver.supervisor.face_lost(driver.now)
        assert driver.supervisor.tick(driver.now + limit + late_ns).state == state


def test_age_counts_from_capture(drive):
    driver = following(drive)
    driver.run(0.4)
    for _ in range(6):
        driver.offer(driver.pose(**RAISED), age_s=0.2)
        command = driver.tick()
        assert (command.state, command.frame_seq) == ("HOLDING", driver.frame)
    driver.offer(driver.pose(**RAISED), age_s=0.1)
    assert driver.tick().state == "FOLLOWING"


def test_a_short_hold_needs_a_short_way_back(drive):
    driver = following(drive)
    driver.run(0.2)
    assert driver.supervisor.state == "HOLDING"
    commands = driver.run(0.3, driver.pose(Brow_Inner_Left=0.6))
    assert states(commands) == ["FOLLOWING"]
    assert commands[-1].values[BROW] == pytest.approx(0.6, abs=0.01)


AS_SEEN = SmoothingSettings(**{group: OneEuroSettings(1e6, 0.0) for group in GROUPS})


@pytest.mark.parametrize("held_s", [0.1, 0.2, 1.0])
def test_the_way_back_from_a_hold_is_as_long_as_the_hold_and_at_most_the_blend(drive, held_s):
    driver = following(drive, smoothing=AS_SEEN)
    held = [c for c in driver.run(held_s + SupervisorSettings().hold_after) if c.state == "HOLDING"]
    commands = [driver.follow(driver.pose(Brow_Inner_Left=0.6)) for _ in range(30)]
    lasts = min((commands[0].t_send_ns - held[0].t_send_ns) * 1e-9, SupervisorSettings().blend)
    for command in commands:
        u = min((command.t_send_ns - commands[0].t_send_ns) * 1e-9 / lasts, 1.0)
        assert command.values[BROW] == pytest.approx(0.9 - 0.3 * u * u * (3 - 2 * u), abs=1e-4)


def test_a_hold_stops_a_motion_on_its_way(drive):
    driver = following(drive, envelope=Envelope().narrowed("Brow Inner Left", slew=0.2))
    held = [c.values[BROW] for c in driver.run(1.0) if c.state == "HOLDING"]
    assert held[0] < 0.8
    assert np.ptp(held) == 0.0


def test_an_interrupted_soft_start_is_still_owed(drive):
    driver = drive().ready()
    driver.run(0.1, driver.pose(Brow_Inner_Left=0.9))
    driver.run(0.17)
    assert driver.supervisor.state == "HOLDING"
    track = [c.values[BROW] for c in driver.run(0.8, driver.pose(Brow_Inner_Left=0.9))]
    assert track[9] < 0.8
    assert track[-1] == pytest.approx(0.9, abs=1e-3)


# --- RETURNING --------------------------------------------------------------------------------------


def test_returning_when_older_than_neutral_after(drive):
    driver = following(drive)
    captured = driver.supervisor.last_command.t_capture_ns
    commands = driver.run(3.0)
    assert states(commands) == ["FOLLOWING", "HOLDING", "RETURNING"]
    returning = [c for c in commands if c.state == "RETURNING"]
    assert returning[0].t_send_ns - captured == pytest.approx(1.5e9, abs=0.02e9)
    assert all(c.flags == Flag.NEUTRAL and c.frame_seq is None for c in returning)
    arrived = next(c for c in returning if at_neutral(c))
    assert arrived.t_send_ns - returning[0].t_send_ns == pytest.approx(1e9, abs=0.02e9)


def test_a_lost_face_is_held_300_ms_and_then_left_within_a_second(drive):
    driver = following(drive)
    lost_at = driver.now
    commands = []
    for _ in range(90):
        driver.supervisor.face_lost(driver.now)
        commands.append(driver.tick())
    assert states(commands) == ["HOLDING", "RETURNING"]
    held = [c for c in commands if c.state == "HOLDING"]
    returning = [c for c in commands if c.state == "RETURNING"]
    assert all(c.flags == Flag.HOLD | Flag.FACE_LOST for c in held)
    assert all(c.flags == Flag.NEUTRAL | Flag.FACE_LOST for c in returning)
    assert returning[0].t_send_ns - lost_at == pytest.approx(0.3e9, abs=0.02e9)
    assert at_neutral(commands[-1])
    assert driver.supervisor.reason == "face lost"


def test_a_face_that_comes_back_is_blended_in_over_300_ms(drive):
    driver = following(drive)
    driver.supervisor.face_lost(driver.now)
    driver.run(1.5)
    track = [c.values[BROW] for c in driver.run(0.5, driver.pose(Brow_Inner_Left=0.9))]
    assert track[5] < 0.62
    assert track[19:] == pytest.approx([0.9] * len(track[19:]), abs=1e-3)


def test_operator_stop_holds_at_once_then_eases_and_stays(drive):
    driver = following(drive)
    driver.supervisor.operator_stop(driver.now)
    commands = driver.run(2.0, driver.pose(**RAISED))
    assert states(commands) == ["RETURNING"]
    assert commands[0].flags == Flag.HOLD
    assert all(c.flags == Flag.NEUTRAL for c in commands[1:])
    assert at_neutral(commands[-1])
    assert driver.supervisor.reason == "operator stop"
    driver.supervisor.operator_resume(driver.now)
    track = [c.values[BROW] for c in driver.run(0.8, driver.pose(**RAISED))]
    assert track[18] == pytest.approx(0.7, abs=0.03)  # soft start
    assert driver.supervisor.state == "FOLLOWING"


@pytest.mark.parametrize("lost", [True, False])
def test_a_pose_that_was_left_is_not_held_again(drive, lost):
    """After an operator stop the face is on its way to rest: an old expression does not halt it there."""
    driver = following(drive)
    driver.supervisor.operator_stop(driver.now)
    driver.run(0.2, driver.pose(**RAISED))
    driver.run(0.2)
    if lost:
        driver.supervisor.face_lost(driver.now)
    driver.supervisor.operator_resume(driver.now)
    assert states(driver.run(0.2)) == ["RETURNING"]
    assert driver.supervisor.reason == ("face lost" if lost else "no fresh expression")


def test_a_lost_link_is_met_at_neutral_and_started_softly(drive):
    driver = following(drive)
    driver.supervisor.link_lost(driver.now)
    commands = driver.run(1.2, driver.pose(**RAISED))
    assert states(commands) == ["RETURNING"]
    assert at_neutral(commands[-1])
    driver.supervisor.link_up(driver.now)
    track = [c.values[BROW] for c in driver.run(0.8, driver.pose(**RAISED))]
    assert track[18] == pytest.approx(0.7, abs=0.03)


def test_a_robot_that_joins_is_met_at_neutral_and_started_softly(drive):
    driver = following(drive)
    supervisor = driver.supervisor
    supervisor.robot_joined(driver.now)
    assert supervisor.joining
    commands = driver.run(1.2, driver.pose(**RAISED))
    assert states(commands) == ["RETURNING", "FOLLOWING"]
    assert supervisor.reason == ""
    there = [command.state for command in commands].index("FOLLOWING") - 1
    assert at_neutral(commands[there])
    np.testing.assert_array_equal(commands[there].values, supervisor.rest)
    assert not any(at_neutral(command) for command in commands[: there - 1])
    assert not supervisor.joining
    track = [c.values[BROW] for c in (commands + driver.run(0.8, driver.pose(**RAISED)))[there + 1 :]]
    assert track[18] == pytest.approx(0.7, abs=0.03)  # in the middle of 0.6 s
    assert track[40] == pytest.approx(0.9, abs=0.03)


def test_a_robot_that_joins_before_the_first_command_waits_for_nothing(drive):
    driver = drive().ready()
    driver.supervisor.robot_joined(driver.now)
    assert not driver.supervisor.joining
    assert driver.tick().state == "NEUTRAL"


def test_the_ease_is_the_one_of_least_jerk(drive):
    driver = following(drive)
    begin, start = driver.supervisor.last_command.values, driver.now + round(1e9 / 60)
    driver.supervisor.operator_stop(driver.now)
    for command in driver.run(1.1):
        u = min((command.t_send_ns - start) * 1e-9 / SupervisorSettings().ease, 1.0)
        way = 10 * u**3 - 15 * u**4 + 6 * u**5
        assert command.values == pytest.approx(begin + way * (NEUTRAL - begin), abs=1e-9)


@pytest.mark.parametrize("soft", [True, False])
def test_the_way_back_to_following_starts_and_ends_gently(drive, soft):
    """From rest softly, from a short loss within the blend: along u * u * (3 - 2 u) in both."""
    driver = following(drive)
    if soft:
        driver.supervisor.operator_stop(driver.now)
    else:
        driver.supervisor.face_lost(driver.now)
    driver.run(1.5, driver.pose(**RAISED) if soft else None)
    driver.supervisor.operator_resume(driver.now)
    lasts = SupervisorSettings().soft_start if soft else SupervisorSettings().blend
    commands = driver.run(1.0, driver.pose(**RAISED))
    for command in commands:
        u = min((command.t_send_ns - commands[0].t_send_ns) * 1e-9 / lasts, 1.0)
        way = u * u * (3 - 2 * u)
        assert command.values[BROW] == pytest.approx(0.5 + way * 0.4, abs=2e-3)


# --- FAULT ------------------------------------------------------------------------------------------


def nans(_):
    return np.full(30, math.nan)


def test_a_stream_of_nan_is_a_lost_face_and_after_a_second_a_fault(drive):
    driver = following(drive)
    commands = driver.run(3.0, nans)
    assert states(commands) == ["HOLDING", "RETURNING", "FAULT"]
    assert all(c.flags & Flag.DEGRADED for c in commands)
    assert at_neutral(commands[-1])
    assert "not finite" in driver.supervisor.fault
    assert driver.supervisor.counters.faults == 1


def test_a_fault_stays_until_it_is_reset_and_then_starts_softly(drive):
    driver = following(drive)
    driver.supervisor.robot_fault(driver.now, "overheat")
    commands = driver.run(2.0, driver.pose(**RAISED))
    assert states(commands) == ["FAULT"]
    assert at_neutral(commands[-1])
    assert driver.supervisor.reason == "robot fault: overheat"
    driver.supervisor.reset(driver.now)
    assert driver.supervisor.fault is None
    track = [c.values[BROW] for c in driver.run(0.8, driver.pose(**RAISED))]
    assert track[18] == pytest.approx(0.7, abs=0.03)
    assert driver.supervisor.state == "FOLLOWING"


def test_five_link_errors_in_two_seconds_are_a_fault_and_four_are_not(drive):
    driver = following(drive)
    for _ in range(4):
        driver.supervisor.link_error(driver.now)
    driver.run(2.1, driver.pose())
    for _ in range(4):
        driver.supervisor.link_error(driver.now)
        driver.run(0.1, driver.pose())
    assert driver.supervisor.state == "FOLLOWING"
    driver.supervisor.link_error(driver.now)
    assert states(driver.run(0.1, driver.pose())) == ["FAULT"]
    assert driver.supervisor.reason == "5 link errors within 2 s"


@pytest.mark.parametrize(("late_ns", "state"), [(0, "FAULT"), (1, "FOLLOWING")])
def test_link_errors_count_within_two_seconds_and_no_longer(drive, late_ns, state):
    settings = SupervisorSettings()
    driver = following(drive)
    for _ in range(settings.link_errors - 1):
        driver.supervisor.link_error(driver.now)
    begun = driver.now
    driver.run(settings.link_errors_within - 0.1, driver.pose())
    driver.now = begun + ns(settings.link_errors_within) + late_ns
    driver.supervisor.link_error(driver.now)
    driver.offer(driver.pose())
    assert driver.tick().state == state


@pytest.mark.parametrize(("late_ns", "faulty"), [(0, False), (1, True)])
def test_values_may_be_non_finite_for_a_second_and_no_longer(drive, late_ns, faulty):
    limit = ns(SupervisorSettings().nonfinite_fault)
    driver = following(drive)
    begun = driver.now
    for age_ns in (0, limit // 3, 2 * limit // 3, limit + late_ns):
        driver.now = begun + age_ns
        driver.offer(nans(0))
    assert (driver.supervisor.fault is not None) == faulty


def test_a_late_expression_says_nothing_about_the_stream(drive):
    """An old picture that arrives after a second of NaN neither faults nor ends the stream."""
    driver = following(drive)
    driver.offer(nans(0))
    driver.now += ns(SupervisorSettings().nonfinite_fault) + 1
    driver.offer(driver.pose(), age_s=1.3)
    assert driver.supervisor.fault is None
    assert driver.supervisor.counters.late == 1


def test_reset_starts_the_second_of_non_finite_values_anew(drive):
    driver = following(drive)
    driver.run(1.5, nans)
    assert driver.supervisor.fault is not None
    driver.supervisor.reset(driver.now)
    driver.offer(nans(0))
    assert driver.supervisor.fault is None
    driver.run(0.9, nans)
    assert driver.supervisor.fault is None
    driver.run(0.2, nans)
    assert driver.supervisor.fault is not None


def test_reset_forgets_the_link_errors(drive):
    driver = following(drive)
    for _ in range(5):
        driver.supervisor.link_error(driver.now)
    driver.tick()
    driver.supervisor.reset(driver.now)
    driver.supervisor.link_error(driver.now)
    assert driver.run(0.1, driver.pose())[-1].state == "FOLLOWING"


def test_the_first_fault_is_the_one_that_is_told(drive):
    driver = following(drive)
    driver.supervisor.robot_fault(driver.now, "overheat")
    driver.supervisor.robot_fault(driver.now, "watchdog")
    assert driver.supervisor.fault == "robot fault: overheat"


def test_nothing_faults_while_stopping(drive):
    driver = following(drive)
    driver.supervisor.begin_stop(driver.now)
    driver.supervisor.robot_fault(driver.now, "watchdog")
    assert driver.supervisor.fault is None
    assert states(driver.run(0.1)) == ["STOPPED"]


def test_a_fault_before_the_first_link_sends_nothing(drive):
    driver = drive()
    driver.supervisor.robot_fault(driver.now, "e-stop")
    assert driver.tick() is None
    assert driver.supervisor.state == "FAULT"


# --- STOPPED ----------------------------------------------------------------------------------------


def test_stopping_eases_says_so_three_times_and_is_silent(drive):
    driver = following(drive)
    driver.supervisor.begin_stop(driver.now)
    commands = driver.run(2.0, driver.pose(**RAISED))
    assert states(commands) == ["STOPPED"]
    ends = [c for c in commands if c.flags & Flag.END]
    assert ends == commands[-3:]
    assert all(c.flags == Flag.NEUTRAL | Flag.END and at_neutral(c) for c in ends)
    assert commands[-1].t_send_ns - commands[0].t_send_ns == pytest.approx(1e9, abs=0.06e9)
    assert driver.supervisor.stopped
    assert driver.tick() is None


def test_stopping_at_neutral_takes_three_ticks(drive):
    driver = drive()
    driver.supervisor.link_up(driver.now)
    driver.run(1.0)
    driver.supervisor.begin_stop(driver.now)
    assert not driver.supervisor.stopped
    assert len(driver.run(0.5)) == 3
    assert driver.supervisor.stopped


def test_stopping_before_the_first_link_sends_nothing(drive):
    driver = drive()
    driver.supervisor.begin_stop(driver.now)
    driver.supervisor.link_up(driver.now)
    assert driver.supervisor.stopped
    assert driver.run(0.2) == []
    assert driver.supervisor.state == "STOPPED"


def test_nothing_undoes_a_stop_and_a_fault_is_remembered(drive):
    driver = following(drive)
    driver.supervisor.robot_fault(driver.now, "watchdog")
    driver.run(0.2)
    driver.supervisor.begin_stop(driver.now)
    driver.supervisor.reset(driver.now)
    driver.supervisor.operator_resume(driver.now)
    driver.run(2.0, driver.pose(**RAISED))
    assert driver.supervisor.stopped
    assert driver.supervisor.fault == "robot fault: watchdog"


def test_an_ease_goes_on_when_the_stop_comes_in_its_middle(drive):
    driver = following(drive)
    driver.supervisor.operator_stop(driver.now)
    driver.run(0.5)
    driver.supervisor.begin_stop(driver.now)
    assert len(driver.run(2.0)) == pytest.approx(0.5 * 60 + 3, abs=2)


# --- the rules together -----------------------------------------------------------------------------


def test_lips_follow_the_commanded_jaw(drive):
    driver = drive().ready()
    pose = driver.pose(Lip_Bottom_Depress_Middle=0.0, Lip_Top_Raise_Middle=0.0)
    last = driver.run(1.5, pose)[-1].values
    assert last[INDEX["Lip Bottom Depress Middle"]] == pytest.approx(0.4, abs=1e-3)
    assert last[INDEX["Lip Top Raise Middle"]] == pytest.approx(0.5, abs=1e-3)


def test_commanded_gaze_stays_while_the_lids_are_closed(drive):
    driver = following(drive)
    commands = driver.run(
        1.0, driver.pose(Eyelid_Upper_Left=-0.2, Eyelid_Upper_Right=-0.2, Gaze_Target_Phi=1.0)
    )
    closed = [c.values[PHI] for c in commands if (c.values[LIDS] <= 0.05).all()]
    assert len(closed) > 30
    assert np.ptp(closed) == 0.0


def test_closed_eyes_open_after_a_second_and_a_half(drive):
    driver = drive().ready()
    shut = driver.pose(Eyelid_Upper_Left=0.0, Eyelid_Upper_Right=0.0)
    commands = driver.run(4.0, shut)
    closed = [c for c in commands if c.values[LIDS[0]] <= 0.05]
    assert 1.4e9 < closed[-1].t_send_ns - closed[0].t_send_ns < 1.65e9
    assert commands[-1].values[LIDS[0]] == pytest.approx(1.0)


def test_a_jaw_held_wide_open_is_eased(drive):
    driver = drive().ready()
    track = np.array([c.values[JAW] for c in driver.run(4.0, driver.pose(Jaw_Pitch=0.5))])
    assert track.min() == pytest.approx(0.5, abs=1e-3)
    assert track[-1] == pytest.approx(0.7)


def test_hold_is_only_said_of_values_that_the_robot_has(drive):
    driver = drive().ready()
    driver.run(1.7, driver.pose(Jaw_Pitch=0.5))
    held = [c for c in driver.run(1.0) if c.state == "HOLDING"]
    moving = [b for a, b in pairwise(held) if not np.array_equal(a.values, b.values)]
    assert moving
    assert not any(c.flags & Flag.HOLD for c in moving)


def test_values_of_a_command_cannot_be_changed(drive):
    command = following(drive).tick()
    with pytest.raises(ValueError, match="read-only"):
        command.values[0] = 5.0


def test_a_gap_in_the_ticks_is_no_jump(drive):
    driver = following(drive)
    driver.now += 10_000_000_000
    driver.offer(driver.pose(Brow_Inner_Left=0.0, Gaze_Target_Phi=-2.0))
    before = driver.supervisor.last_command.values
    command = driver.tick()
    assert (np.abs(command.values - before) <= 0.1 * SLEW + 1e-12).all()


def test_a_clock_that_goes_back_moves_nothing(drive):
    driver = following(drive)
    last = driver.supervisor.last_command
    driver.offer(driver.pose(Brow_Inner_Left=0.0))
    command = driver.supervisor.tick(5)
    assert command.t_send_ns == last.t_send_ns
    assert np.array_equal(command.values, last.values)


@pytest.mark.parametrize(
    "event",
    [
        "link_up",
        "link_lost",
        "robot_joined",
        "link_error",
        "reference_ready",
        "face_lost",
        "operator_stop",
        "operator_resume",
        "reset",
        "begin_stop",
    ],
)
def test_no_command_is_older_than_what_was_told_before_it(drive, event):
    driver = following(drive)
    getattr(driver.supervisor, event)(driver.now + 50_000_000)
    assert driver.tick().t_send_ns == driver.now + 50_000_000 - round(1e9 / 60)


def test_a_robot_fault_and_an_expression_move_the_clock_too(drive):
    driver = following(drive)
    driver.supervisor.robot_fault(driver.now + 50_000_000, "overheat")
    assert driver.tick().t_send_ns == driver.now + 50_000_000 - round(1e9 / 60)
    driver = following(drive)
    driver.now += 50_000_000
    driver.offer(driver.pose())
    assert driver.supervisor.tick(driver.now - 40_000_000).t_send_ns == driver.now


def test_before_the_first_tick_there_is_no_link_yet(drive):
    supervisor = drive().supervisor
    assert (supervisor.state, supervisor.reason, supervisor.last_command) == ("STARTING", "no link yet", None)


def test_expressions_that_were_not_used_are_counted(drive):
    driver = following(drive)
    for late, unusable in ((1, 0), (2, 0), (2, 1), (2, 2)):
        if driver.supervisor.counters.late < late:
            driver.offer(driver.pose(), age_s=1.0)
        else:
            driver.offer(nans(0))
        counters = driver.supervisor.counters
        assert (counters.late, counters.unusable, counters.slewed) == (late, unusable, 0)


def test_counters_know_states_and_travel(drive):
    driver = following(drive)
    driver.run(3.0)
    counters = driver.supervisor.counters
    assert dict(counters.entries) == {"FOLLOWING": 1, "HOLDING": 1, "RETURNING": 1}
    assert counters.travel[BROW] == pytest.approx(0.8, abs=0.01)
    assert counters.commands == driver.supervisor.last_command.seq + 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hold_after", -1.0),
        ("ease", 0.099),
        ("link_errors_within", -1e-9),
        ("blend", math.nan),
        ("link_errors", 0),
        ("neutral_after", 0.1),
        ("extremes_kept", math.inf),
    ],
)
def test_senseless_settings_are_refused(name, value):
    with pytest.raises(BadArgumentError, match=name):
        SupervisorSettings(**{name: value})


def test_settings_on_their_limits_are_taken():
    settings = SupervisorSettings(
        hold_after=0.0, neutral_after=0.0, ease=0.1, blend=0.0, link_errors=1, replace_at_most=0
    )
    assert (settings.ease, settings.link_errors, settings.neutral_after) == (0.1, 1, 0.0)
