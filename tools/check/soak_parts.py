"""What ``tools.check.soak_faults`` starts: ``feed`` is the camera, ``subject`` the run that suffers."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import zmq

from x2c_edge.runtime import settings as config
from x2c_edge.runtime.open_run import open_run
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.run import Run
from x2c_edge.runtime.vision import Vision

FPS = 30


def feed(port: str, clip: str) -> None:
    """The robot's camera: the clip there and back, for ever, a JPEG a message."""
    source, pictures = cv2.VideoCapture(clip), []
    while len(pictures) < 300:
        ok, picture = source.read()
        if not ok:
            break
        pictures.append(cv2.imencode(".jpg", picture)[1].tobytes())
    there_and_back = pictures + pictures[-2:0:-1]
    socket = zmq.Context().socket(zmq.PUB)
    socket.sndhwm = 2
    socket.bind(f"tcp://127.0.0.1:{port}")
    start, number = time.monotonic(), 0
    while True:
        socket.send(there_and_back[number % len(there_and_back)])
        number = max(number + 1, int((time.monotonic() - start) * FPS))
        time.sleep(max(0.0, start + number / FPS - time.monotonic()))


class Trouble:
    """What is wrong with the subject right now; orders come on standard input, one a line."""

    def __init__(self, run: Run) -> None:
        self.net = ""
        self._reset = False
        self._run = run
        assert isinstance(run.eyes, Vision)
        for pipeline in run.eyes._pipelines.values():
            self._wrap(pipeline)
        self._tick = run.supervisor.tick
        run.supervisor.tick = self.tick  # type: ignore[method-assign]
        threading.Thread(target=self._obey, daemon=True).start()

    def _wrap(self, pipeline: Any) -> None:
        measure = pipeline.measure

        def suffer(crop: Any) -> Any:
            measurement = measure(crop)
            if self.net == "nan":
                measurement.values[:] = float("nan")
            elif self.net == "slow":
                time.sleep(0.3)
            return measurement

        pipeline.measure = suffer

    def tick(self, now_ns: int) -> Any:
        if self._reset:  # what the operator does after a FAULT; here, between two ticks
            self._reset = False
            self._run.supervisor.reset(now_ns)
        return self._tick(now_ns)

    def _obey(self) -> None:
        wall, wall_ns = time.time, time.time_ns
        for line in sys.stdin:
            order, _, argument = line.strip().partition(" ")
            if order == "net":
                self.net = argument
            elif order == "reset":
                self._reset = True
            elif order == "clock":  # this process's alone: the machine's belongs to others as well
                jump = float(argument)
                time.time = lambda jump=jump: wall() + jump
                time.time_ns = lambda jump=jump: wall_ns() + round(jump * 1e9)


def subject(settings: str) -> None:
    """A live run with the settings of a file, as ``x2c-edge run`` makes it."""
    run = open_run(config.load(Path(settings)), Outputs(), lambda _: None)
    Trouble(run)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: run.stop())
    print("running", flush=True)
    run.run()


if __name__ == "__main__":
    {"feed": feed, "subject": subject}[sys.argv[1]](*sys.argv[2:])
