from __future__ import annotations

import numpy as np

from x2c_edge.controls import NEUTRAL, indices, mirrored
from x2c_edge.frames import Frame

FRAME_NS = 33_333_333
GEAR = "single-stage"


class Viewer:
    """Shows pictures to a Vision, 30 a second."""

    def __init__(self, vision) -> None:
        self.vision, self.seq = vision, 0

    def show(self, picture: np.ndarray, count: int = 1) -> list:
        sights = []
        for _ in range(count):
            sights.append(self.vision.process(Frame(self.seq, self.seq * FRAME_NS, picture), GEAR))
            self.seq += 1
        return sights


def test_a_face_is_calibrated_and_then_followed(parts, portrait):
    viewer = Viewer(parts(reference=False).eyes)
    sights = viewer.show(portrait, 40)
    assert all(s.landmarks is not None for s in sights)
    ready = [s.has_reference for s in sights]
    first = ready.index(True)
    assert 26 <= first <= 33  # about a second
    assert all(ready[first:])
    assert all((s.expression is not None) == s.has_reference for s in sights)
    assert sights[first - 1].hint == "hold still with a relaxed face"
    assert sights[-1].hint == ""
    e = sights[-1].expression
    assert (e.frame_seq, e.t_capture_ns, e.pipeline) == (39, 39 * FRAME_NS, GEAR)
    np.testing.assert_allclose(e.values, NEUTRAL, atol=0.02)  # the face has not moved
    assert viewer.vision.with_face == 40
    assert viewer.vision.neutral == "as taken"
    assert viewer.vision.reference is not None


def test_everybody_is_followed_from_the_first_frame(parts, portrait):
    vision = parts(reference=False, neutral="auto").eyes
    assert vision.has_reference
    (sight,) = Viewer(vision).show(portrait)
    assert sight.expression is not None
    assert sight.hint == ""
    assert vision.neutral == "average person, 0% learnt"
    vision.recalibrate()
    sights = Viewer(vision).show(portrait, 40)
    assert all(s.expression is not None for s in sights)  # it goes on following meanwhile
    assert sights[10].hint == "hold still with a relaxed face"
    assert "as given" in vision.neutral


def test_no_face_no_expression(parts, portrait):
    parts = parts()
    viewer = Viewer(parts.eyes)
    (sight,) = viewer.show(np.full_like(portrait, 90))
    assert sight.crop is None
    assert sight.landmarks is None
    assert sight.expression is None
    assert sight.hint == "no face in view"
    (sight,) = viewer.show(portrait)
    assert sight.expression is not None  # the reference was given
    assert viewer.vision.with_face == 1
    assert parts.book.stage("locate").count == 2
    assert parts.book.stage("net").count == 2  # the found face was looked at twice
    assert 0 < sight.steps_ns <= sight.total_ns


def test_losing_the_face_starts_the_calibration_anew(parts, portrait):
    viewer = Viewer(parts(reference=False).eyes)
    viewer.show(portrait, 20)
    (sight,) = viewer.show(np.full((64, 64, 3), 90, np.uint8))  # another size: the follower starts anew
    assert "no face" in sight.hint
    sights = viewer.show(portrait, 40)
    first = [s.has_reference for s in sights].index(True)
    assert 26 <= first <= 33


def test_the_driver_s_neutral_can_be_taken_anew(parts, portrait):
    viewer = Viewer(parts().eyes)
    assert viewer.show(portrait)[0].has_reference
    before = viewer.vision.reference
    viewer.vision.recalibrate()
    sights = viewer.show(portrait, 40)
    assert not sights[0].has_reference
    assert sights[0].expression is None
    assert sights[-1].has_reference
    assert viewer.vision.reference is not before


def test_gain_and_mirror_can_be_tried(parts, portrait):
    viewer = Viewer(parts().eyes)
    plain = viewer.show(portrait)[0].expression.values
    viewer.vision.retune({"brows": 0.0, "lips": 0.0}, mirror=False)
    tuned = viewer.show(portrait)[0].expression.values
    still = [*indices("brows"), *indices("lips")]
    np.testing.assert_array_equal(tuned[still], NEUTRAL[still])
    assert np.abs(plain[still] - NEUTRAL[still]).max() > 0
    viewer.vision.retune({}, mirror=True)
    np.testing.assert_allclose(viewer.show(portrait)[0].expression.values, mirrored(plain), atol=0.05)
