from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools.dataset import face_dataset as data
from tools.evaluate import people_report
from tools.evaluate.people_traits import Traits, face_brightness, skin_ita, traits_of
from x2c_edge import packs
from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.errors import BadArgumentError
from x2c_edge.nets.landmarks import OVAL
from x2c_edge.runtime.gears import PIPELINE_NETS


def painted(bgr: tuple[int, int, int], faces: data.FaceSet) -> np.ndarray:
    return np.full_like(faces.images[0], bgr)


def test_the_typology_angle_is_that_of_its_formula(faces: data.FaceSet):
    """Known colours: L* and b* by OpenCV's own formula on one pixel, the angle from them."""
    for bgr in ((150, 180, 220), (60, 80, 120), (25, 35, 60)):
        lab = cv2.cvtColor(np.float32([[bgr]]) / 255, cv2.COLOR_BGR2LAB)[0, 0]
        wanted = np.degrees(np.arctan2(lab[0] - 50, lab[2]))
        assert skin_ita(painted(bgr, faces), faces.points[0]) == pytest.approx(wanted, abs=0.01)
    light, dark = (skin_ita(painted(c, faces), faces.points[0]) for c in ((170, 195, 230), (25, 35, 60)))
    assert light > 41 > 10 > dark


def test_a_grey_picture_has_no_skin_tone(faces: data.FaceSet):
    assert np.isnan(skin_ita(painted((120, 120, 120), faces), faces.points[0]))


def test_brightness_is_the_face_s_and_not_the_background_s(faces: data.FaceSet):
    image = painted((255, 255, 255), faces)
    outline = cv2.convexHull(np.round(faces.points[0][: len(OVAL)]).astype(np.int32))
    cv2.fillConvexPoly(image, outline, (40, 40, 40))
    assert face_brightness(image, faces.points[0]) == pytest.approx(40)


def test_a_person_has_one_skin_tone_and_every_picture_is_in_one_group_of_each(faces: data.FaceSet):
    images = list(faces.images)
    images[0] = painted((25, 35, 60), faces)
    images[1] = painted((120, 120, 120), faces)  # the same person, in grey
    traits = traits_of(replace(faces, images=images))
    assert faces.identity_id[0] == faces.identity_id[1]
    assert traits.ita[0] == traits.ita[1]
    assert np.isfinite(traits.ita[0])
    covered: dict[str, np.ndarray] = {}
    for what, _, chosen in traits.groups():
        covered[what] = covered.get(what, 0) + chosen.astype(int)
    assert set(covered) == {"skin tone", "glasses", "head angle", "light"}
    assert all((count == 1).all() for count in covered.values())


def test_only_the_split_that_was_looked_through_says_who_wears_glasses(faces: data.FaceSet):
    worn = replace(faces, source_id=np.where(np.arange(12) < 3, 1764, 0).astype(np.int16))
    assert traits_of(worn).glasses.sum() == 3
    assert traits_of(replace(worn, split="val")).glasses is None


def two_sides(worse: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of 20 people with 10 pictures each; every second person's are larger by ``worse``."""
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(20), 10)
    chosen = people % 2 == 0
    return 0.05 + 0.005 * rng.standard_normal(200) + worse * chosen, chosen, people


def test_a_group_that_is_worse_shows_and_one_that_is_not_does_not():
    def interval(worse: float) -> tuple[float, float]:
        text = people_report.against_the_rest(*two_sides(worse))
        low, high = text[text.index("(") + 1 : -1].split(" to ")
        return float(low), float(high)

    low, high = interval(0.02)
    assert low > 0.015
    assert high < 0.025
    low, high = interval(0.0)
    assert -0.01 < low <= 0 <= high < 0.01


def test_one_person_is_no_group():
    error, _, people = two_sides(0.02)
    assert people_report.against_the_rest(error, people == 3, people) == "-"


def test_the_tables_find_the_people_and_the_control_that_are_worse(faces: data.FaceSet):
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 1, (200, 30))
    people = np.repeat(np.arange(20, dtype=np.int16), 10)
    dark = people % 2 == 0
    found = labels + np.where(dark[:, None], 0.2, 0.0)
    found[:, INDEX["Jaw Yaw"]] = rng.uniform(0, 1, 200)
    traits = Traits(np.where(dark, 0.0, 60.0), np.zeros(200), np.full(200, 120.0), None, people)
    rows = people_report.frame_table({"direct": found}, labels, traits)
    assert [row[:5] for row in rows] == [
        ["direct", "everyone", "", "200", "20"], ["direct", "skin tone", "light", "100", "10"],
        ["direct", "skin tone", "dark or brown", "100", "10"],
        ["direct", "head angle", "under 10°", "200", "20"], ["direct", "light", "middling", "200", "20"],
    ]  # fmt: skip
    assert float(rows[2][6]) > float(rows[1][6]) + 0.15
    assert all(len(row) == len(people_report.FRAME_HEADER) for row in rows)
    controls = people_report.control_table({"direct": found}, labels)
    assert controls[0][0] == "Jaw Yaw"
    assert len(controls) == 30
    weakest = people_report.weakest_table({"direct": found}, labels, traits)
    assert all(row[3].startswith("Jaw Yaw") for row in weakest)


def test_gears_are_the_pack_s_own(real_pack: str):
    pack = packs.open_pack(real_pack)
    have = people_report.gears_in(pack, [])
    assert have == [name for name, net in PIPELINE_NETS if net in pack.nets]
    assert people_report.gears_in(pack, have[-1:]) == have[-1:]
    with pytest.raises(BadArgumentError, match=r"--gear jet: pack '.*' has .*single-stage"):
        people_report.gears_in(pack, ["jet"])


def test_every_gear_reads_people_as_the_other_reports_do(shared: Path, real_pack: str):
    """A few pictures: controls that follow the labels, in one convention whatever the gear."""
    pack, faces = packs.open_pack(real_pack), data.load("val")
    rows = range(0, len(faces.images), 12)
    labels = data.label_controls(faces)[rows]
    for gear in people_report.gears_in(pack, []):
        found = people_report.read_by(gear, pack, faces, "auto", rows)
        assert found.shape == labels.shape
        compared = people_report.agreement(found, labels)
        still = people_report.agreement(np.tile(NEUTRAL, (len(rows), 1)), labels)
        assert compared.mean("r") > 0.6, gear
        assert compared.mean("error") < 0.6 * still.mean("error"), gear
        assert compared.r[INDEX["Head Yaw"]] > 0.9, gear
