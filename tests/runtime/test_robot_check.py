"""The check's dialogue over a real serial line, with the virtual Ameca at its other end."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.live_run import Arrived, Peer
from x2c_edge.config import filled
from x2c_edge.controls import CONTROLS, HIGH, INDEX, LOW, NAMES, NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Command
from x2c_edge.links.codec import STEPS
from x2c_edge.runtime import settings as config
from x2c_edge.runtime import settings_file
from x2c_edge.runtime.robot_check import SLOW, RobotCheck, changes, slowed
from x2c_edge.runtime.robot_motions import seen
from x2c_edge.runtime.supervision import envelope_of
from x2c_edge.runtime.vision import Sight

QUANTUM = (HIGH - LOW) / STEPS
SPAN = SAFE_HIGH - SAFE_LOW
Check = Callable[..., tuple[RobotCheck, list[Arrived], list[str]]]


def settings_for(link: str, **tables: object) -> config.Settings:
    return filled(config.Settings, {"run": {"link": [link]}, **tables})


def converse(made: RobotCheck, ask: Callable[[str, str], str]) -> None:
    """The whole check, answered by ``ask`` in a thread of its own."""

    def talk() -> None:
        try:
            made.check(ask)
        finally:
            made.stop()

    dialogue = threading.Thread(target=talk)
    dialogue.start()
    made.run()
    dialogue.join()


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path, f"serial://{tmp_path}/robot")
    yield peer
    peer.close()


@pytest.fixture
def check(robot: Peer) -> Check:
    """check(names, answers, **tables): the check, what arrived at the robot, and the questions."""

    def run(names: list[str], answers: str, **tables: object) -> tuple[RobotCheck, list[Arrived], list[str]]:
        made = RobotCheck(settings_for(robot.where, **tables), names, (Witness(),))
        questions: list[str] = []
        waiting = iter(answers)

        def ask(question: str, keys: str) -> str:
            questions.append(question)
            key = next(waiting, "")
            assert key in keys or not key, f"{key!r} is no answer to {question}"
            return key

        converse(made, ask)
        return made, robot.arrived(), questions

    return run


def assert_safe_and_slow(made: RobotCheck, arrived: list[Arrived]) -> None:
    """Every command is in range and within the lowered speed limit, and the robot got nothing else.

    A link may drop commands under load, so what arrived is looked for among what was sent, in order.
    """
    sent = witness_of(made).commands
    assert sent
    for before, after in pairwise(sent):
        reach = SLOW * SPAN * min((after.t_send_ns - before.t_send_ns) / 1e9, 0.1)
        assert (np.abs(after.values - before.values) <= reach + 1e-12).all()
    place = 0
    for one in arrived:
        assert (one.values >= SAFE_LOW - QUANTUM).all()
        assert (one.values <= SAFE_HIGH + QUANTUM).all()
        while not (np.abs(sent[place].values - one.values) <= QUANTUM).all():
            place += 1  # an IndexError: it was never sent


class Witness:
    """Keeps every command that leaves the supervisor (``RunRecorder``)."""

    failure = None

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def offer(self, sight: Sight) -> None:
        pass

    def command(self, command: Command) -> None:
        self.commands.append(command)

    def close(self) -> None:
        pass


def witness_of(made: RobotCheck) -> Witness:
    (witness,) = made._run.outlets.recorders
    assert isinstance(witness, Witness)
    return witness


def test_one_after_the_other_small_slow_and_home_again(check: Check) -> None:
    names = ["Brow Inner Left", "Head Yaw", "Jaw Pitch", "Eyelid Upper Left"]
    made, arrived, questions = check(names, "yyyy")
    assert_safe_and_slow(made, arrived)
    values = np.array([one.values for one in arrived])
    moved = np.abs(values - NEUTRAL) > 0.05 * SPAN
    assert {NAMES[k] for k in np.flatnonzero(moved.any(axis=0))} == set(names)
    assert (moved.sum(axis=1) <= 1).all()  # never two away from rest at once
    assert np.abs(values[-1] - NEUTRAL).max() < QUANTUM.max()
    assert [one.moved for one in made.found.values()] == ["as described"] * 4
    assert "the jaw opens" in questions[2]
    assert changes(settings_for("null:"), made.found) == {}


def test_what_was_found_is_what_every_later_run_applies(check: Check, tmp_path: Path) -> None:
    made, arrived, _ = check(["Head Yaw", "Nose Wrinkle"], "on++dl+d+dy")
    assert_safe_and_slow(made, arrived)
    # o ends Head Yaw; Nose Wrinkle: rest two nudges up, largest one stride up, smallest one stride down.
    new = changes(settings_for("null:"), made.found)
    assert new["robot"]["controls"]["Head Yaw"] == {"sign": -1, "offset": 0.0}
    nose = new["robot"]["controls"]["Nose Wrinkle"]
    assert nose == {"sign": 1, "offset": pytest.approx(0.04)}
    limits = new["safety"]["limits"]["Nose Wrinkle"]
    assert limits == {"high": pytest.approx(0.04 + 0.96 / 5), "low": pytest.approx(0.032)}

    file = tmp_path / "config.toml"
    settings_file.write(file, settings_file.with_changes({"run": {"rate": 50}}, new))
    settings = config.load(file)
    assert settings.run.rate == 50
    envelope = envelope_of(settings)
    turned = NEUTRAL.copy()
    turned[INDEX["Head Yaw"]] = 0.1
    assert envelope.correction.applied(turned)[INDEX["Head Yaw"]] == pytest.approx(-0.1)
    assert envelope.rest[INDEX["Nose Wrinkle"]] == pytest.approx(0.04)


def answers_with(made: RobotCheck, name: str, keys: str, wait_s: float) -> list[tuple[str, float]]:
    """Every question with where the control was (commanded) when it came. wait_s: before an "a"."""
    seen_at: list[tuple[str, float]] = []
    waiting = iter(keys)

    def ask(question: str, allowed: str) -> str:
        command = made.supervisor.last_command
        assert command is not None
        seen_at.append((question, float(command.values[INDEX[name]])))
        key = next(waiting, "")
        assert key in allowed or not key
        time.sleep(wait_s if key == "a" else 0)
        return key

    converse(made, ask)
    return seen_at


def test_an_end_is_there_when_the_question_comes_though_it_may_not_be_held() -> None:
    made = RobotCheck(settings_for("null:"), ["Head Yaw"])
    end = SAFE_HIGH[INDEX["Head Yaw"]]
    asked = answers_with(made, "Head Yaw", "l+++++a", wait_s=2.2)
    at_the_end = [value for question, value in asked if "5 of 5" in question]
    assert len(at_the_end) == 2  # R8 has pulled it back to 60 % between them
    assert min(at_the_end) > 0.9 * end
    assert all("d good" in question for question, _ in asked[1:])


@pytest.mark.slow
def test_a_closed_lid_is_where_the_question_says_or_cannot_be_kept() -> None:
    made = RobotCheck(settings_for("null:"), ["Eyelid Upper Left"])
    asked = answers_with(made, "Eyelid Upper Left", "le+++a+a+a", wait_s=2.5)
    for question, value in asked:
        if stride := re.search(r"smallest value, (\d) of 5", question):
            there = abs(value - (1.0 - 0.4 * int(stride[1]))) < 0.05
            assert ("d good" in question) is there
            assert ("not shown" in question) is not there
    assert sum("5 of 5" in question for question, _ in asked) == 2


def test_a_second_check_builds_on_the_first(check: Check) -> None:
    before = {"robot": {"controls": {"Head Yaw": {"sign": -1, "offset": 0.1}}}}
    made, arrived, questions = check(["Head Yaw"], "o", **before)
    assert_safe_and_slow(made, arrived)
    assert arrived[-1].values[INDEX["Head Yaw"]] == pytest.approx(0.1, abs=1e-3)
    assert max(one.values[INDEX["Head Yaw"]] for one in arrived) > 0.15
    assert "to the robot's right" in questions[0]  # the robot's larger value is the described smaller one
    settings = settings_for("null:", **before)
    new = changes(settings, made.found)
    assert new == {"robot": {"controls": {"Head Yaw": {"sign": 1, "offset": 0.1}}}}


def test_a_stop_is_obeyed_and_the_question_comes_again(check: Check) -> None:
    made, arrived, questions = check(["Head Yaw", "Head Roll"], " ryq")
    assert_safe_and_slow(made, arrived)
    assert questions[1] == "stopped (check-robot): r go on | q end"
    assert questions[2] == questions[0]
    assert made.found["Head Yaw"].moved == "as described"
    assert made.found["Head Roll"].moved == ""


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="not found"):
        RobotCheck(settings_for(f"serial://{tmp_path}/none"))


def test_every_control_can_be_shown_and_only_lips_drag_another() -> None:
    made = RobotCheck(settings_for("null:"))
    companions = {}
    for control in CONTROLS:
        step, others = made._step_of(control.index)
        assert abs(step) > 0.1 * SPAN[control.index], control.name
        assert seen(control.name, grows=step > 0) != seen(control.name, grows=step < 0)
        if others:
            companions[control.name] = others
    # The lips' conditional ranges tie these two to a curl at rest.
    assert companions == {
        "Lip Bottom Depress Middle": "Lip Bottom Curl", "Lip Top Raise Middle": "Lip Top Curl",
    }  # fmt: skip


def test_speed_limits_are_only_lowered() -> None:
    settings = settings_for("null:", safety={"limits": {"Head Yaw": {"slew": 0.01, "high": 0.2}}})
    slow = envelope_of(slowed(settings))
    assert slow.slew[INDEX["Head Yaw"]] == 0.01
    assert slow.high[INDEX["Head Yaw"]] == 0.2
    assert (slow.slew <= SLOW * SPAN + 1e-12).all()
