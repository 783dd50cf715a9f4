"""One person's face at rest, and its file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import HIGH, LOW, NAMES
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.rotation import is_rotation
from x2c_edge.whole_file import write_whole

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reference:
    """A face at rest. values: (30,) absolute controls; rotation: (3, 3) head to camera.

    motion: what the two-stage pipeline refers to; None if the single-stage pipeline took it.
    eyes: the ``Pack.eyes`` that saw it; empty when that is not known.
    """

    values: Array
    rotation: Array
    motion: FaceMotion | None = None
    eyes: str = ""

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        data: dict[str, object] = {
            "format": "x2c-edge reference 1",
            "controls": dict(zip(NAMES, self.values.tolist(), strict=True)),
            "rotation": self.rotation.tolist(),
        }
        if self.motion is not None:
            data["motion"] = self.motion.to_json()
        if self.eyes:
            data["eyes"] = self.eyes
        write_whole(path, json.dumps(data, indent=1).encode())

    @staticmethod
    def load(path: Path) -> Reference:
        try:
            data = json.loads(path.read_bytes().decode("utf-8-sig"))
            values = np.array([float(data["controls"][name]) for name in NAMES])
            rotation = np.array(data["rotation"], dtype=np.float64)
            motion = FaceMotion.from_json(data["motion"]) if "motion" in data else None
            eyes = str(data.get("eyes", ""))
        except OSError as error:
            raise NotFoundError(f"reference {path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise BadArgumentError(
                f"reference {path}: not a reference file ({error}); calibrate again"
            ) from None
        damaged = _damage(values, rotation)
        if damaged:
            raise BadArgumentError(f"reference {path}: {damaged}; calibrate again")
        return Reference(values, rotation, motion, eyes)


_BEYOND: Final = 1.0  # parts of a control's range that a measured face may lie outside of it


def _damage(values: Array, rotation: Array) -> str:
    """What is wrong with a saved reference, in a few words; empty when a face can be like that."""
    if not is_rotation(rotation):
        return "its rotation is none"
    reach = _BEYOND * (HIGH - LOW)
    odd = np.flatnonzero(~((values >= LOW - reach) & (values <= HIGH + reach)))
    return f"{NAMES[odd[0]]} = {values[odd[0]]:g} is out of range" if odd.size else ""
