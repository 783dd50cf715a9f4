"""Robot side, ZeroMQ: ``python zmq_subscriber.py tcp://HOST:6666 [SECONDS]``. Needs pyzmq only.

Reads to the newest message (never CONFLATE: it keeps only the last part of thirty), takes 30 and 31 parts,
and treats half a second of silence as a lost link. Put your robot's writes into ``write_demands``.
"""

import math
import sys
import time

import zmq

LOST_AFTER_S = 0.5


def write_demands(values):
    """30 numbers, alphabetical by control name; degrees for gaze, head and neck."""
    print(" ".join(f"{value:.3f}" for value in values), flush=True)


def go_to_neutral():
    print("lost", flush=True)


def newest(socket):
    message = socket.recv_multipart()
    while socket.poll(0):
        message = socket.recv_multipart()
    return message


def main(endpoint, seconds):
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
    socket.connect(endpoint)
    end = time.monotonic() + seconds
    heard_at = None
    while time.monotonic() < end:
        if socket.poll(20):
            parts = newest(socket)
            if len(parts) in (30, 31):
                values = [float(part) for part in parts[-30:]]
                if all(map(math.isfinite, values)):
                    heard_at = time.monotonic()
                    write_demands(values)
        if heard_at is not None and time.monotonic() - heard_at > LOST_AFTER_S:
            heard_at = None
            go_to_neutral()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else math.inf)
