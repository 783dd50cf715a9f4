"""What the published nets' files hold, without the files (docs/spec/liveportrait.md section 2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NETS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "published_nets.json").read_text(encoding="utf-8")
)


def summary(state: Mapping[str, Any]) -> dict[str, Any]:
    """Of a state dictionary: how many keys and values, and a digest of all names and shapes."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    text = "".join(f"{key}:{','.join(map(str, shape))}\n" for key, shape in sorted(shapes.items()))
    values = sum(value.numel() for value in state.values())
    return {"keys": len(shapes), "values": values, "sha256": hashlib.sha256(text.encode()).hexdigest()}
