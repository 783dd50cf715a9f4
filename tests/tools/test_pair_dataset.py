"""Reading pairs: the published layout, and what is wrong with it. Our own: test_make_dataset.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer

from tools.dataset import compose_animations, dataset_stats
from tools.dataset.pair_dataset import PairDataset
from x2c_edge.controls import CONTROLS, INDEX, NAMES, NEUTRAL, to_robot
from x2c_edge.errors import BadArgumentError, NotFoundError

COUNT = 25


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The layout that misc/dataset_preprocessing.py of the X2CNet repository expects."""
    rng = np.random.default_rng(1)
    lines = []
    for number in [*range(COUNT - 1), 10_007]:
        folder = tmp_path / f"images{number // 10000}"
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), np.full((20, 30, 3), number % 251, np.uint8))
        values = to_robot(NEUTRAL + rng.uniform(-0.1, 0.1, 30))
        lines.append(json.dumps({"file_name": f"{number}.png", "ctrl_value": values.tolist()}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_the_published_layout(published):
    train, test = (PairDataset(published, split, "random") for split in ("train", "test"))
    assert (len(train), len(test)) == (20, 5)
    assert train.size == 20
    assert set(train.animation) == {-1}
    everything = [(int(d.image(i)[0, 0, 0]), d.controls[i]) for d in (train, test) for i in range(len(d))]
    assert {grey for grey, _ in everything} == {*range(COUNT - 1), 10_007 % 251}
    entries = [json.loads(line) for line in (published / "metadata.jsonl").read_text().splitlines()]
    by_grey = {int(entry["file_name"][:-4]) % 251: entry["ctrl_value"] for entry in entries}
    for grey, controls in everything:  # degrees there, radians here
        np.testing.assert_allclose(to_robot(controls), by_grey[grey], rtol=1e-5, atol=1e-6)
    assert train.image(0).shape == (20, 30, 3)


def test_pictures_in_one_folder_are_found_too(published):
    everything = published / "images"
    everything.mkdir()
    for place in ("images0", "images1"):
        for path in (published / place).iterdir():
            path.rename(everything / path.name)
    assert len(PairDataset(published, "train", "random")) == 20


def test_the_published_set_has_no_animations(published):
    with pytest.raises(BadArgumentError, match="cannot be divided by 'animation'; give 'random'"):
        PairDataset(published, "train")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "expected"),
        ("[1]", "expected"),
        ('{"file_name": "1.png"}', "expected"),
        ('{"file_name": "1.png", "ctrl_value": ["x"]}', "expected"),
        ('{"file_name": "1.png", "ctrl_value": [1, 2]}', "30 finite"),
        (json.dumps({"file_name": "1.png", "ctrl_value": [float("nan")] * 30}), "30 finite"),
        (json.dumps({"file_name": "77.png", "ctrl_value": [0.0] * 30}), "picture 77.png is not in"),
    ],
)
def test_bad_lines_are_named(published, line, says):
    with (published / "metadata.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(NotFoundError, match=says) as raised:
        PairDataset(published, "train", "random")
    assert f"metadata.jsonl:{COUNT + 1}: " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_picture_that_is_none(published):
    pairs = PairDataset(published, "train", "random")
    for path in published.glob("images*/*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(NotFoundError, match=r"picture \d+ cannot be decoded"):
        pairs.image(3)


def test_folders_and_splits_that_are_none(tmp_path, published):
    with pytest.raises(NotFoundError, match=r"make a set: python -m tools\.dataset\.make_dataset"):
        PairDataset(tmp_path / "nowhere", "train")
    with pytest.raises(BadArgumentError, match="'train' or 'test', not 'val'"):
        PairDataset(published, "val", "random")


def test_the_statistics_are_those_of_the_numbers(published, tmp_path):
    controls = dataset_stats.whole(published)
    assert controls.shape == (COUNT, 30)
    rows = dataset_stats.table(controls).splitlines()
    assert len(rows) == 2 + len(NAMES)
    cells = [cell.strip() for cell in rows[2 + INDEX["Jaw Yaw"]].strip("|").split("|")]
    jaw = controls[:, INDEX["Jaw Yaw"]].astype(float)
    expected = [jaw.mean(), 0.519, jaw.std(), 0.190, jaw.max(), jaw.min(), 0.5]
    assert cells == ["Jaw Yaw", *(f"{value:.3f}" for value in expected)]


def test_the_paper_s_figures_are_those_of_its_table_3(shared: Path):
    """As the specification lists them: abbreviations, then means, then deviations, in two parts."""
    text = " ".join((shared / "specs" / "paper.md").read_text().replace("\N{MINUS SIGN}", "-").split())
    part = re.compile(r"((?:[A-Z]{2,4} )+[A-Z]{2,4}): mean ([-\d. ]+); sd ([-\d. ]+?)[;.] ")
    listed = {}
    for names, means, spreads in part.findall(text):
        for name, mean, spread in zip(names.split(), means.split(), spreads.split(), strict=True):
            listed[name] = (float(mean), float(spread))
    assert listed == dataset_stats.TABLE_3
    assert {c.abbreviation for c in CONTROLS} == set(listed)


def test_the_plot_and_the_page(published, tmp_path):
    page, picture = tmp_path / "page.md", tmp_path / "images" / "plot.png"
    dataset_stats.main(published, picture, page)
    text = page.read_text()
    assert "25 pairs. Divided by random: 20 pairs for training, 5 pairs for testing." in text
    assert "(images/plot.png)" in text
    image = cv2.imread(str(picture))
    assert image is not None
    blue = np.all(np.abs(image.astype(int) - dataset_stats.BARS) < 3, axis=2)
    assert 0.002 < blue.mean() < 0.3


def test_what_cannot_be_read_or_written_is_one_line(published: Path, tmp_path: Path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(typer.Exit):
        dataset_stats.main(published, None, tmp_path / "file" / "page.md")
    with pytest.raises(typer.Exit):
        compose_animations.main(out=tmp_path / "file" / "new", seed=1, count=1, first=0)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.json").write_text('{"format": "x2c-edge pairs 1"}')
    with pytest.raises(typer.Exit):
        dataset_stats.main(tmp_path / "set", None, None)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "page.md: cannot be written" in lines[0]
    assert "new: Not a directory" in lines[1]
    assert 'manifest.json: "pairs" is missing' in lines[2]
