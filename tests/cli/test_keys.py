"""The key watcher on a real pty, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import time

PROGRAM = """
import threading, time
from x2c_edge.cli.keys import watched
pressed = threading.Event()
with watched({"n": pressed.set}):
    print("ready", flush=True)
    pressed.wait(20)
print("pressed" if pressed.is_set() else "nothing", flush=True)
"""


# As a shell does it with "&"; WUNTRACED also reports a child that was stopped.
BACKGROUND = f"""
import os, sys
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.execv(sys.executable, [sys.executable, "-c", {PROGRAM.replace("wait(20)", "wait(1)")!r}])
print("status", os.waitpid(child, os.WUNTRACED)[1], flush=True)
"""

# And then as with "fg".
TO_THE_FRONT = """
import signal, time
time.sleep(2)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.tcsetpgrp(0, child)
print("fg", flush=True)
"""
FOREGROUND_LATER = BACKGROUND.replace("wait(1)", "wait(20)").replace(
    'print("status"', TO_THE_FRONT + 'print("status"'
)


def read_until(master: int, word: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + 30
    with contextlib.suppress(OSError):  # the other side has ended
        while word not in seen and time.monotonic() < deadline:
            seen += os.read(master, 1024)
    return seen


def on_a_terminal(program: str) -> tuple[int, int]:
    """The process, and the other end of its terminal."""
    child, master = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", program])
    return child, master


def test_a_key_is_seen_at_once_and_others_are_not() -> None:
    child, master = on_a_terminal(PROGRAM)
    assert b"ready" in read_until(master, b"ready")
    os.write(master, b"xn")
    assert b"pressed" in read_until(master, b"pressed")
    os.waitpid(child, 0)
    os.close(master)


def test_in_the_background_of_a_terminal_it_is_not_stopped() -> None:
    child, master = on_a_terminal(BACKGROUND)
    said = read_until(master, b"status")
    assert b"nothing" in said
    assert b"status 0" in said + read_until(master, b"status 0")
    os.waitpid(child, 0)
    os.close(master)


def test_keys_work_once_it_is_in_the_foreground() -> None:
    child, master = on_a_terminal(FOREGROUND_LATER)
    assert b"ready" in read_until(master, b"ready")
    assert b"fg" in read_until(master, b"fg")
    time.sleep(1)  # it looks five times a second
    os.write(master, b"n")
    assert b"pressed" in read_until(master, b"pressed")
    os.waitpid(child, 0)
    os.close(master)


def test_without_a_terminal_nothing_happens() -> None:
    from x2c_edge.cli.keys import watched

    with watched({"n": lambda: None}):
        pass
