from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from x2c_edge.controls import INDEX, NEUTRAL, indices, mirrored
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.reference import (
    CalibrationSettings,
    Calibrator,
    MotionSettings,
    Reference,
    Retargeter,
)
from x2c_edge.pipelines.rotation import rotation_matrix

FRAME_NS = 33_333_333
LIDS = indices("eyelids")


def face(yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0, sharpness=0.08, **changes: float) -> Measurement:
    """A relaxed frontal face with some controls changed: ``face(Jaw_Pitch=-0.3)``."""
    values = NEUTRAL.copy()
    for name, change in changes.items():
        values[INDEX[name.replace("_", " ")]] += change
    rotation = rotation_matrix(*np.radians([yaw_deg, pitch_deg, roll_deg]))
    return Measurement(values, rotation, np.zeros((140, 2)), 0.99, sharpness)


class Driver:
    """Shows one measurement after another to a calibrator, 30 a second."""

    def __init__(self, **settings: float) -> None:
        self.calibrator = Calibrator(CalibrationSettings(**settings))
        self.t_ns = 5_000_000_000
        self.reference: Reference | None = None

    def show(self, seconds: float, look: Measurement | Callable[[int], Measurement]) -> float | None:
        """Seconds until the reference came; None if it did not."""
        for k in range(round(seconds * 30)):
            self.t_ns += FRAME_NS
            m = look(k) if callable(look) else look
            self.reference = self.calibrator.add(self.t_ns, m)
            if self.reference is not None:
                return (k + 1) / 30
        return None


def test_a_steady_face_is_the_reference_after_about_a_second():
    driver = Driver()
    m = face(4, -6, 2, Lip_Corner_Raise_Left=0.1, Brow_Inner_Right=-0.2)
    took = driver.show(3, m)
    assert took is not None
    assert 0.9 <= took <= 1.1
    np.testing.assert_allclose(driver.reference.values, m.values)
    np.testing.assert_allclose(driver.reference.rotation, m.rotation, atol=1e-12)
    assert driver.calibrator.hint == ""
    assert not driver.calibrator.rough


def test_noise_is_averaged_out():
    rng = np.random.default_rng(0)
    driver = Driver()

    def noisy(k: int) -> Measurement:
        m = face(*rng.normal(0, 0.7, 3))
        return Measurement(m.values + rng.normal(0, 0.03, 30), m.rotation, m.landmarks, 0.99, 0.08)

    assert driver.show(2, noisy) is not None
    assert np.abs(driver.reference.values - NEUTRAL).max() < 0.03


def test_meanwhile_it_asks_to_hold_still():
    driver = Driver()
    driver.show(0.4, face())
    assert driver.calibrator.hint == "hold still with a relaxed face"


WRONG = {
    "blurred": (lambda k: face(sharpness=0.01), "focus"),
    "no picture": (lambda k: face(sharpness=0.0), "focus"),
    "looking away": (lambda k: face(40), "turn towards the camera"),
    "looking down": (lambda k: face(0, -35), "level your head"),
    "moving": (lambda k: face(8 * np.sin(k / 3)), "keep your head still"),
    "talking": (lambda k: face(Lip_Top_Curl=0.3 * (k % 2)), "relax"),
    "mouth open": (lambda k: face(Jaw_Pitch=-0.3), "close your mouth"),
    "smiling": (
        lambda k: face(Lip_Corner_Raise_Left=0.35, Lip_Corner_Raise_Right=0.35), "stop smiling",
    ),
    "eyes shut": (
        lambda k: face(**{f"Eyelid_{u}_{s}": -1.0 for u in ("Upper", "Lower") for s in ("Left", "Right")}),
        "open your eyes",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("look", "hint"), WRONG.values(), ids=WRONG)
def test_every_complaint_has_its_hint_and_delays_the_reference(look, hint: str):
    driver = Driver()
    assert driver.show(2, look) is None
    assert hint in driver.calibrator.hint
    # As soon as it is put right, a good second is enough.
    took = driver.show(3, face())
    assert took is not None
    assert not driver.calibrator.rough


def test_a_blink_does_not_disturb():
    shut = dict.fromkeys(("Eyelid_Upper_Left", "Eyelid_Upper_Right", "Eyelid_Lower_Left"), -1.0)
    driver = Driver()
    took = driver.show(2, lambda k: face(Gaze_Target_Theta=-0.5, **shut) if 10 <= k < 16 else face())
    assert took is not None
    assert took <= 1.1
    np.testing.assert_array_equal(driver.reference.values, NEUTRAL)


def test_in_the_end_the_calmest_second_is_taken():
    driver = Driver(timeout_s=3.0)

    def restless(k: int) -> Measurement:
        return face((12 if k < 60 else 5) * np.sin(k / 4), Lip_Top_Curl=0.02)

    took = driver.show(6, restless)
    assert took is not None
    assert 3.0 <= took <= 3.2
    assert driver.calibrator.rough
    np.testing.assert_allclose(driver.reference.rotation @ driver.reference.rotation.T, np.eye(3), atol=1e-9)
    assert driver.reference.values[INDEX["Lip Top Curl"]] == pytest.approx(
        NEUTRAL[INDEX["Lip Top Curl"]] + 0.02
    )


def test_a_lost_face_starts_the_second_anew():
    driver = Driver()
    driver.show(0.8, face())
    driver.calibrator.face_lost()
    assert "no face" in driver.calibrator.hint
    assert driver.show(0.8, face()) is None
    assert driver.show(0.3, face()) is not None


def test_a_clock_that_goes_back_starts_the_second_anew():
    driver = Driver()
    driver.show(0.8, face())
    driver.t_ns -= 3_000_000_000
    assert driver.show(0.8, face()) is None
    assert driver.show(0.3, face()) is not None


def test_too_few_frames_are_no_reference():
    driver = Driver(min_frames=8)
    for k in range(6):
        assert driver.calibrator.add(k * 200_000_000, face()) is None


def test_a_reference_survives_its_file(tmp_path: Path):
    path = tmp_path / "driver.json"
    reference = Reference(NEUTRAL + np.linspace(-0.1, 0.1, 30), rotation_matrix(0.1, -0.2, 0.05))
    reference.save(path)
    again = Reference.load(path)
    np.testing.assert_array_equal(again.values, reference.values)
    np.testing.assert_array_equal(again.rotation, reference.rotation)
    assert [p.name for p in tmp_path.iterdir()] == ["driver.json"]  # nothing half written is left


def test_a_place_that_cannot_be_written(tmp_path: Path):
    with pytest.raises(NotFoundError, match="cannot be written"):
        Reference(NEUTRAL, np.eye(3)).save(tmp_path / "none" / "driver.json")


def test_a_missing_reference(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"driver.json: No such file"):
        Reference.load(tmp_path / "driver.json")


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d["controls"].pop("Jaw Pitch"),
        lambda d: d["controls"].update({"Jaw Pitch": "wide"}),
        lambda d: d["controls"].update({"Jaw Pitch": float("nan")}),
        lambda d: d["controls"].update({"Jaw Pitch": float("inf")}),
        lambda d: d.pop("rotation"),
        lambda d: d.update(rotation=[[1, 0, 0], [0, 1, 0]]),
        lambda d: d.update(rotation=[[1, 0, 0], [0, 1], [0]]),
        lambda d: d.update(rotation=[[2, 0, 0], [0, 2, 0], [0, 0, 2]]),
        lambda d: d.update(rotation=[[float("nan")] * 3] * 3),
        lambda d: d.update(controls=[1, 2, 3]),
    ],
)
def test_a_damaged_reference_is_refused_in_one_line(tmp_path: Path, damage):
    path = tmp_path / "driver.json"
    Reference(NEUTRAL, np.eye(3)).save(path)
    data = json.loads(path.read_text())
    damage(data)
    path.write_text(json.dumps(data))
    with pytest.raises(BadArgumentError, match="calibrate again") as error:
        Reference.load(path)
    assert "driver.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff\xfe\x00"], ids=repr)
def test_a_file_that_is_no_reference(tmp_path: Path, content: bytes):
    path = tmp_path / "driver.json"
    path.write_bytes(content)
    with pytest.raises(BadArgumentError, match="calibrate again"):
        Reference.load(path)


def expression(m: Measurement, reference: Measurement, **settings) -> np.ndarray:
    retargeter = Retargeter(Reference(reference.values, reference.rotation), MotionSettings(**settings))
    return retargeter.expression(m, 7, 123, "single-stage").values


def test_the_reference_face_is_the_robot_s_neutral():
    m = face(10, 5, -3, Lip_Corner_Raise_Left=0.2, Eyelid_Upper_Left=-0.3)
    np.testing.assert_allclose(expression(m, m), NEUTRAL, atol=1e-12)


def test_an_expression_says_where_it_comes_from():
    m = face()
    e = Retargeter(Reference(NEUTRAL, np.eye(3)), MotionSettings()).expression(m, 7, 123, "single-stage")
    assert (e.frame_seq, e.t_capture_ns, e.pipeline, e.presence) == (7, 123, "single-stage", 0.99)
    assert e.landmarks is m.landmarks


def test_the_head_moves_relative_to_the_resting_head():
    values = expression(face(25, -10), face(10, -10))
    # The turn is measured in the head's own axes: about 15 degrees sideways, nearly level.
    assert np.degrees(values[INDEX["Head Yaw"]]) == pytest.approx(15, abs=0.5)
    assert abs(np.degrees(values[INDEX["Head Pitch"]])) < 1
    values = expression(face(0, 12, 20), face())
    assert np.degrees(values[INDEX["Head Pitch"]] + values[INDEX["Neck Pitch"]]) == pytest.approx(12)
    assert np.degrees(values[INDEX["Head Roll"]] + values[INDEX["Neck Roll"]]) == pytest.approx(20)


def test_the_reference_s_head_columns_do_not_matter():
    odd = face(Head_Yaw=0.4, Neck_Roll=-0.2)
    np.testing.assert_allclose(expression(face(), odd), NEUTRAL, atol=1e-12)


def test_gain_is_per_group():
    m = face(10, Lip_Corner_Raise_Left=0.1, Brow_Inner_Left=0.2)
    plain = expression(m, face()) - NEUTRAL
    values = expression(m, face(), gain={"lips": 2.0, "head": 0.5, "brows": 0.0}) - NEUTRAL
    assert values[INDEX["Lip Corner Raise Left"]] == pytest.approx(2 * plain[INDEX["Lip Corner Raise Left"]])
    assert values[INDEX["Head Yaw"]] == pytest.approx(plain[INDEX["Head Yaw"]] / 2)
    assert values[INDEX["Brow Inner Left"]] == 0


def test_mirror_swaps_the_robot_s_sides():
    m = face(10, Lip_Corner_Raise_Left=0.1)
    np.testing.assert_allclose(expression(m, face(), mirror=True), mirrored(expression(m, face())))
    assert expression(m, face(), mirror=True)[INDEX["Head Yaw"]] < 0
