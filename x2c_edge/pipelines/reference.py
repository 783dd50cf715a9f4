"""One person's face at rest, and its file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import NAMES
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.pipelines.motion import FaceMotion

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reference:
    """A face at rest. values: (30,) absolute controls; rotation: (3, 3) head to camera.

    motion: what the two-stage pipeline refers to; None if the single-stage pipeline took it.
    """

    values: Array
    rotation: Array
    motion: FaceMotion | None = None

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        data: dict[str, object] = {
            "format": "x2c-edge reference 1",
            "controls": dict(zip(NAMES, self.values.tolist(), strict=True)),
            "rotation": self.rotation.tolist(),
        }
        if self.motion is not None:
            data["motion"] = self.motion.to_json()
        partial = path.with_name(path.name + ".partial")
        try:
            partial.write_text(json.dumps(data, indent=1))
            partial.replace(path)
        except OSError as error:
            raise NotFoundError(f"reference {path}: cannot be written: {error.strerror}") from None

    @staticmethod
    def load(path: Path) -> Reference:
        try:
            data = json.loads(path.read_text())
            values = np.array([float(data["controls"][name]) for name in NAMES])
            rotation = np.array(data["rotation"], dtype=np.float64)
            motion = FaceMotion.from_json(data["motion"]) if "motion" in data else None
        except OSError as error:
            raise NotFoundError(f"reference {path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise BadArgumentError(
                f"reference {path}: not a reference file ({error}); calibrate again"
            ) from None
        orthonormal = rotation.shape == (3, 3) and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
        if not (orthonormal and np.isfinite(values).all()):
            raise BadArgumentError(f"reference {path}: values are damaged; calibrate again")
        return Reference(values, rotation, motion)
