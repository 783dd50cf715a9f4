from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.measurements import FRAME_NS, Driver, both, face
from x2c_edge import retarget
from x2c_edge.controls import INDEX, N_CONTROLS, NEUTRAL, SLEW, indices
from x2c_edge.packs import open_pack
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.calibration import CalibrationSettings
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.neutral import (
    Average,
    FirstFrame,
    HeldStill,
    Learning,
    LearningSettings,
    keeper_for,
)
from x2c_edge.pipelines.people import People, people_of
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.retargeter import MotionSettings, Retargeter
from x2c_edge.pipelines.rotation import angles, rotation_matrix
from x2c_edge.safety.supervisor import Supervisor

FACE = [i for i in retarget.FACE_CONTROLS if i not in retarget.GAZE_CONTROLS]
BROWS = indices("brows")


@pytest.fixture(scope="module")
def people() -> People:
    """The table that ships with the default pack."""
    return people_of(open_pack())


def shift(keeper: Learning, people: People) -> np.ndarray:
    """What has been learnt of this driver, (30,)."""
    return keeper.neutral.rest.values - people.rest


def talking(people: People, seed: int = 0):
    """Somebody who talks and laughs and never rests: a face for frame k."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.02, (2000, N_CONTROLS))

    def at(k: int) -> Measurement:
        t = k / 30
        laugh = 0.25 + 0.15 * np.sin(0.7 * t)
        syllable = 0.5 - 0.5 * np.cos(2 * np.pi * 3.7 * t)
        m = face(
            4 * np.sin(1.3 * t), 3 * np.sin(2.1 * t), 0.0, rest=people.rest,
            **both("Lip_Corner_Raise", laugh), **both("Lip_Corner_Stretch", 0.4 * laugh),
            **both("Brow_Outer", 0.12 + 0.1 * np.sin(0.9 * t)), **both("Brow_Inner", 0.1 * np.sin(0.5 * t)),
            **both("Lip_Top_Raise", 0.3 * laugh), **both("Eyelid_Lower", -0.6 * laugh),
            Jaw_Pitch=-0.2 * syllable,
        )  # fmt: skip
        return replace(m, values=m.values + noise[k])

    return at


def test_everybody_is_followed_from_the_first_frame_as_the_average_person(people: People):
    keeper = Learning(people)
    np.testing.assert_array_equal(keeper.neutral.rest.values, people.rest)
    np.testing.assert_array_equal(keeper.neutral.pose, people.pose)
    assert keeper.certainty == 0
    assert keeper.says == "average person, 0% learnt"
    smile = face(rest=people.rest, **both("Lip_Corner_Raise", 0.3))
    keeper.see(0, smile)
    e = Retargeter(MotionSettings()).expression(smile, keeper.neutral, 0, 0, "single-stage")
    for name in ("Lip Corner Raise Left", "Lip Corner Raise Right"):
        assert e.values[INDEX[name]] == pytest.approx(people.pose[INDEX[name]] + 0.3)


def test_who_never_rests_gets_no_neutral_of_their_own(people: People):
    driver = Driver(Learning(people))
    driver.show(60, talking(people))
    assert np.abs(shift(driver.keeper, people)[FACE]).max() <= 0.05


def test_high_brows_are_learnt_from_five_seconds_of_rest(people: People):
    """Within 20 s they rest for 5; within 30 s they are at neutral."""
    driver = Driver(Learning(people))
    own = people.rest.copy()
    own[BROWS] += 0.15
    lively = talking(people, 1)
    mine = replace(people, rest=own)
    rng = np.random.default_rng(2)

    def resting(k: int) -> Measurement:
        m = face(1.0, -2.0, rest=own)
        return replace(m, values=own + rng.normal(0, 0.015, N_CONTROLS))

    def excited(k: int) -> Measurement:
        return replace(lively(k), values=lively(k).values + own - people.rest)

    driver.show(8, excited)
    driver.show(5, resting)
    driver.show(17, excited)
    m = face(rest=own)
    e = Retargeter(MotionSettings(), people.gain).expression(m, driver.keeper.neutral, 0, 0, "single-stage")
    assert np.abs(e.values - mine.pose)[BROWS].max() <= 0.05
    assert np.abs(shift(driver.keeper, people)[[i for i in FACE if i not in BROWS]]).max() < 0.03
    assert driver.keeper.certainty > 0.5


@pytest.mark.parametrize("name", ["Lip_Corner_Raise", "Lip_Top_Raise"])
def test_a_held_smile_is_never_learnt(people: People, name: str):
    driver = Driver(Learning(people))
    driver.show(60, face(rest=people.rest, **both(name, 0.2)))
    assert np.abs(shift(driver.keeper, people)[FACE]).max() < 0.02


def test_narrow_eyes_are_learnt_and_still_shut(people: People):
    driver = Driver(Learning(people))
    driver.show(25, face(rest=people.rest, **both("Eyelid_Upper", -0.12)))
    upper = INDEX["Eyelid Upper Left"]
    assert -0.13 < shift(driver.keeper, people)[upper] < -0.05
    shut = face(rest=people.rest, **dict.fromkeys(("Eyelid_Upper_Left", "Eyelid_Upper_Right"), -0.9))
    shut.values[[upper, INDEX["Eyelid Upper Right"]]] = 0.0
    e = Retargeter(MotionSettings()).expression(shut, driver.keeper.neutral, 0, 0, "single-stage")
    assert e.values[upper] == 0


def test_the_next_person_s_face_takes_the_place(people: People):
    driver = Driver(Learning(people))
    driver.show(40, face(rest=people.rest, **both("Brow_Inner", 0.15), **both("Brow_Outer", 0.1)))
    high = shift(driver.keeper, people)[BROWS]
    assert high.min() > 0.06
    driver.keeper.face_lost()
    driver.t_ns += 3_000_000_000
    driver.show(40, face(rest=people.rest, **both("Brow_Inner", -0.15), **both("Brow_Outer", -0.1)))
    assert shift(driver.keeper, people)[BROWS].max() < -0.06


def test_a_camera_beside_the_person_is_learnt_and_a_glance_is_not(people: People):
    driver = Driver(Learning(people))
    driver.show(3, face(20, rest=people.rest))
    assert abs(np.degrees(angles(driver.keeper.neutral.rest.rotation))[0]) < 4
    driver.show(57, face(20, -5, rest=people.rest))
    yaw, pitch, _ = np.degrees(angles(driver.keeper.neutral.rest.rotation))
    assert 13 < yaw < 20
    assert -5 < pitch < -3


def test_nobody_sees_it_move(people: People):
    s = LearningSettings()
    driver = Driver(Learning(people))
    before, turn = shift(driver.keeper, people), np.array(angles(driver.keeper.neutral.rest.rotation))
    for k in range(600):
        driver.show(1 / 30, face(25, rest=people.rest, **both("Brow_Inner", 0.2 if k > 300 else -0.2)))
        now, ahead = shift(driver.keeper, people), np.array(angles(driver.keeper.neutral.rest.rotation))
        assert np.abs(now - before).max() <= s.speed / 30 + 1e-6
        assert np.degrees(np.abs(ahead - turn)).max() <= s.head_speed_deg / 30 + 1e-6
        before, turn = now, ahead


HOSTILE = st.lists(
    st.tuples(
        st.integers(0, 4),  # whose face
        st.floats(-3, 3),  # how much
        st.floats(-80, 80),  # yaw
        st.integers(1, 200),  # frames
        st.sampled_from([0, 1, 50_000_000, 4_000_000_000]),  # a gap before it
        st.booleans(),  # a new neutral is asked for
    ),
    min_size=1,
    max_size=12,
)


@given(HOSTILE)
@settings(max_examples=15)
def test_whatever_people_do_the_neutral_stays_in_bounds_and_no_command_jumps(scenes):
    """Neutral, person and gear change in any order; the supervisor's slew limit holds for every command."""
    people = people_of(open_pack())
    s = LearningSettings()
    keeper, retargeter, supervisor = Learning(people), Retargeter(MotionSettings(), people.gain), Supervisor()
    supervisor.link_up(0)
    supervisor.reference_ready(0)
    shapes = np.random.default_rng(3).normal(0, 0.3, (5, N_CONTROLS))
    now, last, asked = 0, None, False
    for who, much, yaw, frames, gap, retake in scenes:
        now += gap
        if retake:
            keeper.retake()
            asked = True
        for k in range(frames):
            now += FRAME_NS
            values = people.rest + much * shapes[who]
            values[k % N_CONTROLS] = np.nan if who == 4 and k % 7 == 0 else values[k % N_CONTROLS]
            m = Measurement(
                values, rotation_matrix(*np.radians([yaw, yaw / 4, 0])), np.zeros((2, 2)), 0.9, 0.1
            )
            keeper.see(now, m)
            gear = "two-stage" if (k // 20) % 2 else "single-stage"
            if gear == "two-stage":
                m = replace(
                    m, values=people.drawn + 0.8 * (values - people.rest), relative=True, tracked=values
                )
            e = retargeter.expression(m, keeper.neutral, k, now, gear)
            supervisor.offer(e, now)
            command = supervisor.tick(now)
            if last is not None:
                reach = SLEW * min((command.t_send_ns - last.t_send_ns) * 1e-9, 0.1) + 1e-9
                assert (np.abs(command.values - last.values) <= reach).all()
            last = command
        learnt = keeper.neutral.rest.values - people.rest
        assert np.isfinite(learnt).all()
        if not asked:
            assert (np.abs(learnt) <= s.bound * people.between + 1e-9).all()
            turned = np.degrees(np.abs(angles(keeper.neutral.rest.rotation)))
            assert turned.max() <= 2 * s.head_bound_deg


def test_a_saved_neutral_is_a_strong_prior(people: People):
    mine = Reference(people.rest + 0.1 * (np.arange(N_CONTROLS) == BROWS[0]), rotation_matrix(0.2, 0, 0))
    keeper = Learning(people, mine)
    np.testing.assert_allclose(keeper.neutral.rest.values[FACE], mine.values[FACE])
    np.testing.assert_allclose(keeper.neutral.rest.rotation, mine.rotation, atol=1e-12)
    driver = Driver(keeper)
    driver.show(40, face(np.degrees(0.2), rest=people.rest))
    assert 0.05 < shift(keeper, people)[BROWS[0]] < 0.1
    assert "as given" in keeper.says


def test_a_driver_who_asks_gets_their_neutral(people: People):
    driver = Driver(Learning(people))
    odd = face(3, rest=people.rest, **both("Brow_Inner", 0.2), **both("Lip_Corner_Raise", 0.06))
    driver.show(1, odd)
    driver.keeper.retake()
    driver.show(0.3, odd)
    assert driver.keeper.hint == "hold still with a relaxed face"
    driver.show(1.2, odd)
    assert driver.keeper.hint == ""
    np.testing.assert_allclose(
        shift(driver.keeper, people)[FACE], (odd.values - people.rest)[FACE], atol=0.01
    )
    driver.show(14, odd)
    assert driver.keeper.hint == ""
    np.testing.assert_allclose(driver.keeper.neutral.rest.values[FACE], odd.values[FACE], atol=1e-6)


def motion_of(k: float) -> FaceMotion:
    return FaceMotion(np.eye(3), np.full((3, 3), k), np.zeros(3), 1.0)


def test_a_pack_without_an_average_motion_starts_from_the_first_frame_and_moves_on_to_rest():
    people = People()
    driver = Driver(Learning(people))
    smile = replace(face(**both("Lip_Corner_Raise", 0.3)), motion=motion_of(1.0))
    driver.show(1 / 30, smile)
    first = driver.keeper.neutral.anchor
    np.testing.assert_array_equal(first.motion.exp, smile.motion.exp)
    # What the first frame was away from rest is added to the motion that starts from it.
    relative = replace(smile, values=NEUTRAL, relative=True, tracked=smile.values)
    retargeter = Retargeter(MotionSettings())
    e = retargeter.expression(relative, driver.keeper.neutral, 0, driver.t_ns, "two-stage")
    np.testing.assert_allclose(e.values, smile.values)
    driver.show(3, smile)
    assert driver.keeper.neutral.anchor is first
    rest = replace(face(), motion=motion_of(0.0))
    driver.show(0.1, rest)
    second = driver.keeper.neutral.anchor
    np.testing.assert_array_equal(second.motion.exp, rest.motion.exp)


def test_another_anchor_fades_in(people: People):
    retargeter = Retargeter(MotionSettings())
    one, two = Reference(people.rest, np.eye(3)), Reference(people.rest + 0.2, np.eye(3))
    keeper = Learning(people)
    m = replace(face(), relative=True, tracked=NEUTRAL)
    poses = []
    for k in range(60):
        neutral = replace(keeper.neutral, anchor=one if k < 20 else two)
        poses.append(retargeter.expression(m, neutral, k, k * FRAME_NS, "two-stage").values)
    steps = np.abs(np.diff(poses, axis=0))[:, FACE]
    assert steps.max() < 0.2 / 25
    assert np.abs(poses[-1] - poses[0])[BROWS].max() == pytest.approx(0.2)


def test_the_first_frame_is_equation_6():
    keeper = FirstFrame()
    assert keeper.neutral is None
    smile = face(5, **both("Lip_Corner_Raise", 0.2))
    Driver(keeper).show(1, smile)
    np.testing.assert_array_equal(keeper.neutral.rest.values, smile.values)
    np.testing.assert_array_equal(keeper.neutral.pose, NEUTRAL)
    e = Retargeter(MotionSettings()).expression(smile, keeper.neutral, 0, 0, "single-stage")
    np.testing.assert_allclose(e.values, NEUTRAL, atol=1e-12)
    keeper.retake()
    assert keeper.neutral is None


def test_holding_still_waits():
    keeper = HeldStill(CalibrationSettings())
    driver = Driver(keeper)
    driver.show(0.5, face())
    assert keeper.neutral is None
    assert keeper.hint == "hold still with a relaxed face"
    driver.show(1, face())
    np.testing.assert_allclose(keeper.neutral.rest.values, NEUTRAL)
    assert keeper.hint == ""


def test_the_average_is_learnt_by_nobody(people: People):
    keeper = Average(people)
    driver = Driver(keeper)
    driver.show(20, face(rest=people.rest, **both("Brow_Inner", 0.15)))
    np.testing.assert_array_equal(keeper.neutral.rest.values, people.rest)


def test_every_way_has_its_keeper(people: People):
    held = CalibrationSettings()
    kinds = {"auto": Learning, "average": Average, "first-frame": FirstFrame, "hold-still": HeldStill}
    for way, kind in kinds.items():
        assert type(keeper_for(way, people, None, held)) is kind
    mine = Reference(NEUTRAL, np.eye(3))
    for way in ("first-frame", "hold-still"):
        assert keeper_for(way, people, mine, held).neutral.rest is mine
