"""A trained net into a pack: sizes, hash and figures go along, and nothing is lost when it does not fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests import published_files as files
from tests.manifest import edit_manifest
from tools.train.mapping_file import save_trained
from tools.train.mapping_training import Trained
from x2c_edge import packs
from x2c_edge.backends.open import open_backend
from x2c_edge.cli.packs import app
from x2c_edge.convert.replace_net import replace_net
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.locked import alone_in
from x2c_edge.nets.mapping import MappingNetwork
from x2c_edge.pipelines.direct import DirectPipeline
from x2c_edge.pipelines.two_stage import TwoStagePipeline


@pytest.fixture
def two_stage(_packs_folder: Path, tmp_path: Path) -> packs.Pack:
    made = packs.open_pack(
        str(files.two_stage_pack(tmp_path, files.random_states(), _packs_folder / "small"))
    )
    figures = {"two_stage": {"mean_r_face_controls": 0.9}, "single_stage": {"mean_r_face_controls": 0.8}}
    packs.write_manifest(replace(made, accuracy=figures))
    return packs.open_pack(str(made.path))


@pytest.fixture
def trained(two_stage: packs.Pack, tmp_path: Path) -> Path:
    from x2c_edge.nets.arch import config_from_manifest

    torch.manual_seed(5)
    spec = two_stage.nets["mapping"]
    net = MappingNetwork(config_from_manifest("mapping", spec.config))
    path = tmp_path / "mine.json"
    save_trained(path, Trained(net.eval(), spec.picture, {}, "a test", {"held_out": 0.02}))
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_mapping_network_goes_in(two_stage: packs.Pack, trained: Path, tmp_path: Path) -> None:
    before = everything(two_stage.path)
    made = replace_net(two_stage, "mapping", trained, tmp_path / "made")
    assert everything(two_stage.path) == before
    assert packs.verify(made) == []
    assert made.nets["mapping"].sha256 != two_stage.nets["mapping"].sha256
    assert made.nets["motion"].sha256 == two_stage.nets["motion"].sha256
    # What was measured with another net is not claimed of this one.
    assert made.accuracy == {"single_stage": {"mean_r_face_controls": 0.8}, "mapping_mae": {"held_out": 0.02}}
    assert made.trained_by.endswith("; mapping: a test")
    TwoStagePipeline(made, open_backend("torch", 1))
    again = replace_net(made, "mapping", trained)  # in its own place
    assert again.path == made.path
    assert packs.verify(again) == []
    assert not list(tmp_path.glob(".made.*"))


def test_the_direct_gear_goes_in_and_leaves_the_others_figures(two_stage: packs.Pack) -> None:
    source = files.with_direct(two_stage)
    stated = {"direct": {"mean": 0.004}}
    packs.write_manifest(replace(source, accuracy=stated))
    made = replace_net(two_stage, "direct", source.path)
    assert made.accuracy == two_stage.accuracy | stated
    assert packs.verify(made) == []
    DirectPipeline(made, open_backend("torch", 1))


def test_what_was_stated_of_the_direct_gear_goes_with_another_net(
    two_stage: packs.Pack, trained: Path
) -> None:
    source = files.with_direct(two_stage)
    packs.write_manifest(replace(source, accuracy=source.accuracy | {"direct": {"mean": 0.004}}))
    made = replace_net(packs.open_pack(str(source.path)), "mapping", trained)
    assert "direct" in made.nets
    assert "direct" not in made.accuracy


def test_a_net_of_another_pack_goes_in(small_pack: Path, two_stage: packs.Pack) -> None:
    other = Path(shutil.copytree(small_pack, small_pack.with_name("other")))
    source = packs.read_manifest(other)
    packs.write_manifest(replace(source, accuracy={"mean_r_face_controls": 0.5}))
    alone = replace_net(packs.open_pack(str(small_pack)), "single_stage", other)
    assert alone.accuracy == {"mean_r_face_controls": 0.5}
    both = replace_net(two_stage, "single_stage", other)
    assert both.accuracy == {"single_stage": {"mean_r_face_controls": 0.5}}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_text("{"), "not a trained mapping network"),
        (lambda path: path.write_text(json.dumps({"format": "x"})), 'its "format" is not'),
        (lambda path: path.with_suffix(".safetensors").write_bytes(b"x"), "is not the one"),
    ],
)
def test_what_does_not_fit_leaves_the_pack_as_it_was(two_stage, trained, spoil, says):
    before = everything(two_stage.path)
    spoil(trained)
    with pytest.raises(NotFoundError, match=says):
        replace_net(two_stage, "mapping", trained)
    assert everything(two_stage.path) == before


def test_two_at_once_lose_nothing(two_stage: packs.Pack, trained: Path) -> None:
    before = everything(two_stage.path)
    with alone_in(two_stage.path.parent), pytest.raises(NotFoundError, match="another x2c-edge command"):
        replace_net(two_stage, "mapping", trained)
    assert everything(two_stage.path) == before


def test_a_file_s_name_says_nothing_of_whose_it_is(two_stage: packs.Pack, tmp_path: Path) -> None:
    """A source whose mapping network lies in motion.safetensors, and a target that keeps nets in a folder."""
    source = Path(shutil.copytree(two_stage.path, tmp_path / "source"))
    (source / "motion.safetensors").rename(source / "x.safetensors")
    (source / "mapping.safetensors").rename(source / "motion.safetensors")
    edit_manifest(
        source,
        lambda data: (
            data["nets"]["mapping"].update(file="motion.safetensors"),
            data["nets"]["motion"].update(file="x.safetensors"),
        ),
    )
    made = replace_net(two_stage, "mapping", source)
    assert packs.verify(made) == []
    (made.path / "weights").mkdir()
    (made.path / "motion.safetensors").rename(made.path / "weights" / "motion.safetensors")
    edit_manifest(made.path, lambda data: data["nets"]["motion"].update(file="weights/motion.safetensors"))
    again = replace_net(packs.open_pack(str(made.path)), "mapping", source)
    assert again.nets["motion"].file == made.path / "weights" / "motion.safetensors"
    taken = replace_net(packs.open_pack(str(source)), "generator", made.path)
    before = everything(taken.path)
    with pytest.raises(NotFoundError, match=r"motion\.safetensors there is another net's"):
        replace_net(taken, "motion", made.path)
    assert everything(taken.path) == before


def test_refusals(two_stage: packs.Pack, trained: Path, small_pack: Path) -> None:
    with pytest.raises(NotFoundError, match="has no net 'iris'; it has motion"):
        replace_net(two_stage, "iris", trained)
    with pytest.raises(BadArgumentError, match="for 'motion' give the folder of a pack"):
        replace_net(two_stage, "motion", trained)
    with pytest.raises(NotFoundError, match="has no net 'motion'"):
        replace_net(two_stage, "motion", small_pack)
    with pytest.raises(BadArgumentError, match="exists already"):
        replace_net(two_stage, "mapping", trained, small_pack)


@pytest.mark.slow
def test_graphs_are_made_anew(real_pack: str, tmp_path: Path) -> None:
    pack = packs.open_pack(real_pack)
    made = replace_net(pack, "single_stage", pack.path, tmp_path / "made")
    assert packs.verify(made) == []
    assert made.files.keys() == pack.files.keys()


@pytest.mark.parametrize(
    ("net", "says"),
    [
        ("single_stage", ["measure_people", "two_stage_report --write"]),
        ("motion", ["measure_people", "tools.train.direct", "two_stage_report --write"]),
        ("mapping", ["measure_people", "tools.train.direct", "two_stage_report --write"]),
        ("direct", ["measure_people", "two_stage_report --write"]),
    ],
)
def test_what_is_to_be_done_after_it_is_said(two_stage: packs.Pack, net: str, says: list[str]) -> None:
    """This pack's motion extractor does not hear the tracker, so direct did not learn from that."""
    pack = str(files.with_direct(two_stage).path)
    said = CliRunner().invoke(app, ["replace-net", pack, net, pack]).stdout.splitlines()[1:]
    assert len(said) == len(says)
    assert all(word in line for word, line in zip(says, said, strict=True))


def test_a_pack_of_one_net_is_told_to_measure_people(small_pack: Path) -> None:
    result = CliRunner().invoke(app, ["replace-net", str(small_pack), "single_stage", str(small_pack)])
    assert result.exit_code == 0, result.exception
    assert "measure_people" in result.stdout
