"""``run --pipeline two-stage`` end to end at small sizes: a clip in, commands and a reference out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tests import published_files as files
from x2c_edge import packs
from x2c_edge.backends.open import open_backend
from x2c_edge.cli.main import app
from x2c_edge.errors import BadArgumentError, UserError
from x2c_edge.pipelines.reference import Reference
from x2c_edge.runtime.session import _gears


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
    assert _gears(opened, "auto") == ("two-stage", "single-stage")
    assert _gears(opened, "single-stage") == ("single-stage",)


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
