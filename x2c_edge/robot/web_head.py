"""The virtual Ameca for a browser: everything that the page needs to pose and paint the same head.

One binary blob, little-endian: the length of a JSON header (uint32), the header, then the arrays that it
lists, each aligned to 4 bytes. The page does with them what ``deform.Deformer.pose`` does here, step by step;
a test holds the two together.
"""

from __future__ import annotations

import json
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import INDEX, NAMES, NEUTRAL
from x2c_edge.robot import deform
from x2c_edge.robot.atlas import HEIGHT, WIDTH
from x2c_edge.robot.face import DISTANCE, LOOK_AT, VIEW_HEIGHT, Scene
from x2c_edge.robot.head_shape import EYE_CENTRE
from x2c_edge.robot.paint import paint

_ALIGN: Final = 4


def web_head() -> bytes:
    """The blob. Takes some tenths of a second."""
    head = deform.Deformer()
    skin = head.mesh.skin
    moved = [vertices for vertices, _ in head._fields]
    arrays: dict[str, NDArray[Any]] = {
        "rest": head._rest,
        "shade": head.mesh.shade.astype(np.float32),
        "uv": (head.mesh.uv / (WIDTH, HEIGHT)).astype(np.float32),
        "triangles": head.mesh.triangles.astype(np.uint16).reshape(-1),
        "skin": head._neutral,
        "jaw_weight": head._jaw_weight.reshape(-1),
        "press": head._press.reshape(-1),
        "mouth_upper": skin.mouth_upper.astype(np.uint16).reshape(-1),
        "mouth_lower": skin.mouth_lower.astype(np.uint16).reshape(-1),
        "neck_head": head._neck_head.reshape(-1),
        "neck_base": head._neck_base.reshape(-1),
        "term_control": head._sources.astype(np.uint16),
        "term_kind": head._kinds.astype(np.int16),
        "term_count": np.array([len(v) for v in moved], np.uint32),
        "moved": np.concatenate(moved).astype(np.uint16),
        "fields": np.concatenate([field for _, field in head._fields]),
    }
    if len(head._rest) > np.iinfo(np.uint16).max:
        raise ValueError(f"{len(head._rest)} vertices do not fit 16 bits")
    ok, texture = cv2.imencode(".png", paint())
    assert ok
    arrays["texture"] = texture.reshape(-1)
    header = {
        "arrays": {},
        "parts": {name: [part.start, part.stop] for name, part in head.mesh.parts.items()},
        "mouth_columns": int(skin.mouth_upper.shape[1]),
        "controls": list(NAMES),
        "index": INDEX,
        "neutral": NEUTRAL.tolist(),
        "jaw": {"pivot": list(deform.JAW_PIVOT), "open": float(deform.JAW_OPEN), "yaw": deform.JAW_YAW},
        "pivots": {"head": list(deform.HEAD_PIVOT), "neck": list(deform.NECK_PIVOT)},
        "eye_centre": list(EYE_CENTRE),
        "gaze_limit": deform.GAZE_LIMIT,
        "lid_edges": {"upper": deform.UPPER_EDGE, "lower": deform.LOWER_EDGE},
        "view": {"distance": DISTANCE, "height": VIEW_HEIGHT, "look_at": LOOK_AT},
        "scene": _scene(),
    }
    return _packed(header, arrays)


def _scene() -> dict[str, Any]:
    """The default scene, colours as R, G, B."""
    scene = Scene()
    return {
        "lights": [[*light.direction, *light.colour[::-1]] for light in scene.lights],
        "sky": scene.sky[::-1],
        "ground": scene.ground[::-1],
    }


def _packed(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    body = bytearray()
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        header["arrays"][name] = {"type": array.dtype.name, "at": len(body), "size": int(array.size)}
        body += data + bytes(-len(data) % _ALIGN)
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 4) % _ALIGN)
    return len(text).to_bytes(4, "little") + text + bytes(body)
