"""Writes the numbers in tests/data anew: ``python -m tests.reference``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.reference import link_frames, portrait_math

DATA = Path(__file__).parents[1] / "data"


def as_text(vectors: dict[str, object]) -> str:
    """JSON with one vector a line."""
    parts = []
    for section, content in vectors.items():
        if isinstance(content, list):
            rows = ",\n".join(f"  {json.dumps(row)}" for row in content)
            parts.append(f"{json.dumps(section)}: [\n{rows}\n ]")
        else:
            parts.append(f"{json.dumps(section)}: {json.dumps(content)}")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


if __name__ == "__main__":
    (DATA / "link_vectors.json").write_text(as_text(link_frames.vectors()), encoding="utf-8")
    np.savez_compressed(DATA / "numerics.npz", **portrait_math.numbers())
