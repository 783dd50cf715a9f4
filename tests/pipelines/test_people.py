from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from x2c_edge import packs, retarget
from x2c_edge.controls import INDEX, N_CONTROLS, NEUTRAL
from x2c_edge.errors import NotFoundError
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.people import People, people_of


def a_table() -> People:
    rng = np.random.default_rng(1)
    columns = rng.uniform(0.01, 0.9, (6, N_CONTROLS)).round(5)
    pose, rest, between, within, drawn, gain = columns
    motion = FaceMotion(np.eye(3), np.zeros((3, 3)), np.zeros(3), 1.0)
    return People(pose, rest, between, within, {"two-stage": gain}, motion, drawn)


def pack_with(folder: Path, content: bytes) -> packs.Pack:
    path = folder / "people.json"
    path.write_bytes(content)
    pack = packs.Pack("p", folder, "single-stage", "", "", "", {}, {}, "")
    return replace(pack, files={"people": packs.PackFile(path, "")})


def test_a_table_survives_its_file(tmp_path: Path):
    table = a_table()
    again = people_of(pack_with(tmp_path, json.dumps(table.to_json()).encode()))
    for name in ("pose", "rest", "between", "within", "drawn"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    np.testing.assert_array_equal(again.gain["two-stage"], table.gain["two-stage"])
    assert again.motion is not None
    assert again.motion.exp.shape == (3, 3)


def test_a_pack_without_one_has_neutral_people(tmp_path: Path):
    people = people_of(packs.Pack("p", tmp_path, "single-stage", "", "", "", {}, {}, ""))
    np.testing.assert_array_equal(people.rest, NEUTRAL)
    assert people.motion is None
    assert people.gain == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("rest"),
        lambda d: d["rest"].pop("Jaw Pitch"),
        lambda d: d["rest"].update({"Jaw Pitch": "wide"}),
        lambda d: d["rest"].update({"Jaw Pitch": float("nan")}),
        lambda d: d["rest"].update({"Jaw Pitch": 1e300}),
        lambda d: d["within"].update({"Jaw Pitch": 0.0}),
        lambda d: d["between"].update({"Jaw Pitch": -0.1}),
        lambda d: d["gain"]["two-stage"].update({"Jaw Pitch": -1.0}),
        lambda d: d["motion"].update(scale=0),
        lambda d: d.update(format="another"),
    ],
)
def test_a_damaged_table_is_refused_in_one_line(tmp_path: Path, damage):
    data = a_table().to_json()
    damage(data)
    with pytest.raises(NotFoundError, match=r"people\.json: not a table .* get the pack again") as error:
        people_of(pack_with(tmp_path, json.dumps(data).encode()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"[" * 100_000, b"\xff"], ids=lambda c: repr(c[:3]))
def test_a_file_that_is_no_table(tmp_path: Path, content: bytes):
    with pytest.raises(NotFoundError, match="not a table"):
        people_of(pack_with(tmp_path, content))


def test_the_default_pack_knows_its_people():
    people = people_of(packs.open_pack())
    face = [k for k in retarget.FACE_CONTROLS if k not in retarget.GAZE_CONTROLS]
    assert np.abs(people.rest - people.pose)[face].max() < 0.08  # the nets see rest where the labels put it
    assert (people.between[face] > 0).all()
    assert (people.between[list(retarget.GAZE_CONTROLS)] == 0).all()
    assert people.between[INDEX["Brow Inner Left"]] > 2 * people.between[INDEX["Lip Corner Raise Left"]]
    for gear in ("single-stage", "two-stage"):
        assert (people.gain[gear] >= 1).all()
        assert (people.gain[gear] <= 1.5).all()
    assert people.motion is not None
