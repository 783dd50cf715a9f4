"""Draw the virtual Ameca's expressions on one sheet: ``python -m tools.dataset.face_contact_sheet``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from x2c_edge.controls import HIGH, INDEX, LOW, NEUTRAL
from x2c_edge.robot.face import AmecaFace

SIZE = 384
COLUMNS = 5
CAPTION = 34

# Deviations from neutral; a name without its side means both.
POSES: dict[str, dict[str, float]] = {
    "neutral": {},
    "joy": {
        "Lip Corner Raise": 0.38, "Lip Corner Stretch": 0.22, "Jaw Pitch": -0.22, "Lip Top Raise": 0.28,
        "Lip Top Raise Middle": 0.15, "Eyelid Lower": -0.45, "Brow Inner": 0.06, "Brow Outer": 0.14,
        "Lip Bottom Depress": 0.10,
    },
    "sadness": {
        "Brow Inner": 0.48, "Brow Outer": -0.28, "Lip Corner Raise": -0.45, "Eyelid Upper": -0.42,
        "Gaze Target Theta": -0.28, "Head Pitch": -0.12, "Lip Bottom Curl": 0.12,
        "Lip Bottom Depress Middle": -0.25,
    },
    "anger": {
        "Brow Inner": -0.50, "Brow Outer": 0.08, "Eyelid Upper": -0.12, "Eyelid Lower": -0.45,
        "Lip Top Curl": -0.35, "Lip Bottom Curl": -0.40, "Lip Corner Raise": -0.22, "Nose Wrinkle": 0.35,
        "Lip Corner Stretch": -0.10, "Head Pitch": -0.08,
    },
    "fear": {
        "Brow Inner": 0.48, "Brow Outer": 0.12, "Eyelid Upper": 0.80, "Eyelid Lower": 0.20,
        "Jaw Pitch": -0.30,
        "Lip Corner Stretch": 0.34, "Lip Corner Raise": -0.22, "Lip Bottom Depress": 0.38,
        "Lip Bottom Depress Middle": 0.25, "Neck Pitch": 0.10,
    },
    "surprise": {
        "Brow Inner": 0.50, "Brow Outer": 0.50, "Eyelid Upper": 0.90, "Eyelid Lower": 0.50,
        "Jaw Pitch": -0.75,
        "Lip Corner Stretch": -0.18, "Lip Bottom Curl": 0.15, "Lip Top Curl": 0.10,
    },
    "disgust": {
        "Nose Wrinkle": 1.0, "Brow Inner": -0.30, "Brow Outer": -0.15, "Lip Top Raise": 0.45,
        "Lip Top Raise Middle": 0.25, "Lip Corner Raise": -0.30, "Eyelid Lower": -0.55,
        "Eyelid Upper": -0.30,
        "Lip Bottom Curl": 0.20, "Head Roll": 0.06,
    },
    "wink": {
        "Eyelid Upper Left": -1.3, "Eyelid Lower Left": -1.3, "Brow Outer Left": -0.15,
        "Brow Inner Left": -0.12,
        "Lip Corner Raise Left": 0.48, "Lip Corner Raise Right": 0.15, "Lip Corner Stretch Left": 0.20,
        "Brow Outer Right": 0.25, "Brow Inner Right": 0.15, "Head Roll": -0.10,
    },
    "looking left": {"Gaze Target Phi": 0.60, "Head Yaw": 0.35},
    "nodding": {"Head Pitch": -0.26, "Neck Pitch": -0.10, "Lip Corner Raise": 0.15},
}  # fmt: skip


def controls_of(pose: dict[str, float]) -> np.ndarray:
    """The 30 controls of one entry of ``POSES``."""
    values = NEUTRAL.copy()
    for name, change in pose.items():
        for full in [name] if name in INDEX else [f"{name} Left", f"{name} Right"]:
            values[INDEX[full]] += change
    return np.clip(values, LOW, HIGH)


def sheet() -> np.ndarray:
    """All of ``POSES`` in rows of five, BGR."""
    face = AmecaFace(SIZE, samples=3)
    tiles = []
    for name, pose in POSES.items():
        tile = np.full((SIZE + CAPTION, SIZE, 3), 24, np.uint8)
        tile[:SIZE] = face.render(controls_of(pose))
        width = cv2.getTextSize(name, cv2.FONT_HERSHEY_DUPLEX, 0.6, 1)[0][0]
        at = ((SIZE - width) // 2, SIZE + 23)
        cv2.putText(tile, name, at, cv2.FONT_HERSHEY_DUPLEX, 0.6, (225, 225, 225), 1, cv2.LINE_AA)
        tiles.append(tile)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    return np.vstack(rows)


def main(
    out: Annotated[Path, typer.Option(help="Where to write the PNG.")] = Path(
        "docs/images/ameca_expressions.png"
    ),
) -> None:
    """Write the contact sheet."""
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), sheet(), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    typer.echo(f"{out}: {out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    typer.run(main)
