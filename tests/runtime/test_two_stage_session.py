"""``run --pipeline two-stage`` end to end at small sizes: a clip in, commands and a reference out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from tests import published_files as files
from x2c_edge import packs
from x2c_edge.backends.open import open_backend
from x2c_edge.cli.main import app
from x2c_edge.errors import BadArgumentError, UserError
from x2c_edge.pipelines.reference import Reference
from x2c_edge.runtime.gears import gears_in_words, gears_of


@pytest.fixture(scope="module")
def pack(_packs_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-stage")
    return files.two_stage_pack(folder, files.random_states(), _packs_folder / "small")


@pytest.fixture
def run(pack, face_clip, tmp_path):
    def call(name, *arguments):
        link = tmp_path / f"{name}.jsonl"
        result = CliRunner().invoke(
            app,
            ["run", "--input", str(face_clip), "--fast", "--pack", str(pack), "--threads", "1",
             "--link", f"jsonl:{link}", *map(str, arguments)],
        )  # fmt: skip
        if isinstance(result.exception, UserError):
            raise result.exception
        assert result.exit_code == 0, (result.output, result.exception)
        return [json.loads(line) for line in link.read_text().splitlines()]

    return call


def test_gears_of_a_two_stage_pack(pack):
    opened = packs.open_pack(str(pack))
    assert gears_of(opened, "auto") == ("two-stage", "single-stage")  # it states no accuracy
    assert gears_of(opened, "single-stage") == ("single-stage",)


@pytest.mark.parametrize(
    ("two_stage", "single_stage", "gears"),
    [
        (0.82, 0.875, ("single-stage",)),
        (0.89, 0.875, ("two-stage", "single-stage")),
        (0.878, 0.875, ("two-stage", "single-stage")),
        (0.876, 0.875, ("single-stage",)),
        (0.875, 0.875, ("single-stage",)),
        (None, 0.875, ("single-stage",)),
        ("good", 0.875, ("single-stage",)),
        (0.8, None, ("two-stage", "single-stage")),
    ],
)
def test_auto_leaves_out_a_gear_that_is_not_worth_its_time(pack, two_stage, single_stage, gears):
    stated = {"two_stage": {"mean_r_face_controls": two_stage}}
    stated["single_stage"] = {"mean_r_face_controls": single_stage}
    measured = replace(packs.open_pack(str(pack)), accuracy=stated)
    assert gears_of(measured, "auto") == gears
    assert gears_of(measured, "two-stage") == ("two-stage",)
    asked_for = "" if "two-stage" in gears else "; on request two-stage"
    assert gears_in_words(measured) == ", ".join(gears) + asked_for


def test_direct_stands_between_and_goes_by_its_accuracy(pack):
    made = files.with_direct(packs.open_pack(str(pack)))
    assert gears_of(made, "auto") == ("two-stage", "direct", "single-stage")
    assert gears_of(made, "direct") == ("direct",)
    stated = {"two_stage": 0.9, "direct": 0.85, "single_stage": 0.87}
    figures = {name: {"mean_r_face_controls": r} for name, r in stated.items()}
    assert gears_of(replace(made, accuracy=figures), "auto") == ("two-stage", "single-stage")


def test_direct_runs_a_clip_and_falls_back(pack, face_clip, tmp_path):
    made = files.with_direct(packs.open_pack(str(pack)))
    for name in ("direct", "auto"):
        link = tmp_path / f"{name}.jsonl"
        result = CliRunner().invoke(
            app,
            ["run", "--input", str(face_clip), "--fast", "--pack", str(made.path), "--threads", "1",
             "--pipeline", name, "--link", f"jsonl:{link}"],
        )  # fmt: skip
        assert result.exit_code == 0, (result.output, result.exception)
        lines = [json.loads(line) for line in link.read_text().splitlines()]
        seen = {line["pipeline"] for line in lines if line["state"] == "FOLLOWING"}
        assert seen == {"direct" if name == "direct" else "two-stage"}


def test_a_clip_runs_and_its_reference_gives_the_same_again(run, tmp_path):
    reference = tmp_path / "driver.json"
    first = run("first", "--save-reference", reference)  # two-stage is the first gear
    assert {line["pipeline"] for line in first if line["state"] == "FOLLOWING"} == {"two-stage"}
    assert Reference.load(reference).motion is not None
    again = [
        run(name, "--pipeline", "two-stage", "--reference", reference) for name in ("again", "once-more")
    ]
    assert [line["controls"] for line in again[0]] == [line["controls"] for line in again[1]]
    following = [list(line["controls"].values()) for line in again[0] if line["state"] == "FOLLOWING"]
    assert len(following) > 60
    assert np.isfinite(following).all()


def test_a_single_stage_reference_is_refused_where_motion_must_start_from_it(run, reference_file):
    with pytest.raises(BadArgumentError, match="holds no motion"):
        run("none", "--pipeline", "two-stage", "--neutral", "hold-still", "--reference", reference_file)
    lines = run("auto", "--pipeline", "two-stage", "--reference", reference_file)
    assert lines[0]["state"] == "FOLLOWING"  # motion starts from the first frame instead
    lines = run("single", "--pipeline", "single-stage", "--reference", reference_file)
    assert {line["pipeline"] for line in lines if line["state"] == "FOLLOWING"} == {"single-stage"}


def test_the_backend_s_threads_serve_the_kernels():
    assert open_backend("torch", 2).threads == 2
