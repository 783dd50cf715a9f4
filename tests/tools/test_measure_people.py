from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tools.dataset import face_dataset as data
from tools.train import measure_people
from x2c_edge import packs
from x2c_edge.controls import INDEX, N_CONTROLS
from x2c_edge.errors import NotFoundError
from x2c_edge.pipelines.people import people_of

NAMES = [f"{name}{side}" for name in measure_people.CALM for side in ("Left", "Right")]


@pytest.fixture
def calm(faces: data.FaceSet) -> data.FaceSet:
    """The same faces with blendshapes that have names: the second half of them smile."""
    blend = np.full((len(faces.images), len(NAMES)), 0.02)
    blend[6:, [NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right")]] = 0.6
    rotation = data.rotation_from_angles(np.zeros((len(faces.images), 3)))
    return data.FaceSet(**{**vars(faces), "blendshapes": blend, "names": NAMES, "rotation": rotation})


def test_rest_is_calm_and_frontal(calm: data.FaceSet):
    assert measure_people.at_rest(calm).tolist() == [True] * 6 + [False] * 6
    turned = data.rotation_from_angles(np.tile([0.5, 0, 0], (12, 1)))
    aside = data.FaceSet(**{**vars(calm), "rotation": turned})
    assert not measure_people.at_rest(aside).any()


def test_people_are_told_from_moments():
    """Known deviations come back, and a person with many pictures counts once."""
    rng = np.random.default_rng(0)
    count = rng.integers(3, 9, 400)
    identity = np.repeat(np.arange(400, dtype=np.int16), count)
    own = rng.normal(0.5, 0.1, (400, N_CONTROLS))
    rest, between, within = measure_people.rests(
        np.repeat(own, count, axis=0) + rng.normal(0, 0.05, (len(identity), N_CONTROLS)), identity
    )
    np.testing.assert_allclose(rest, 0.5, atol=0.025)
    np.testing.assert_allclose(between, 0.1, atol=0.015)
    np.testing.assert_allclose(within, 0.05, atol=0.005)


def test_gains_make_up_for_weak_answers_within_a_clip():
    rng = np.random.default_rng(0)
    clip = np.repeat(np.array([0, 1, -1], np.int16), 50)
    labels = rng.normal(0, 0.2, (150, N_CONTROLS))
    person = np.where(clip == 1, 0.5, 0.0)[:, None]  # what differs between people is no motion
    found = 0.8 * labels + 3 * person
    gain = measure_people.gains(found, labels + person, clip)
    np.testing.assert_allclose(gain, measure_people.SLOPE / 0.8, atol=1e-6)
    sides = found.copy()
    sides[:, INDEX["Brow Inner Left"]] *= 0.5  # both sides of a face are made alike
    gain = measure_people.gains(sides, labels + person, clip)
    left, right = gain[INDEX["Brow Inner Left"]], gain[INDEX["Brow Inner Right"]]
    assert left == right == measure_people.MOST_GAIN
    assert (measure_people.gains(2 * labels, labels, clip) == 1).all()  # nothing is made weaker


def test_a_pack_is_measured_and_written(calm: data.FaceSet, small_pack: Path):
    pack = packs.open_pack(str(small_pack))
    people = measure_people.measure(pack, calm, calm)
    measure_people.write(pack, people)
    again = packs.open_pack(str(small_pack))
    assert packs.verify(again) == []
    np.testing.assert_allclose(people_of(again).rest, people.rest, atol=1e-5)
    assert set(people.gain) == {"single-stage"}


def test_a_set_without_anybody_at_rest_is_said(calm: data.FaceSet, small_pack: Path) -> None:
    smiling = data.FaceSet(**{**vars(calm), "blendshapes": np.full_like(calm.blendshapes, 0.6)})
    with pytest.raises(NotFoundError, match="fewer than two people"):
        measure_people.measure(packs.open_pack(str(small_pack)), smiling, calm)


def test_a_set_without_a_label_is_said(faces: data.FaceSet) -> None:
    with pytest.raises(NotFoundError, match="no labels 'jawOpen"):
        measure_people.at_rest(faces)


def test_a_pack_that_cannot_be_written_still_opens(calm: data.FaceSet, small_pack: Path):
    """Changed meanwhile, or no room for the manifest: the older table stays, and nothing else is left."""
    pack = packs.open_pack(str(small_pack))
    people = measure_people.measure(pack, calm, calm)
    first = measure_people.write(pack, people)
    files = set(small_pack.iterdir())
    other = replace(people, rest=people.rest + 0.01)
    with pytest.raises(NotFoundError, match="was changed while this ran"):
        measure_people.write(pack, other)
    assert set(small_pack.iterdir()) == files
    (small_pack / "manifest.toml.partial").mkdir()  # where the manifest is written first
    with pytest.raises(NotFoundError, match="cannot be written"):
        measure_people.write(first, other)
    (small_pack / "manifest.toml.partial").rmdir()
    assert set(small_pack.iterdir()) == files
    np.testing.assert_allclose(people_of(packs.open_pack(str(small_pack))).rest, people.rest, atol=1e-5)
    packs.write_manifest(measure_people.write(first, other))  # what is given back can be gone on with
    assert len(set(small_pack.iterdir())) == len(files)
    np.testing.assert_allclose(people_of(packs.open_pack(str(small_pack))).rest, other.rest, atol=1e-5)
