"""The small arithmetic of docs/spec/liveportrait.md in float64, written from that page.

Sections 5 to 7 (pose, keypoints, relative motion, stitching) and 11 (the face crop), one point at a time
where that is plainer. Knows nothing of x2c_edge. ``numbers`` makes what tests/data/numerics.npz holds.
"""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

K = 21
FRAMES = 3
STITCHING_WIDTHS = (126, 128, 128, 64, 65)
# Left eye, right eye, mouth's corners; of the 203 and the 106 landmarks (section 11).
ANCHORS = {
    203: ((0, 6, 12, 18), (24, 30, 36, 42), (48, 66)),
    106: ((33, 35, 39, 40), (87, 89, 93, 94), (52, 61)),
}
# name: landmarks, scale, vy, turned, pixels
CROPS = {
    "source": (106, 2.3, -0.125, True, 512),
    "driving": (203, 2.2, -0.1, False, 512),
    "live": (203, 2.2, 0.04, False, 512),
    "landmark_net": (203, 1.5, -0.1, True, 224),
}


def uniform(name: str, *shape: int) -> Array:
    """-1..1, the same for a name on every machine: SHA-256 in counter mode, 53 bits a number."""
    words = bytearray()
    for block in range(math.ceil(math.prod(shape) / 4)):
        words += hashlib.sha256(f"{name}/{block}".encode()).digest()
    bits = np.frombuffer(bytes(words), dtype=">u8")[: math.prod(shape)] >> np.uint64(11)
    return (bits.astype(np.float64) / 2**52 - 1).reshape(shape)


# --- section 5 -------------------------------------------------------------------------------------


def degrees(logits: Array) -> float:
    """One angle from its 66 bins."""
    weights = [math.exp(value - max(logits)) for value in logits]
    return 3 * sum(i * w for i, w in enumerate(weights)) / sum(weights) - 97.5


def rotation(pitch: float, yaw: float, roll: float) -> Array:
    """Degrees to the matrix that multiplies row vectors from the right."""
    a, b, c = (math.radians(angle) for angle in (pitch, yaw, roll))
    about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    about_y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    about_z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).T


def placed(kp: Array, turn: Array, exp: Array, t: Array, scale: float) -> Array:
    """Eq. 5, one point after the other."""
    points = []
    for canonical, shift in zip(kp, exp, strict=True):
        x, y, z = scale * (canonical @ turn + shift)
        points.append((x + t[0], y + t[1], z))
    return np.array(points)


# --- section 6 -------------------------------------------------------------------------------------


def hull_volume(points: Array) -> float:
    """Of points in general position: a triangle is a face when all other points are on one side of it."""
    middle, volume = points.mean(axis=0), 0.0
    for i, j, k in itertools.combinations(range(len(points)), 3):
        edges = points[[j, k]] - points[i]
        normal = np.array(
            [
                edges[0, 1] * edges[1, 2] - edges[0, 2] * edges[1, 1],
                edges[0, 2] * edges[1, 0] - edges[0, 0] * edges[1, 2],
                edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0],
            ]
        )
        sides = np.delete((points - points[i]) @ normal, [i, j, k])
        if (sides > 0).all() or (sides < 0).all():
            volume += abs((middle - points[i]) @ normal) / 6
    return volume


# --- section 7 -------------------------------------------------------------------------------------


def stitching_weights() -> list[tuple[Array, Array]]:
    """(out, in) and (out,) of each linear layer, values that float32 holds exactly."""
    layers = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(STITCHING_WIDTHS)):
        weight = uniform(f"stitching/{i}/weight", outputs, inputs) * math.sqrt(3 / inputs)
        bias = 0.05 * uniform(f"stitching/{i}/bias", outputs)
        layers.append(tuple(part.astype(np.float32).astype(np.float64) for part in (weight, bias)))
    return layers


def stitching_delta(x_source: Array, x_driving: Array) -> Array:
    """The network's 65 outputs."""
    row = np.concatenate([x_source.ravel(), x_driving.ravel()])
    layers = stitching_weights()
    for i, (weight, bias) in enumerate(layers):
        row = weight @ row + bias
        if i < len(layers) - 1:
            row = np.maximum(row, 0)
    return row


def stitched(x_driving: Array, delta: Array) -> Array:
    """Keypoints for W."""
    moved = x_driving.copy()
    for k in range(K):
        moved[k] += delta[3 * k : 3 * k + 3]
        moved[k, 0] += delta[63]
        moved[k, 1] += delta[64]
    return moved


# --- section 11 ------------------------------------------------------------------------------------


def landmarks(count: int) -> Array:
    """A cloud of points with eyes above a mouth, leaning; (count, 2) pixels."""
    cloud = uniform(f"landmarks/{count}", count, 2) * [90, 120] + [0, 10]
    for ids, x, y in zip(ANCHORS[count], (-40, 40, 0), (-30, -30, 60), strict=True):
        cloud[list(ids)] = np.array([x, y]) + 6 * uniform(f"anchors/{count}/{x}", len(ids), 2)
    lean = 0.35
    turn = np.array([[math.cos(lean), math.sin(lean)], [-math.sin(lean), math.cos(lean)]])
    return np.float32(cloud @ turn + [321.5, 246.25]).astype(np.float64)


def crop(points: Array, scale: float, vy: float, turned: bool, size: int) -> tuple[Array, Array]:
    """(centre x, centre y, side, angle), and the (2, 3) map from picture to crop."""
    left, right, corners = (points[list(ids)].mean(axis=0) for ids in ANCHORS[len(points)])
    down = corners - (left + right) / 2
    uy = down / np.linalg.norm(down)
    ux = np.array([uy[1], -uy[0]])
    mean = points.mean(axis=0)
    own = np.array([[(p - mean) @ ux, (p - mean) @ uy] for p in points])
    low, high = own.min(axis=0), own.max(axis=0)
    side = scale * (high - low).max()
    middle = (low + high) / 2
    centre = mean + middle[0] * ux + middle[1] * uy + side * vy * uy
    angle = math.copysign(math.acos(min(ux[0], 1.0)), ux[1]) if turned else 0.0
    linear = size / side * np.array(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    )  # fmt: skip
    return np.array([*centre, side, angle]), np.column_stack([linear, size / 2 - linear @ centre])


# --- all of it -------------------------------------------------------------------------------------


def heads(which: str) -> dict[str, Array]:
    """M's seven outputs for the source or a driving frame, values that float32 holds exactly."""
    made = {
        "t": 0.1 * uniform(f"{which}/t", 3),
        "exp": 0.08 * uniform(f"{which}/exp", 3 * K),
        "scale": 1.2 + 0.3 * uniform(f"{which}/scale", 1),
        "kp": 0.5 * uniform(f"{which}/kp", 3 * K),
    }
    for name in ("pitch", "yaw", "roll"):
        at = 32.5 + 8 * uniform(f"{which}/{name}/at", 1)
        made[name] = 2 * uniform(f"{which}/{name}", 66) - (np.arange(66) - at) ** 2 / 40
    return {name: value.astype(np.float32).astype(np.float64) for name, value in made.items()}


def numbers() -> dict[str, Array]:
    """Inputs and outputs. The first driving frame is the reference; ``*_new`` as in section 6."""
    rows = {which: heads(which) for which in ("source", *(f"frame{i}" for i in range(FRAMES)))}
    out: dict[str, list[Array]] = {name: [] for name in ("degrees", "rotation", "x")}
    for row in rows.values():
        angles = [degrees(row[name]) for name in ("pitch", "yaw", "roll")]
        turn = rotation(*angles)
        out["degrees"].append(np.array(angles))
        out["rotation"].append(turn)
        points, shifts = row["kp"].reshape(K, 3), row["exp"].reshape(K, 3)
        out["x"].append(placed(points, turn, shifts, row["t"], row["scale"][0]))

    source, reference = rows["source"], rows["frame0"]
    kp, x_source = source["kp"].reshape(K, 3), out["x"][0]
    moved: dict[str, list[Array]] = {
        name: [] for name in ("rotation_new", "exp_new", "scale_new", "t_new", "x_new", "x_driving", "delta",
                              "x_stitched")
    }  # fmt: skip
    for i in range(FRAMES):
        frame = rows[f"frame{i}"]
        turn = out["rotation"][1 + i] @ out["rotation"][1].T @ out["rotation"][0]
        exp = source["exp"] + frame["exp"] - reference["exp"]
        scale = source["scale"] * frame["scale"] / reference["scale"]
        t = source["t"] + frame["t"] - reference["t"]
        t[2] = 0
        for name, value in (("rotation", turn), ("exp", exp.reshape(K, 3)), ("scale", scale), ("t", t)):
            moved[f"{name}_new"].append(value)
        moved["x_new"].append(placed(kp, turn, exp.reshape(K, 3), t, scale[0]))
    # Of a reference that is not quite what the source was, so that the multiplier is not 1.
    volumes = np.array([hull_volume(x_source), hull_volume(out["x"][1])])
    multiplier = math.sqrt(volumes[0]) / math.sqrt(volumes[1])
    for x_new in moved["x_new"]:
        x = x_source + multiplier * (x_new - moved["x_new"][0])
        delta = stitching_delta(x_source, x)
        moved["x_driving"].append(x)
        moved["delta"].append(delta)
        moved["x_stitched"].append(stitched(x, delta))

    result = {f"head_{name}": np.stack([row[name] for row in rows.values()]) for name in source}
    result |= {name: np.stack(values) for name, values in (out | moved).items()}
    result |= {"hull_volumes": volumes, "multiplier": np.array(multiplier)}
    for count in ANCHORS:
        result[f"landmarks{count}"] = landmarks(count)
    for name, (count, *how) in CROPS.items():
        result[f"{name}_square"], result[f"{name}_to_crop"] = crop(landmarks(count), *how)
    return result
