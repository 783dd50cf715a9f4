"""Still pictures are read absolutely: a smile on a photograph is a smile on the robot."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.runtime.open_run import open_run
from x2c_edge.runtime.outlets import Outputs

CORNERS = [INDEX[f"Lip Corner Raise {side}"] for side in ("Left", "Right")]


@pytest.fixture
def poses(settings, real_pack: str, tmp_path: Path):
    def run(path: Path, **sections) -> np.ndarray:
        """Every command's pose while following."""
        out = tmp_path / "out.jsonl"
        tree = settings(
            run={"pack": real_pack, "pipeline": "single-stage", "link": (f"jsonl:{out}",)},
            capture={"input": str(path)}, **sections,
        )  # fmt: skip
        open_run(tree, Outputs(fast=True)).run()
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        return np.array([list(x["controls"].values()) for x in lines if x["state"] == "FOLLOWING"])

    return run


def test_a_photograph_of_a_smile_smiles(poses, portrait: np.ndarray, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "astronaut.png"), portrait)
    followed = poses(tmp_path / "astronaut.png")
    assert len(followed) > 50
    assert (followed[-1] - NEUTRAL)[CORNERS].min() > 0.15
    # Relative to itself there is none.
    own = poses(tmp_path / "astronaut.png", calibration={"neutral": "first-frame"})
    assert np.abs(own[-1] - NEUTRAL)[CORNERS].max() < 0.05


def test_every_picture_of_a_folder_is_looked_at_anew(poses, portrait: np.ndarray, tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "one.png"), portrait)
    moved = np.full_like(portrait, 90)
    moved[60:180, 120:] = cv2.resize(portrait, (120, 120))
    cv2.imwrite(str(folder / "two.png"), moved[60:180, 120:])  # elsewhere, and half the size
    followed = poses(folder)
    smiles = (followed - NEUTRAL)[:, CORNERS].min(1)
    assert smiles[50] > 0.15
    assert smiles[-1] > 0.1
