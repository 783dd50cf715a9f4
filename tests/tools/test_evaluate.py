from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tools.evaluate import tables as evaluate
from tools.evaluate.mapping_errors import errors_of
from tools.evaluate.tables import HEADER, load_mapping, table_row
from tools.train.mapping_file import save_trained
from tools.train.mapping_pictures import ArrayPairs
from tools.train.mapping_recipe import Recipe, trunk_of
from tools.train.mapping_training import Machine, predict, train
from x2c_edge.controls import CONTROLS, NEUTRAL, to_robot
from x2c_edge.errors import NotFoundError
from x2c_edge.robot.face import AmecaFace


@pytest.fixture(scope="module")
def pairs() -> ArrayPairs:
    """30 pictures of the virtual Ameca, 32 pixels wide."""
    face, rng = AmecaFace(32), np.random.default_rng(0)
    controls = NEUTRAL + rng.normal(0, 0.1, (30, 30))
    return ArrayPairs(np.stack([face.render(c).copy() for c in controls]), controls.astype(np.float32))


@pytest.fixture(scope="module")
def folder(pairs: ArrayPairs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in the published layout, and a network that has seen some of it."""
    folder = tmp_path_factory.mktemp("set")
    (folder / "images").mkdir()
    lines = []
    for i, image in enumerate(pairs.images):
        cv2.imwrite(str(folder / "images" / f"p{i}.png"), image)
        line = {"file_name": f"p{i}.png", "ctrl_value": to_robot(pairs.controls[i]).tolist()}
        lines.append(json.dumps(line))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    recipe = Recipe(trunk_of("resnet", 32, (4, 4, 8, 8), (1, 1, 1, 1)), 32, (16,), epochs=1, batch=8)
    trained = train(recipe, pairs, machine=Machine(precision="fp32"), say=lambda line: None)
    save_trained(folder / "net.json", replace(trained, accuracy={"division": "random"}))
    save_trained(folder / "other.json", replace(trained, accuracy={"division": "animation"}))
    return folder


def run(*arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(evaluate.main)
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


def test_a_row_has_a_cell_for_every_column():
    wanted = np.zeros((4, 30))
    with_animations = errors_of(wanted + 0.25, wanted, np.array([0, 0, 1, 1], np.int32))
    row = table_row("ours", with_animations)
    assert row[:6] == ["ours", "0.2500", "0.0000", "0.00000", "0.2500 to 0.2500", "0.2500 to 0.2500"]
    assert len(row) == len(HEADER)
    assert row[-1] == "–"
    assert table_row("SBC", with_animations, 2.3075)[-1] == "2.3075"
    assert table_row("ours", errors_of(wanted, wanted))[5] == "–"


def test_both_tables_of_a_set(folder: Path, tmp_path: Path):
    page, plot, figures = tmp_path / "page.md", tmp_path / "plot.png", tmp_path / "figures.json"
    other = tmp_path / "keep" / "LMKC-of-another-run.pt"
    other.parent.mkdir()
    other.write_text("")
    sections = [f"<!-- bench:{name} -->\nold\n<!-- /bench -->\n" for name in ("mapping", "trunks")]
    page.write_text("\n".join(["before\n", *sections, "after\n"]))
    code, text = run(
        folder, "--mapping", folder / "net.json", "--trunk", folder / "net.json", "--division", "random",
        "--baselines", "RC,RT,LMKC", "--effort", 0.05, "--write", page, "--plot", plot, "--json", figures,
        "--limit-train", 20, "--keep", tmp_path / "keep",
    )  # fmt: skip
    assert code == 0, text
    written = page.read_text()
    assert written.startswith("before")
    assert written.endswith("after\n")
    assert "old" not in written
    for table in (text, written):
        assert "Tested on 6 pictures" in table
        assert "24 pictures are on the training side, baselines learnt from 20 of them." in table
        for name in ("ours", "RC", "RT", "LMKC"):
            assert f"\n| {name} | " in table
        assert "| ResNet (0.0" in table
        assert all(f"\n| {c.name} | " in table for c in CONTROLS)
    assert list(other.parent.iterdir()) == [other]
    content = json.loads(figures.read_text())
    assert list(content["table4"]) == ["ours", "RC", "RT", "LMKC"]
    assert content["table4"]["ours"] == next(iter(content["table5"].values()))
    assert content["table4"]["RC"]["mae"] > content["table4"]["RT"]["mae"]
    assert cv2.imread(str(plot)) is not None


def test_another_table_leaves_the_first_where_it_is(folder: Path, tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:mapping -->\nmeasured before\n<!-- /bench -->\n")
    code, text = run(
        folder, "--trunk", folder / "net.json", "--division", "random", "--baselines", "none", "--write", page
    )
    assert code == 0, text
    assert "measured before" in page.read_text()
    assert "| ResNet (0.0" in page.read_text()


def test_a_pack_is_read_with_its_own_input_and_unit(folder: Path, pairs: ArrayPairs, tmp_path: Path):
    from safetensors.torch import save_file

    from x2c_edge import packs
    from x2c_edge.nets.arch import config_to_manifest, folded

    loaded = load_mapping(folder / "net.json", None)
    assert loaded is not None
    trained, degrees = loaded
    assert not degrees
    pack = tmp_path / "pack"
    pack.mkdir()
    save_file(
        {k: v.contiguous() for k, v in folded(trained.net).state_dict().items()}, pack / "m.safetensors"
    )
    spec = packs.NetSpec(
        "mapping", pack / "m.safetensors", packs.sha256_of(pack / "m.safetensors"),
        config_to_manifest(trained.net.config), trained.picture, {"angle_unit": "degree"},
    )  # fmt: skip
    packs.write_manifest(packs.Pack("pack", pack, "two-stage", "", "", "", {"mapping": spec}, {}, ""))
    again = load_mapping(None, str(pack))
    assert again is not None
    opened, degrees = again
    assert degrees
    np.testing.assert_allclose(
        predict(opened.net, opened.picture, pairs), predict(trained.net, trained.picture, pairs), atol=1e-5
    )
    learnt = {"mapping_mae": {"division": "animation", "mae": 0.1}}
    packs.write_manifest(packs.Pack("pack", pack, "two-stage", "", "", "", {"mapping": spec}, learnt, ""))
    code, text = run(folder, "--pack", pack, "--division", "random")
    assert (code, len(text.strip().splitlines())) == (2, 1)
    assert f"pack '{pack}': trained on the division by animation" in text
    assert load_mapping(None, None) is None
    packs.write_manifest(packs.Pack("pack", pack, "single-stage", "", "", "", {}, {}, ""))
    with pytest.raises(NotFoundError, match="has no mapping network"):
        load_mapping(None, str(pack))


@pytest.mark.parametrize(("options", "message"), [
    (("--baselines", "RC,XX"), "--baselines XX: choose all, none or of RC, RT"),
    (("--mapping", "net.json", "--pack", "default"), "--mapping and --pack: give one"),
    (("--mapping", "other.json"), "other.json: trained on the division by animation"),
    (("--trunk", "none.json"), "none.json: No such file"),
    (("--division", "animation"), "cannot be divided by 'animation'"),
    (("--pack", "none"), "pack 'none' is not installed"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(
    options: tuple, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    code, text = run(".", "--division", "random", *options)
    assert code in (2, 3)
    assert message in text
    assert len(text.strip().splitlines()) == 1
