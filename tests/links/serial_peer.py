"""A robot at the far end of a serial line, in a process of its own: ``serial_peer.py SYMLINK``.

Makes a pty under the symbolic link, sends STATUS 20 times a second while it reads, and takes words on
its standard input: ``pause`` and ``resume`` (reading and talking), end of file to finish. Prints what it
got, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
import tty

from x2c_edge.links.codec import CmdU16, SerialParser, Status, encode, to_serial


def main(link: str) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(link)
    os.symlink(os.ttyname(slave), link)
    print("ready", flush=True)

    parser = SerialParser()
    commands: list[CmdU16] = []
    times: list[float] = []
    paused, own_seq, next_status, words = False, 0, 0.0, b""
    finishing = False
    while True:
        watched = ([] if finishing else [0]) + ([] if paused else [master])
        ready, _, _ = select.select(watched, [], [], 0.01)
        if finishing and master not in ready:
            break
        if 0 in ready:
            data = os.read(0, 100)
            finishing = not data
            words += data
            *whole, words = words.split(b"\n")
            for word in whole:
                paused = word == b"pause"
                print(word.decode(), flush=True)
        if master in ready:
            for message in parser.feed(os.read(master, 4096)):
                if isinstance(message, CmdU16):
                    commands.append(message)
                    times.append(time.monotonic())
        if not paused and time.monotonic() >= next_status:
            next_status = time.monotonic() + 0.05
            last = commands[-1] if commands else None
            status = Status(
                run=7,
                seq=own_seq,
                t_us=time.monotonic_ns() // 1000,
                ack_run=last.run if last else 0,
                last_seq=last.seq if last else 0,
                state=2 if last else 1,
                n_ok=parser.ok,
                n_bad=parser.n_bad,
            )
            own_seq += 1
            with contextlib.suppress(BlockingIOError):
                os.write(master, to_serial(encode(status)))
    report = {
        "frames": [[m.run, m.seq, m.flags, m.rate_hz, m.robot_values[0]] for m in commands],
        "times": times,
        "bad": dict(parser.bad),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
