"""Pictures of the live page: python -m tools.evaluate.page_pictures DESKTOP.jpg [PHONE.jpg]

For the documentation. The demo's moved photograph (NASA's portrait of the astronaut Eileen Collins, public
domain) is recorded and replayed to the virtual Ameca on a UDP link; the pictures are taken at a smile. Needs
Chromium, as the page's tests do. A replay, so that no frame is late because a browser shares the cores.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import cv2
import typer

from tests.browser import Browser, Tab
from tests.e2e.live_run import ROOT, free_port
from tools.evaluate.animate_portrait import animate, astronaut, measure, write_video
from x2c_edge.backends.open import open_backend
from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.packs import open_pack
from x2c_edge.pipelines.single_stage import SingleStagePipeline

FPS, SECONDS, TIMES = 30.0, 10, 3
TOKEN = "a-token-for-the-pictures"
SMILES = INDEX["Lip Corner Raise Left"]
EDGE = [sys.executable, "-m", "x2c_edge.cli.main"]


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """``x2c-edge WORDS`` in a folder."""
    variables = {"X2C_EDGE_MONITOR_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*EDGE, *words], cwd=folder, env=os.environ | variables, stdout=subprocess.DEVNULL
    )


def until_served(port: str) -> None:
    """Wait for the page; a browser that comes too early does not try again."""
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).close()
            return
        time.sleep(0.2)


def take(tab: Tab, path: Path) -> None:
    """The page as it is now."""
    time.sleep(1.0)
    png = path.with_suffix(".png")
    tab.screenshot(png)
    cv2.imwrite(str(path), cv2.imread(str(png)), (cv2.IMWRITE_JPEG_QUALITY, 85))
    png.unlink()
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main(
    desktop: Annotated[Path, typer.Argument(help="1280 x 800 pixels.")],
    phone: Annotated[Path | None, typer.Argument(help="390 x 844 points.")] = None,
) -> None:
    """Record, replay, look, take the pictures."""
    picture, pack = astronaut(), open_pack()
    landmarks = measure(picture, SingleStagePipeline(pack, open_backend(pack=pack))).landmarks
    acted = list(animate(picture, landmarks, FPS, SECONDS))
    port, robot = str(free_port()), f"udp://127.0.0.1:{free_port()}"
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_video(folder / "astronaut.mp4", itertools.chain(*[acted] * TIMES), FPS)
        source = ("--input", "astronaut.mp4", "--pipeline", "two-stage", "--fast")
        start(folder, "run", *source, "--record", "astronaut.mcap").wait()
        browser = Browser(folder)
        sim = start(folder, "sim", "--link", robot)
        run = start(folder, "replay", "astronaut.mcap", "--link", robot, "--monitor", port)
        try:
            until_served(port)
            tab = browser.open(f"http://127.0.0.1:{port}/#{TOKEN}", width=1280, height=800)
            tab.wait("window.page && page.role === 'operator' && page.head && page.pictures > 30")
            tab.wait(f"page.values[{SMILES}] > {NEUTRAL[SMILES] + 0.1}")
            tab.click("#pause")
            tab.js("window.scrollTo(0, 0)")
            take(tab, desktop)
            if phone is not None:
                tab.size(390, 844, phone=True)
                take(tab, phone)
        finally:
            browser.kill()
            for process in (run, sim):
                process.send_signal(signal.SIGTERM)
                process.wait()


if __name__ == "__main__":
    typer.run(main)
