"""What a trained single-stage network is worth, and how it becomes a pack."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tools.dataset import face_dataset as data
from tools.train.mapping_pictures import from_bytes, normalised
from tools.train.pack_place import pack_beside
from x2c_edge import packs, retarget
from x2c_edge.controls import CONTROLS, NAMES
from x2c_edge.convert.checkpoints import saved
from x2c_edge.nets.single_stage import SingleStage, folded

Array = NDArray[np.float64]
# The labels' own nose column carries no signal; its control comes from geometry and is reported apart.
EXPRESSIBLE = [i for i in retarget.FACE_CONTROLS if NAMES[i] != "Nose Wrinkle"]


@dataclass(frozen=True)
class Report:
    """Agreement with the labels of one split."""

    split: str
    pearson: Array  # (30,); head and neck from the pose
    mae: Array  # (30,) paper units
    angle_error_deg: Array  # (3,) mean absolute yaw, pitch, roll
    landmark_error: float  # mean distance / distance between the eyes' outer corners
    presence_on_faces: float  # share of face crops with presence above 0.5
    presence_on_others: float  # the same on crops without a face

    @property
    def face_mean(self) -> float:
        return float(self.pearson[EXPRESSIBLE].mean())

    def summary(self) -> str:
        yaw, pitch, roll = self.angle_error_deg
        return (
            f"mean r over {len(EXPRESSIBLE)} face controls {self.face_mean:.3f}, "
            f"worst {NAMES[EXPRESSIBLE[int(np.argmin(self.pearson[EXPRESSIBLE]))]]} "
            f"{self.pearson[EXPRESSIBLE].min():.3f}; yaw/pitch/roll {yaw:.2f}/{pitch:.2f}/{roll:.2f} deg; "
            f"landmarks {100 * self.landmark_error:.2f} %; presence {self.presence_on_faces:.3f} on faces, "
            f"{self.presence_on_others:.3f} elsewhere"
        )

    def to_manifest(self) -> dict[str, object]:
        """The figures that travel with the weights."""
        yaw, pitch, roll = (round(float(v), 2) for v in self.angle_error_deg)
        return {
            "split": self.split,
            "mean_r_face_controls": round(self.face_mean, 4),
            "angle_error_deg": {"yaw": yaw, "pitch": pitch, "roll": roll},
            "landmark_error_percent_of_eye_distance": round(100 * self.landmark_error, 2),
            "presence_on_faces": round(self.presence_on_faces, 4),
            "presence_elsewhere": round(self.presence_on_others, 4),
            "pearson_r": {c.name: round(float(self.pearson[c.index]), 4) for c in CONTROLS},
        }

    def table(self) -> str:
        rows = [f"{'control':28s} {'r':>6s} {'MAE':>7s}"]
        rows += [f"{c.name:28s} {self.pearson[c.index]:6.3f} {self.mae[c.index]:7.4f}" for c in CONTROLS]
        return "\n".join([*rows, self.summary()])


def evaluate(net: SingleStage, faces: data.FaceSet, seed: int = 0) -> Report:
    """Run the folded network on every sample's exact crop, and on as many crops without a face."""
    net = folded(net)
    size, count = net.config.input_size, len(faces.images)
    rng = np.random.default_rng(seed)
    crops = np.empty((count, size, size, 3), np.uint8)
    others = np.empty_like(crops)
    points = np.empty((count, len(data.IDS), 2))
    roll = np.empty(count)
    for i, image in enumerate(faces.images):
        affine, roll[i] = data.crop_affine(faces.points[i], size, data.Jitter(), rng)
        crops[i] = data.sample(image, affine, size)
        others[i] = data.no_face(image, size, rng)
        points[i] = data.to_crop(faces.points[i], affine)
    rows, elsewhere = _run(net, crops), _run(net, others)
    n = 2 * len(data.IDS)
    found = rows[:, 1 : 1 + n].reshape(count, -1, 2) * (size / 2) + (size - 1) / 2
    eyes = np.linalg.norm(
        points[:, data.IDS.index(33)] - points[:, data.IDS.index(263)], axis=1, keepdims=True
    )
    # Back from the crop's axes to the picture's, as the pipeline does.
    pose = data.angles_from_rotation(
        data.roll_matrix(-roll) @ data.rotation_from_angles(rows[:, 1 + n : 4 + n])
    )
    truth = data.angles_from_rotation(faces.rotation)
    predicted, labels = rows[:, 4 + n :].copy(), data.label_controls(faces)
    retarget.head_controls(pose[:, 0], pose[:, 1], pose[:, 2], predicted)
    return Report(
        split=faces.split,
        pearson=data.pearson(predicted, labels),
        mae=np.abs(predicted - labels).mean(0),
        angle_error_deg=np.degrees(np.abs(pose - truth).mean(0)),
        landmark_error=float((np.linalg.norm(found - points, axis=2) / eyes).mean()),
        presence_on_faces=float((rows[:, 0] > 0).mean()),
        presence_on_others=float((elsewhere[:, 0] > 0).mean()),
    )


def _run(net: SingleStage, crops: NDArray[np.uint8]) -> Array:
    rows = []
    with torch.inference_mode():
        for start in range(0, len(crops), 64):
            x = from_bytes(torch.from_numpy(crops[start : start + 64]))
            rows.append(net(normalised(x, data.face_input(crops.shape[1]))).numpy())
    return np.concatenate(rows).astype(np.float64)


def write_pack(out: Path, net: SingleStage, trained_by: str, report: Report) -> None:
    """Write weights (float16: their rounding is far below the net's own error) and manifest.

    A pack of another kind is not replaced (``pack_place``).
    """
    weights = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    arrays = {k: v.contiguous().numpy() for k, v in weights.items()}
    with pack_beside(out, alone="single_stage") as home:
        file = saved(home / "single_stage.safetensors", arrays)
        spec = packs.NetSpec(
            arch="single_stage",
            file=file,
            sha256=packs.sha256_of(file),
            config={k: list(v) if isinstance(v, tuple) else v for k, v in asdict(net.config).items()},
            input=data.face_input(net.config.input_size),
            options={"crop_scale": data.CROP_SCALE},
        )
        packs.write_manifest(
            packs.Pack(
                name=out.name,
                path=home,
                pipeline="single-stage",
                description="one network from a face crop to the 30 controls",
                licence="weights: same as x2c-edge; trained on the real-face set, see docs/training.md",
                trained_by=trained_by,
                nets={"single_stage": spec},
                accuracy=report.to_manifest(),
                digest="",
            )
        )
