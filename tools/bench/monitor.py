"""What ten viewers of the live page cost the tick: python -m tools.bench.monitor [--rounds N] [--seconds S]

The same synthetic run, with its page and nobody looking, and with ten viewers of which one is stuck and one
sends rubbish, in turns. The tick's jitter and the memory of the run are the run's own figures.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.record.recordings import smooth, write
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.replay import open_replay
from x2c_edge.runtime.settings import load

GOOD = 8


@dataclass(frozen=True)
class Round:
    """One run. Milliseconds, bytes."""

    p50: float
    p99: float
    resident_first: int
    resident_last: int


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def look(port: int, token: str, end: threading.Event) -> None:
    """A page that takes everything."""
    gone = contextlib.suppress(WebSocketException, OSError)  # the run is over
    with gone, connect(f"ws://127.0.0.1:{port}/live", max_size=1 << 24) as viewer:
        viewer.send(json.dumps({"token": token}))
        while not end.is_set():
            with contextlib.suppress(TimeoutError):
                viewer.recv(0.2)


def talk_rubbish(port: int, token: str, end: threading.Event) -> None:
    """A page that floods with nonsense and comes back when it is thrown out."""
    while not end.is_set():
        with (
            contextlib.suppress(WebSocketException, OSError),
            connect(f"ws://127.0.0.1:{port}/live") as viewer,
        ):
            viewer.send(json.dumps({"token": token}))
            for _ in range(200):
                viewer.send('{"do": "look", "x": "' + "x" * 1000 + '"}')
        end.wait(0.05)


def be_stuck(port: int, token: str, end: threading.Event) -> None:
    """A page that introduces itself and never reads."""
    with socket.socket() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.connect(("127.0.0.1", port))
        viewer.sendall(
            b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        words = json.dumps({"token": token}).encode()
        viewer.sendall(bytes([0x81, 0x80 | len(words), 0, 0, 0, 0]) + words)
        end.wait()


def crowd(port: int, token: str) -> int:
    """Starts the viewers in a process of their own, so that they cost the run nothing but what they ask."""
    child = os.fork()
    if child:
        return child
    os.nice(19)  # browsers are on other machines
    end = threading.Event()
    everybody = [look] * GOOD + [be_stuck, talk_rubbish]
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    threads = [threading.Thread(target=who, args=(port, token, end), daemon=True) for who in everybody]
    for thread in threads:
        thread.start()
    time.sleep(3600)
    os._exit(0)


def measure(recording: Path, seconds: float, *, watched: bool) -> Round:
    """One run of ``seconds``."""
    settings = load(None, {"run": {"link": ("null:",), "budget_ms": 200.0}})
    run = open_replay(recording, settings, Outputs(monitor="0", duration_s=seconds))
    assert run.outlets.page is not None
    access = run.outlets.page.link.access
    memory: list[int] = []
    end = threading.Event()

    def watch() -> None:
        child = crowd(access.port, access.token) if watched else 0
        while not end.wait(0.5):
            memory.append(resident())
        if child:
            os.kill(child, 9)
            os.waitpid(child, 0)

    watcher = threading.Timer(2.0, watch)  # the page's process needs a moment
    watcher.start()
    run.run()
    end.set()
    watcher.join()
    p50, p99 = (ns / 1e6 for ns in run.book.tick_jitter.percentiles(50, 99))
    half = memory[len(memory) // 3 :] or [0]
    return Round(p50, p99, half[0], half[-1])


def main(
    rounds: Annotated[int, typer.Option(help="Of each kind.")] = 5,
    seconds: Annotated[float, typer.Option(help="Of each run.")] = 20.0,
) -> None:
    """Print the table."""
    with TemporaryDirectory() as folder:
        recording = write(Path(folder) / "a.mcap", smooth(round(40 * seconds)))
        kinds: dict[bool, list[Round]] = {False: [], True: []}
        for _ in range(rounds):
            for watched, made in kinds.items():
                made.append(measure(recording, seconds, watched=watched))
    print("| viewers | tick jitter p50, ms | p99, ms | p99 of each run | memory growth, MiB |")
    print("| --- | ---: | ---: | --- | ---: |")
    for watched, made in kinds.items():
        name = f"{GOOD} good, 1 stuck, 1 sending rubbish" if watched else "none"
        p50, p99 = (float(np.median([getattr(r, key) for r in made])) for key in ("p50", "p99"))
        each = ", ".join(f"{r.p99:.2f}" for r in made)
        growth = float(np.median([r.resident_last - r.resident_first for r in made])) / 2**20
        print(f"| {name} | {p50:.3f} | {p99:.3f} | {each} | {growth:+.2f} |")


if __name__ == "__main__":
    typer.run(main)
