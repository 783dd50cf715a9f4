from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from x2c_edge.controls import NEUTRAL
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.rotation import rotation_matrix


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
