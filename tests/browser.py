"""A real browser for tests: headless Chromium, spoken to over its own debugging protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

LATE_S = 60.0
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The program; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium-headless-shell")
    return found


class Tab:
    """One open page."""

    def __init__(self, address: str) -> None:
        from websockets.sync.client import connect

        self._opened = contextlib.ExitStack()
        self._socket = self._opened.enter_context(
            connect(address, max_size=1 << 26, open_timeout=LATE_S, ping_interval=None, close_timeout=0.1)
        )
        self._number = 0
        self.complaints: list[str] = []  # errors and exceptions in the page's console
        self("Runtime.enable")
        self("Log.enable")
        self("Page.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """One call of the protocol."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(LATE_S))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(message["params"]["exceptionDetails"])[:500])
        elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(message["params"]["entry"]["text"])

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        done = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, (expression, done)
        return done["result"].get("value")

    def wait(self, expression: str, seconds: float = LATE_S) -> Any:
        """Wait until an expression is true; its value."""
        until = time.monotonic() + seconds
        while not (value := self.js(expression)):
            assert time.monotonic() < until, f"{expression} is {value!r}; {self.complaints}"
            time.sleep(0.02)
        return value

    def click(self, selector: str) -> None:
        """With the mouse, in the element's middle."""
        self.press(selector)
        self.let_go()

    def press(self, selector: str) -> None:
        """Mouse button down in the element's middle."""
        box = self.js(
            f"(() => {{ const e = document.querySelector({selector!r});"
            " e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        self._at = {"x": box[0], "y": box[1]}
        self("Input.dispatchMouseEvent", type="mouseMoved", **self._at)
        self._mouse("mousePressed", buttons=1)

    def let_go(self) -> None:
        """Mouse button up."""
        self._mouse("mouseReleased")

    def _mouse(self, kind: str, **more: int) -> None:
        self("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **self._at, **more)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", format="png")["data"]))

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip


class Browser:
    """One Chromium. Software rendering, so that WebGL works without a graphics card."""

    def __init__(self, folder: Path) -> None:
        profile = folder / "profile"
        flags = (
            "--headless --no-sandbox --remote-debugging-port=0 --use-angle=swiftshader "
            "--enable-unsafe-swiftshader --disable-gpu-vsync"
        )
        arguments = [chromium(), *flags.split(), f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        port_file = profile / "DevToolsActivePort"
        until = time.monotonic() + LATE_S
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert time.monotonic() < until
            assert self.process.poll() is None, "Chromium ended"
            time.sleep(0.05)
        self._port = int(port_file.read_text().split()[0])

    def open(self, url: str, *, width: int = 1280, height: int = 800) -> Tab:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=LATE_S) as answer:
            tab = Tab(json.load(answer)["webSocketDebuggerUrl"])
        tab.size(width, height)
        tab("Page.navigate", url=url)
        return tab

    def kill(self) -> None:
        """kill -9, the whole of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
