"""Native kernels (csrc/). The docstrings are in csrc/bindings/: ``help(x2c_edge._kernels)``."""

from collections.abc import Sequence
from typing import Any, Literal

from x2c_edge.frames import PixelFormat

def crop_normalize(
    frame: Any,
    affine: Any,
    out: Any,
    *,
    format: PixelFormat = "BGR",
    order: Literal["RGB", "BGR"] = "RGB",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    taps: int = 1,
    threads: int = 1,
    stream: int = 0,
) -> None: ...
def rasterise(
    vertices: Any,
    shade: Any,
    uv: Any,
    triangles: Any,
    texture: Any,
    out: Any,
    *,
    lights: Any,
    ambient: Any,
    camera: Sequence[float],
    samples: int = 2,
    threads: int = 1,
) -> None: ...
def aim_crop(
    points: Any,
    affine: Any,
    out: Any,
    *,
    roles: Any,
    crop_size: int,
    out_size: int,
    scale: float,
    shift: float,
    stream: int = 0,
) -> None: ...
def relative_keypoints(
    pitch: Any,
    yaw: Any,
    roll: Any,
    t: Any,
    exp: Any,
    scale: Any,
    source: Any,
    reference: Any,
    out: Any,
    *,
    motion: Any | None = None,
    stream: int = 0,
) -> None: ...
def stitch_keypoints(driving: Any, delta: Any, out: Any, *, stream: int = 0) -> None: ...
def motion_volume(
    compressed: Any,
    kp_driving: Any,
    kp_source: Any,
    out: Any,
    *,
    background: bool = True,
    threads: int = 1,
    stream: int = 0,
) -> None: ...
def warp_volume(
    logits: Any,
    kp_driving: Any,
    kp_source: Any,
    feature: Any,
    out: Any,
    *,
    deformation: Any | None = None,
    threads: int = 1,
    stream: int = 0,
) -> None: ...
def face_to_mapping(
    image: Any,
    out: Any,
    *,
    resize: Literal["area", "bilinear"] = "area",
    order: Literal["RGB", "BGR"] = "BGR",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    threads: int = 1,
    stream: int = 0,
) -> None: ...
def cuda_built() -> bool: ...
def cuda_device_count() -> int: ...
def cuda_versions() -> tuple[int, int]: ...

# Only where cuda_built().
class CudaGraph:
    def launch(self, stream: int) -> None: ...

def cuda_begin_capture(stream: int) -> None: ...
def cuda_end_capture(stream: int) -> CudaGraph: ...
def cuda_abandon_capture(stream: int) -> None: ...
def cuda_set_highest_priority(stream: int) -> int: ...
def cpu_variants() -> list[str]: ...
def cpu_variant() -> str: ...
def set_cpu_variant(name: str) -> None: ...
