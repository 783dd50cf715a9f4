"""Real clips with their labelled landmarks (shared/data), as a follower would get them from a network."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge.face.crop_geometry import Square, eye_roll, landmark_square
from x2c_edge.nets.landmarks import LANDMARK_IDS

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
IDS = list(LANDMARK_IDS)


@dataclass(frozen=True)
class LabelledClip:
    """labels: frame number -> (L, 2) frame pixels, the network's landmarks in its order."""

    path: Path
    fps: float
    labels: dict[int, np.ndarray]

    @staticmethod
    def square(landmarks: np.ndarray) -> Square:
        """The square that the training tool crops (before the scale)."""
        right = landmarks[[IDS.index(33), IDS.index(133)]].mean(0)
        left = landmarks[[IDS.index(263), IDS.index(362)]].mean(0)
        return landmark_square(landmarks, eye_roll(right, left))

    def frames(self, numbers: list[int]) -> Iterator[np.ndarray]:
        video = cv2.VideoCapture(str(self.path))
        for number in range(max(numbers) + 1):
            ok, image = video.read()
            assert ok
            if number in numbers:
                yield image

    def dense(self) -> np.ndarray:
        """(T, L, 2): every frame from the first label to the last, linear in between."""
        known = np.array(list(self.labels))
        points = np.stack(list(self.labels.values()))
        wanted = np.arange(known[0], known[-1] + 1)
        at = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(known) - 2)
        part = ((wanted - known[at]) / (known[at + 1] - known[at]))[:, None, None]
        return points[at] * (1 - part) + points[at + 1] * part


@pytest.fixture(scope="session")
def clips() -> dict[str, LabelledClip]:
    if not (SHARED / "faces" / "labels.npz").is_file():
        pytest.skip("shared/data is not here")
    labels = np.load(SHARED / "faces" / "labels.npz")
    landmarks, crop = labels["landmarks"], labels["crop"].astype(np.float64)
    source, number = labels["source_id"], labels["frame_id"]
    found = {}
    with (SHARED / "faces" / "manifest.csv").open() as file:
        for row in csv.DictReader(file):
            path = SHARED / "clips" / Path(row["path"]).name
            if not path.is_file():
                continue
            rows = sorted(np.flatnonzero(source == int(row["source_id"])), key=lambda i: number[i])
            points = {
                int(number[i]): landmarks[i][IDS, :2].astype(np.float64) / crop[i, 2] + crop[i, :2]
                for i in rows
            }
            found[path.stem] = LabelledClip(path, float(row["fps"]), points)
    assert len(found) == 6
    return found
