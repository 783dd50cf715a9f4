"""Real files to read: videos and images written by OpenCV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

WriteVideo = Callable[..., Path]


def level(k: int) -> int:
    """The gray level of frame k in the videos below: far enough apart to survive lossy coding."""
    return 20 + 9 * (k % 25)


@pytest.fixture
def write_video(tmp_path: Path) -> WriteVideo:
    """write_video(name, codec, frames=20, fps=25.0, size=(64, 48)): frame k is gray at level(k)."""

    def write(
        name: str, codec: str, frames: int = 20, fps: float = 25.0, size: tuple[int, int] = (64, 48)
    ) -> Path:
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size)
        assert writer.isOpened()
        for k in range(frames):
            writer.write(np.full((size[1], size[0], 3), level(k), np.uint8))
        writer.release()
        return path

    return write


@pytest.fixture(scope="session")
def clips() -> Path:
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "clips"
    if not folder.is_dir():
        pytest.skip("no ../shared/data/clips here")
    return folder
