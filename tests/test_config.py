from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from x2c_edge.config import default_path, shown
from x2c_edge.errors import BadArgumentError
from x2c_edge.runtime.settings import SafetySettings, Settings, load
from x2c_edge.runtime.supervision import supervisor_of
from x2c_edge.safety.envelope import Limit
from x2c_edge.safety.settings import SupervisorSettings
from x2c_edge.safety.smoothing import OneEuroSettings, SmoothingSettings

# settings in TOML, what the message must name
WRONG = {
    "unknown section": ("[rnu]\nrate = 30", ["'rnu'", "did you mean 'run'", "run, capture, face"]),
    "a key named like a type": ("[run]\nint = 1", ["'run.int'", "allowed here: pack, pipeline"]),
    "a section named like a type": ("[int]\nrate = 30", ["'int'", "run, capture, face"]),
    "unknown key": ("[run]\nrat = 30", ["'run.rat'", "did you mean 'rate'", "budget_ms"]),
    "number too large": ("[run]\nrate = 500", ["run.rate = 500", "120"]),
    "number too small": ("[run]\nbudget_ms = 1", ["run.budget_ms = 1", "5"]),
    "not a number": ("[run]\nbudget_ms = nan", ["run.budget_ms = nan"]),
    "not whole": ("[run]\nrate = 1.5", ["run.rate = 1.5", "integer"]),
    "text for a number": ('[run]\nrate = "60"', ["run.rate = '60'", "integer"]),
    "switch for a number": ("[run]\nbudget_ms = true", ["run.budget_ms = True", "number"]),
    "number for a switch": ("[motion]\nmirror = 1", ["motion.mirror = 1", "boolean"]),
    "one of several": (
        '[run]\npipeline = "singel-stage"',
        ["run.pipeline = 'singel-stage'", "did you mean 'single-stage'", "two-stage, direct, single-stage"],
    ),
    "camera": ("[capture]\ncamera = 1.5", ["capture.camera = 1.5"]),
    "camera is no switch": ("[capture]\ncamera = true", ["capture.camera = True"]),
    "path": ("[face]\ndetector = 3", ["face.detector = 3", "path"]),
    "not a list": ('[run]\nlink = "null:"', ["run.link = 'null:'", "list"]),
    "list of the wrong": ("[run]\nlink = [3]", ["run.link.0 = 3", "string"]),
    "not a table": ("run = 3", ["run = 3", "[run]"]),
    "gain of no group": ("[motion.gain]\nlip = 1.0", ["'motion.gain.lip'", "did you mean 'lips'", "brows"]),
    "gain too large": ("[motion.gain]\nlips = 9.0", ["motion.gain.lips = 9.0", "3"]),
    "filter of no group": (
        "[safety.smoothing.jaws]\nmin_cutoff = 1.0\nbeta = 0.1",
        ["'safety.smoothing.jaws'", "did you mean 'jaw'"],
    ),
    "filter not complete": ("[safety.smoothing.jaw]\nbeta = 0.1", ["safety.smoothing.jaw.min_cutoff"]),
    "filter key": (
        "[safety.smoothing.jaw]\nmin_cutof = 1.0\nbeta = 0.1",
        ["min_cutof'", "did you mean 'min_cutoff'"],
    ),
    "limit of no control": (
        '[safety.limits."Jaw Pich"]\nlow = 0.6',
        ["safety.limits.'Jaw Pich'", "did you mean 'Jaw Pitch'"],
    ),
    "limit key": ('[safety.limits."Jaw Pitch"]\nlo = 0.6', ["did you mean 'low'", "low, high, slew"]),
    "limit not finite": ('[safety.limits."Jaw Pitch"]\nlow = nan', ["safety.limits.Jaw Pitch.low = nan"]),
    "a key with a line break": ('"a\\nb" = 1', ["unknown key"]),
    "not TOML": ("[run", ["not TOML"]),
    "the same key twice": ("[run]\nrate = 60\nrate = 50", ["not TOML"]),
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "robot.toml"
        path.write_text(text)
        return path

    return write


def complaint(*arguments) -> str:
    with pytest.raises(BadArgumentError) as error:
        load(*arguments)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_every_wrong_setting_gets_one_line_that_names_it(file, text: str, expected: list[str]):
    message = complaint(file(text))
    assert "robot.toml" in message
    for part in expected:
        assert part in message


def test_files_that_cannot_be_read(tmp_path: Path):
    assert "No such file" in complaint(tmp_path / "none.toml")
    assert "directory" in complaint(tmp_path)
    path = tmp_path / "latin.toml"
    path.write_bytes(b"[run]\npack = '\xe4'")
    assert "not TOML" in complaint(path)


def test_defaults_are_the_documented_ones():
    settings = load(None)
    assert settings == Settings()
    assert (settings.run.budget_ms, settings.run.rate, settings.run.link) == (50.0, 60, ())
    assert (settings.safety.hold_after, settings.safety.neutral_after, settings.safety.ease) == (0.15, 1.5, 1)


def test_the_command_line_goes_before_the_file_and_the_file_before_the_default(file):
    path = file(
        """
        [run]
        rate = 30
        budget_ms = 40
        link = ["null:", "jsonl:a"]
        [motion.gain]
        lips = 1.5
        """
    )
    settings = load(path, {"run": {"rate": 20, "budget_ms": None}, "motion": {"mirror": True}, "face": {}})
    assert settings.run.rate == 20
    assert settings.run.budget_ms == 40
    assert settings.run.link == ("null:", "jsonl:a")
    assert settings.run.threads == 0
    assert settings.motion.gain == {"lips": 1.5}
    assert settings.motion.mirror


def test_a_source_on_the_command_line_replaces_the_file_s(file):
    path = file('[capture]\ncamera = 2\nwidth = 640\nheight = 480\nfps = 30.0\nformat = "MJPG"')

    def modes(**given: object) -> tuple[object, ...]:
        capture = load(path, {"capture": {"camera": None, **given}}).capture
        return capture.camera, capture.input, capture.width, capture.height, capture.fps, capture.format

    assert modes(input="photos") == (None, "photos", None, None, None, "auto")
    assert modes(camera="/dev/video1") == ("/dev/video1", None, None, None, None, "auto")
    assert modes(camera=2) == modes() == (2, None, 640, 480, 30.0, "MJPG")
    assert modes(input="photos", fps=5.0) == (None, "photos", None, None, 5.0, "auto")
    assert load(file("[capture]\nfps = 5.0"), {"capture": {"input": "photos"}}).capture.fps == 5.0


def test_a_wrong_argument_is_not_blamed_on_the_file(file):
    path = file("[run]\nbudget_ms = 40")
    assert complaint(path, {"run": {"rate": 500}}).startswith("command line: run.rate = 500")
    assert complaint(None, {"run": {"rate": 500}}).startswith("command line: run.rate = 500")
    assert "robot.toml" in complaint(file("[run]\nrate = 500"), {"run": {"budget_ms": 40.0}})


def test_a_home_is_found_in_paths(file, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/of/tests")
    read = load(file('[calibration]\nreference = "~/me.json"\n[face]\ndetector = "~/yunet.onnx"'))
    assert read.calibration.reference == Path("/home/of/tests/me.json")
    assert read.face.detector == Path("/home/of/tests/yunet.onnx")


def test_settings_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Settings().run.rate = 10


def test_safety_keeps_what_the_file_says(file):
    path = file(
        """
        [safety]
        ease = 2.0
        [safety.limits."Head Yaw"]
        low = -0.2
        slew = 0.5
        [safety.smoothing.head]
        min_cutoff = 0.5
        beta = 0.02
        """
    )
    safety = load(path).safety
    assert isinstance(safety, SafetySettings)
    assert safety.ease == 2.0
    assert safety.limits == {"Head Yaw": Limit(low=-0.2, high=None, slew=0.5)}
    assert safety.smoothing.head.d_cutoff == 1.0


@pytest.mark.parametrize("key", ["hold_after", "neutral_after", "ease"])
@pytest.mark.parametrize("value", ["0.0", "-1.0", "nan", "inf", "1e9"])
def test_no_time_of_the_supervisor_can_be_senseless(file, key: str, value: str):
    assert f"safety.{key} = " in complaint(file(f"[safety]\n{key} = {value}"))


def test_how_a_robot_differs_is_read(file):
    path = file('[robot.controls."Head Yaw"]\nsign = -1\n[robot.controls."Jaw Pitch"]\noffset = -0.1\n')
    controls = load(path).robot.controls
    assert (controls["Head Yaw"].sign, controls["Head Yaw"].offset) == (-1, 0.0)
    assert (controls["Jaw Pitch"].sign, controls["Jaw Pitch"].offset) == (1, -0.1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[robot.controls."Head Jaw"]\nsign = -1\n', "robot.controls.'Head Jaw'"),
        ('[robot.controls."Head Yaw"]\nsign = 0\n', "sign = 0"),
        ('[robot.controls."Head Yaw"]\noffset = nan\n', "offset = nan"),
        ('[robot.controls."Head Yaw"]\nsing = -1\n', "allowed here: sign, offset"),
    ],
)
def test_what_is_wrong_about_a_robot_is_named(file, text: str, words: str):
    assert words in complaint(file(text))


def test_the_default_file_is_in_the_users_config_folder(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_path() == tmp_path / "x2c-edge" / "config.toml"
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", unset)
        assert default_path() == Path.home() / ".config" / "x2c-edge" / "config.toml"


NARROWER = {
    "face_lost_hold": (0.1, 0.4), "blend": (0.5, 0.2), "soft_start": (1.0, 0.5), "replace_at_most": (0, 4),
    "replace_for": (0.1, 0.3), "nonfinite_fault": (0.5, 1.1), "link_errors": (2, 6),
    "link_errors_within": (5.0, 1.0), "dead_band_deg": (0.5, 0.2), "lids_closed_below": (0.1, 0.04),
    "lids_closed_longest": (1.0, 11.0), "extremes_allowed": (0.5, 1.1), "extremes_kept": (9.0, 4.0),
}  # fmt: skip


@pytest.mark.parametrize("key", NARROWER)
def test_every_number_of_the_supervisor_can_be_narrowed_and_not_widened(file, key: str):
    calmer, wilder = NARROWER[key]
    assert getattr(load(file(f"[safety]\n{key} = {calmer}")).safety, key) == calmer
    assert f"safety.{key} = {wilder}" in complaint(file(f"[safety]\n{key} = {wilder}"))


def test_no_number_of_the_supervisor_is_left_out():
    said_of_old = {"hold_after", "neutral_after", "ease"}
    assert {field.name for field in fields(SupervisorSettings)} == {*NARROWER, *said_of_old}


def test_numbers_that_do_not_go_together_are_told_with_the_file(file):
    assert "neutral_after: 0.1 s is shorter than hold_after" in complaint(
        file("[safety]\nneutral_after = 0.1")
    )


def test_a_run_gets_the_supervisor_that_the_file_describes(file):
    settings = load(file("[safety]\nsoft_start = 2.0\n[safety.smoothing.jaw]\nmin_cutoff = 1\nbeta = 2"))
    supervisor = supervisor_of(settings)
    assert supervisor._settings.soft_start == 2.0
    assert settings.safety.smoothing.jaw == OneEuroSettings(1, 2, 1.0)
    assert settings.safety.smoothing.lips == SmoothingSettings().lips


def test_what_is_shown_can_be_read_again_and_says_what_differs(file):
    text = """
[run]
rate = 30
link = ["null:", "jsonl:a b"]
[motion.gain]
lips = 1.5
[safety.limits."Head Yaw"]
slew = 0.5
[safety.smoothing.jaw]
min_cutoff = 2.0
beta = 2.0
"""
    settings = load(file(text))
    shows = shown(settings)
    assert load(file(shows)) == settings
    lines = shows.splitlines()
    assert "rate = 30  # default: 60" in lines
    assert "lips = 1.5  # default: not set" in lines
    assert "min_cutoff = 2.0  # default: 1.0" in lines
    assert "budget_ms = 50.0" in lines
    assert "# width: not set" in lines
    assert '[safety.limits."Head Yaw"]' in lines


def test_the_defaults_are_shown_without_a_remark():
    shows = shown(Settings())
    assert "default" not in shows
    for part in fields(SupervisorSettings):
        assert f"\n{part.name} = " in shows
