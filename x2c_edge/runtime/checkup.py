"""What ``x2c-edge doctor`` looks at."""

from __future__ import annotations

import importlib.util
import os
import platform
import threading
from pathlib import Path

from x2c_edge import _kernels, packs, processor
from x2c_edge.backends.cpu_engine import PROVIDED, onnxruntime
from x2c_edge.errors import NotFoundError, UserError
from x2c_edge.runtime.finding import Finding
from x2c_edge.runtime.gears import gears_in_words
from x2c_edge.runtime.gpu_checkup import REINSTALL, gpu_checkup
from x2c_edge.runtime.priority import is_preferred, preferred


def checkup() -> list[Finding]:
    """Every finding, the needed ones first. Starts nothing, changes nothing."""
    needed = (_kernel(), _pack(), _nets(), _video())
    useful = (_torch(), _cameras(), _gstreamer(), _serial(), _recordings(), _priority())
    return [*needed, *gpu_checkup(), *useful]


def _kernel() -> Finding:
    cuda = "with CUDA" if _kernels.cuda_built() else "CPU only"
    found = f"{cuda}, {_kernels.cpu_variant()} code on {processor.describe()}, {processor.cores()} cores"
    return Finding("kernels", True, found, needed=True)


def _pack() -> Finding:
    try:
        pack = packs.open_pack()
    except UserError as error:
        return Finding("default pack", False, str(error), REINSTALL, needed=True)
    return Finding("default pack", True, f"{pack.path}: {gears_in_words(pack)}", needed=True)


def _nets() -> Finding:
    """What runs the default pack's nets on the CPU."""
    try:
        return Finding("CPU engine", True, f"ONNX Runtime {onnxruntime().__version__}", needed=True)
    except NotFoundError as error:
        if importlib.util.find_spec("torch") is not None:
            return Finding("CPU engine", False, f"{error}; PyTorch runs the nets", "pip install onnxruntime")
        fix = "pip install onnxruntime" if platform.machine() in PROVIDED else "pip install 'x2c-edge[torch]'"
        return Finding("CPU engine", False, str(error), fix, needed=True)


def _torch() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding(
            "torch",
            False,
            "not installed: no packs import, no build-engines, no training",
            "pip install 'x2c-edge[torch]'",
        )
    from importlib.metadata import version

    return Finding("torch", True, version("torch"))


def _video() -> Finding:
    try:
        import cv2
    except ImportError as error:
        fix = "pip install --force-reinstall opencv-python"
        if ".so" in str(error):  # which its wheel takes from the system
            fix = "sudo apt install libgl1 libglib2.0-0 libxcb1"
        elif "numpy" in str(error):  # JetPack's and Ubuntu's OpenCV are built for NumPy 1
            fix = "pip install 'numpy<2' (for a system's OpenCV), or pip install --upgrade opencv-python"
        return Finding("video files", False, f"OpenCV cannot be loaded: {error}", fix, needed=True)
    return Finding("video files", True, f"OpenCV {cv2.__version__}", needed=True)


def _cameras() -> Finding:
    return _devices("cameras", ("video*",), "video", "no /dev/video*", "plug one in, or use --input FILE")


def _gstreamer() -> Finding:
    try:
        import cv2
    except ImportError:
        return Finding("GStreamer", False, "OpenCV cannot be loaded", "see video files")
    built = any("GStreamer" in line and "YES" in line for line in cv2.getBuildInformation().splitlines())
    if built:
        return Finding("GStreamer", True, "OpenCV is built with it")
    return Finding("GStreamer", False, "OpenCV is built without it: no gst: sources", "see docs/cameras.md")


def _serial() -> Finding:
    ports = ("ttyUSB*", "ttyACM*", "ttyTHS*")
    return _devices("serial ports", ports, "dialout", "none", "plug the robot in, or use --link jsonl:FILE")


def _recordings() -> Finding:
    if importlib.util.find_spec("mcap") is None:
        return Finding(
            "recordings", False, "no mcap: no --record, no replay", "pip install 'x2c-edge[record]'"
        )
    return Finding("recordings", True, "mcap is installed")


def _devices(what: str, patterns: tuple[str, ...], group: str, none: str, instead: str) -> Finding:
    """Device files under /dev that match, and whether this user may use them (``group`` may)."""
    devices = sorted(str(p) for pattern in patterns for p in Path("/dev").glob(pattern))
    if not devices:
        return Finding(what, False, none, instead)
    closed = [d for d in devices if not os.access(d, os.R_OK | os.W_OK)]
    if closed:
        fix = f"sudo usermod -aG {group} $USER, then log in again"
        return Finding(what, False, f"no permission for {closed[0]}", fix)
    return Finding(what, True, ", ".join(devices))


def _priority() -> Finding:
    """Tried, in a thread that ends with it: who is root in a container need not be allowed to."""
    found: list[bool] = []

    def attempt() -> None:
        with preferred():
            found.append(is_preferred())

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if found == [True]:
        return Finding("tick priority", True, "the actuation tick may run before vision")
    fix = 'echo "$USER - nice -10" | sudo tee -a /etc/security/limits.conf'
    if os.geteuid() == 0:
        fix = "start the container with: docker run --cap-add SYS_NICE"
    return Finding("tick priority", False, "normal: the tick competes with vision", fix)
