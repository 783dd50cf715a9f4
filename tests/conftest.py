"""What several rooms test with: a tiny model pack, a short clip of a real face, and its neutral."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings

from x2c_edge import packs
from x2c_edge.nets.landmarks import LANDMARK_IDS, LEFT_EYE, OVAL, RIGHT_EYE

CROP_SCALE = 1.4
FPS = 30.0

# Whatever else is asked for: how long an example takes says how busy the machine is.
settings.register_profile("unhurried", parent=settings.default, deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_this_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the person who runs the tests has set up is not theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of common data beside the checkout."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("../shared is not here")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 20 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def face_outline() -> np.ndarray:
    """(L, 2) landmarks of a plain frontal face, in half crop sides from the crop's centre, y down."""
    points = np.zeros((len(LANDMARK_IDS), 2))

    def place(ids: tuple[int, ...], x: float, y: float, rx: float, ry: float) -> None:
        turn = np.linspace(0, 2 * np.pi, len(ids), endpoint=False)
        for i, a in zip(ids, turn, strict=True):
            points[LANDMARK_IDS.index(i)] = x + rx * np.cos(a), y + ry * np.sin(a)

    place(OVAL, 0.0, 0.0, 0.6, 1 / CROP_SCALE)
    place(RIGHT_EYE, -0.28, -0.2, 0.12, 0.05)
    place(LEFT_EYE, 0.28, -0.2, 0.12, 0.05)
    for outer, inner, side in ((33, 133, -1), (263, 362, 1)):
        points[LANDMARK_IDS.index(outer)] = side * 0.4, -0.2
        points[LANDMARK_IDS.index(inner)] = side * 0.16, -0.2
    return points


@pytest.fixture(scope="session")
def _packs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the pack "small", made once."""
    import torch

    from tools.evaluate.single_stage_report import Report, write_pack
    from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig

    torch.manual_seed(7)
    config = SingleStageConfig(
        input_size=32,
        stem=4,
        widths=(4, 8, 8, 8),
        blocks=(0, 1, 0, 0),
        hidden=16,
        patch_widths=(4, 4),
        eye_patch=(8, 4),
        mouth_patch=(8, 8),
        patch_hidden=4,
    )
    net = SingleStage(config)
    with torch.no_grad():
        # It believes in every face that it is shown, sees it where the crop is, at rest, and moves a little
        # with the pixels.
        net.face.weight.mul_(0.02)
        net.face.bias.zero_()
        net.face.bias[0] = 4.0
        net.face.bias[1:-3] = torch.tensor(face_outline(), dtype=torch.float32).flatten()
        net.controls.weight.mul_(0.1)
        net.controls.bias.zero_()
    folder = tmp_path_factory.mktemp("packs")
    zero = np.zeros(30)
    report = Report("none", zero, zero, np.zeros(3), 0.0, 1.0, 1.0)
    write_pack(folder / "small", net.eval(), "tests/conftest.py", report)
    return folder


@pytest.fixture
def small_pack(_packs_folder: Path, tmp_path: Path) -> Path:
    """A private copy of a valid single-stage pack, called "small", with a 32 pixel net: a folder to break."""
    return Path(shutil.copytree(_packs_folder / "small", tmp_path / "packs" / "small"))


@pytest.fixture
def pack_folders(small_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``small_pack`` can be named "small" and nothing of the user's is in the way; the folder it lies in."""
    monkeypatch.setenv("X2C_EDGE_PACKS", str(small_pack.parent))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "no-data"))
    return small_pack.parent


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A photograph with one face, (240, 240, 3) uint8 BGR."""
    data = pytest.importorskip("skimage.data")
    picture = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)[0:320, 80:400]
    return cv2.resize(picture, (240, 240), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="session")
def face_clip(portrait: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """75 frames, 2.5 seconds, of the portrait swaying by a few pixels."""
    path = tmp_path_factory.mktemp("clip") / "face.mp4"
    height, width = portrait.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (width, height))
    assert writer.isOpened()
    for k in range(75):
        shift = np.array([[1.0, 0.0, 4 * np.sin(k / 8)], [0.0, 1.0, 2 * np.sin(k / 5)]])
        writer.write(cv2.warpAffine(portrait, shift, (width, height), borderMode=cv2.BORDER_REFLECT))
    writer.release()
    return path


@pytest.fixture
def reference_file(tmp_path: Path) -> Path:
    """The small pack's idea of a face at rest, as ``--reference`` takes it."""
    from x2c_edge.controls import NEUTRAL
    from x2c_edge.pipelines.reference import Reference

    path = tmp_path / "driver.json"
    Reference(NEUTRAL.copy(), np.eye(3)).save(path)
    return path


@pytest.fixture(scope="session")
def real_pack() -> str:
    """The default pack's name, where it is installed."""
    from x2c_edge.errors import NotFoundError

    try:
        packs.find("default")
    except NotFoundError:
        pytest.skip("the default pack is not installed")
    return "default"
