"""Robot side, UDP without a key: ``python udp_receiver.py [PORT] [SECONDS]``. Standard library only.

For the loopback or a cable between two machines: without a key anybody on the network can move the robot.
``x2c-edge sim --link udp://...?key=FILE`` shows the receiver with keys, telemetry and all rules.
"""

import math
import socket
import struct
import sys
import time

HEADER = struct.Struct("<BBHIIQ")  # version, type, flags, run, seq, t_us
BODY = struct.Struct("<IBBH30H")  # age_us, n, rate_hz, layout, values
LAYOUT = 0xAD19
HOLD, END = 0x0001, 0x0040
LOST_AFTER_S = 0.5

UNIT, LID = (0, 1), (-1, 2)
RANGES = [UNIT] * 4 + [LID] * 4 + [(-130, 130), (-60, 60), (-30, 20), (-20, 20), (-30, 30)]
RANGES += [UNIT] * 14 + [(-20, 30), (-24, 24), UNIT]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def decode(frame):
    """(run, seq, flags, 30 values in the robot's units, None = leave alone), or None for anything else."""
    if len(frame) != HEADER.size + BODY.size + 4:
        return None
    if crc32c(frame[:-4]) != int.from_bytes(frame[-4:], "little"):
        return None
    version, kind, flags, run, seq, _ = HEADER.unpack_from(frame)
    age_us, n, _, layout, *steps = BODY.unpack_from(frame, HEADER.size)
    if (version, kind, n, layout) != (1, 1, 30, LAYOUT) or flags & 0xFF00 or age_us > 150_000:
        return None
    values = [
        None if q == 65535 else low + (high - low) * q / 65534
        for q, (low, high) in zip(steps, RANGES, strict=True)
    ]
    return run, seq, flags, values


def write_demands(values):
    print(" ".join("-" if value is None else f"{value:.3f}" for value in values), flush=True)


def go_to_neutral():
    print("lost", flush=True)


def main(port, seconds):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", port))
    receiver.settimeout(0.02)
    end = time.monotonic() + seconds
    heard_at = last = None
    while time.monotonic() < end:
        try:
            command = decode(receiver.recv(256))
        except TimeoutError:
            command = None
        if command is not None:
            run, seq, flags, values = command
            same_run = last is not None and last[0] == run
            newer = same_run and 0 < (seq - last[1]) % 2**32 < 2**31
            if newer or (not same_run and heard_at is None):
                last = (run, seq)
                heard_at = None if flags & END else time.monotonic()
                if not flags & HOLD:
                    write_demands(values)
        if heard_at is not None and time.monotonic() - heard_at > LOST_AFTER_S:
            heard_at = None
            go_to_neutral()


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 47800,
        float(sys.argv[2]) if len(sys.argv) > 2 else math.inf,
    )
