"""The clips of ``shared/data/clips`` with the labels of ``shared/data/faces`` for some of their frames."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.dataset import face_dataset as data

Array = NDArray[np.float64]
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class LabelledClip:
    """frames: (N,) frame numbers from 0; controls: (N, 30) label controls, absolute, paper units. source_id:
    the clip's row in the face set's manifest."""

    path: Path
    split: str
    frames: NDArray[np.int32]
    controls: Array
    source_id: int

    @property
    def name(self) -> str:
        return self.path.stem


def default_clips() -> Path:
    return data.default_folder().parent / "clips"


def labelled_clips(folder: Path | None = None, faces: Path | None = None) -> list[LabelledClip]:
    """Every clip of the folder that has labels, by name. A clip is known by the end of its source's path."""
    folder, faces = folder or default_clips(), faces or data.default_folder()
    with (faces / "manifest.csv").open(newline="") as file:
        sources = [row for row in csv.DictReader(file) if row["kind"] == "video"]
    sets: dict[str, data.FaceSet] = {}
    found = []
    for path in sorted(folder.glob("*.mp4")):
        # The clips keep their file names; the first source of that name is where they come from.
        row = next((s for s in sources if Path(s["path"]).name == path.name), None)
        if row is None or row["split"] not in SPLITS:
            continue
        if row["split"] not in sets:
            sets[row["split"]] = data.load(row["split"], faces)
        whole = sets[row["split"]]
        source = int(row["source_id"])
        mine = np.flatnonzero(whole.source_id == source)
        mine = mine[np.argsort(whole.frame_id[mine])]
        labels = data.label_controls(whole)[mine]
        found.append(LabelledClip(path, row["split"], whole.frame_id[mine], labels, source))
    return found
