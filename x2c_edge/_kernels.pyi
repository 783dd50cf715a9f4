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

# Only where cuda_built().
class CudaMemory:
    def __init__(self, bytes: int) -> None: ...
    @property
    def address(self) -> int: ...

class CudaPinned:
    def __init__(self, bytes: int) -> None: ...
    @property
    def address(self) -> int: ...

class CudaGraph:
    def launch(self, stream: int) -> None: ...

class CudaStream:
    def __init__(self, handle: int = 0) -> None: ...
    @property
    def handle(self) -> int: ...
    def wait(self) -> None: ...
    def begin_capture(self) -> None: ...
    def end_capture(self) -> CudaGraph: ...
    def abandon_capture(self) -> None: ...

class CudaEvent:
    def __init__(self) -> None: ...
    def record(self, stream: int) -> None: ...
    def milliseconds_since(self, earlier: CudaEvent) -> float: ...

def cuda_copy_in(device: int, host: int, bytes: int, stream: int) -> None: ...
def cuda_copy_out(host: int, device: int, bytes: int, stream: int) -> None: ...
def cpu_variants() -> list[str]: ...
def cpu_variant() -> str: ...
def set_cpu_variant(name: str) -> None: ...
