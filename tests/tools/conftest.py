"""A set of faces that nobody has seen: one photograph, many labels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools.dataset import face_dataset as data
from x2c_edge.nets.landmarks import OVAL

ARKIT = [f"shape{k}{side}" for k in range(26) for side in ("Left", "Right")]


@pytest.fixture
def faces(portrait: np.ndarray) -> data.FaceSet:
    """12 samples with random labels. Landmarks: a plain outline around the middle of the picture."""
    rng = np.random.default_rng(5)
    n = 12
    points = np.empty((n, len(data.IDS), 2))
    turn = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    points[:, :, :] = 96 + rng.uniform(-20, 20, (1, len(data.IDS), 2))
    points[:, : len(OVAL)] = 96 + np.stack([38 * np.cos(turn), 48 * np.sin(turn)], 1)
    for i, at in ((33, (70, 80)), (133, (85, 80)), (362, (107, 80)), (263, (122, 80))):
        points[:, data.IDS.index(i)] = at
    controls = rng.uniform(0, 1, (n, 30))
    return data.FaceSet(
        split="test",
        images=[cv2.resize(portrait, (192, 192))] * n,
        points=points,
        blendshapes=rng.uniform(0, 1, (n, len(ARKIT))),
        controls=controls,
        mirrored_controls=1 - controls,
        rotation=data.rotation_from_angles(rng.uniform(-0.3, 0.3, (n, 3))),
        identity_id=np.repeat(np.arange(n // 2, dtype=np.int16), 2),
        source_id=np.zeros(n, np.int16),
        clip_id=np.zeros(n, np.int16),
        frame_id=np.arange(n, dtype=np.int32),
        names=ARKIT,
    )


@pytest.fixture
def face_folder(faces: data.FaceSet, shared: Path, tmp_path: Path) -> Path:
    """The same pictures, with other labels, in the real set's format."""
    folder = tmp_path / "faces"
    folder.mkdir()
    names = json.loads((shared / "data" / "faces" / "blendshape_names.json").read_text())
    (folder / "blendshape_names.json").write_text(json.dumps(names))
    rng = np.random.default_rng(0)
    n = len(faces.images)
    mesh = np.zeros((n, 478, 3), np.float16)
    mesh[:, data.IDS, :2] = faces.points
    blend = rng.uniform(0, 1, (n, len(names))).astype(np.float16)
    np.savez(
        folder / "labels.npz", landmarks=mesh, blendshapes=blend, blendshapes_crop=blend,
        pose=np.tile(np.eye(4, dtype=np.float32), (n, 1, 1)), ypr_crop=rng.normal(0, 9, (n, 3)),
        clip_id=np.zeros(n, np.int16), identity_id=np.arange(n, dtype=np.int16),
        source_id=np.zeros(n, np.int16), frame_id=np.arange(n, dtype=np.int32),
    )  # fmt: skip
    files = [cv2.imencode(".jpg", image)[1].ravel() for image in faces.images]
    for split in ("train", "val", "test"):
        np.savez(
            folder / f"crops_{split}.npz", jpeg=np.concatenate(files),
            offset=np.cumsum([0, *map(len, files)]), index=np.arange(n, dtype=np.int32),
        )  # fmt: skip
    return folder
