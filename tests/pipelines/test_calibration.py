from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.pipelines.measurements import FRAME_NS, face
from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.calibration import CalibrationSettings, Calibrator
from x2c_edge.pipelines.reference import Reference


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
    driver = Driver(timeout=3.0)

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
