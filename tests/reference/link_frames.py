"""The wire formats of docs/spec/links.md, written out once more from that page. Knows nothing of x2c_edge.

Slow and plain on purpose: bit by bit, byte by byte. ``vectors`` makes tests/data/link_vectors.json.
"""

from __future__ import annotations

import hashlib
import math
import struct
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "spec" / "controls.md"

COMMAND_U16, COMMAND_F32, PING, HELLO = 0x01, 0x02, 0x03, 0x10
STATUS, POSITIONS, PONG, HELLO_ACK = 0x81, 0x82, 0x83, 0x90
NEUTRAL, FACE_LOST, SLEWED, END = 0x02, 0x08, 0x20, 0x40
AUTH = 0x8000

RUN, ROBOT_RUN = 0x0BADCAFE, 9
T_US = 987_654_321_012
KEY, KEY_ID, CHALLENGE = bytes(range(200, 232)), 3, 0x0102030405060708


def table() -> list[tuple[str, int, int, float]]:
    """(name, lowest, highest, neutral) of each control, robot units, from the page's table."""
    rows = []
    for line in PAGE.read_text(encoding="utf-8").replace("−", "-").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 9 and cells[0].isdigit():
            low, high = cells[3].split("…")
            rows.append((cells[1], int(low), int(high), float(cells[6])))
    return rows


CONTROLS = table()


def crc32c(data: bytes) -> int:
    """Section 3, one bit at a time."""
    register = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            feedback = (register ^ byte >> bit) & 1
            register >>= 1
            if feedback:
                register ^= 0x82F63B78
    return register ^ 0xFFFFFFFF


def cobs(data: bytes) -> bytes:
    """Consistent overhead byte stuffing: each code says where the next zero was, or that none was in 254."""
    out, group = bytearray(), bytearray()
    for i, byte in enumerate(data):
        if byte:
            group.append(byte)
        if byte == 0 or len(group) == 254:
            out += bytes([len(group) + 1]) + group
            group.clear()
            if byte and i == len(data) - 1:
                return bytes(out)  # a full last group needs no other after it
    return bytes(out + bytes([len(group) + 1]) + group)


def layout() -> str:
    """Section 2.1."""
    return "".join(f"{i}:{name}:{low}:{high}\n" for i, (name, low, high, _) in enumerate(CONTROLS))


LAYOUT_CRC = crc32c(layout().encode())
LAYOUT_ID = LAYOUT_CRC % 65536


def quantised(index: int, value: float | None) -> int:
    """Section 2.4; None is absent."""
    if value is None:
        return 65535
    _, low, high, _ = CONTROLS[index]
    inside = min(max(value, low), high)
    return math.floor((inside - low) / (high - low) * 65534 + 0.5)


def head(kind: int, seq: int, *, flags: int = 0, run: int = RUN, t_us: int = T_US) -> bytes:
    """Section 3: the 20 bytes in front."""
    return struct.pack("<BBHIIQ", 1, kind, flags, run, seq, t_us)


def closed(frame: bytes) -> bytes:
    """With its CRC."""
    return frame + struct.pack("<I", crc32c(frame))


def on_line(frame: bytes) -> bytes:
    """Section 4."""
    return b"\0" + cobs(frame) + b"\0"


def hmac_sha256(key: bytes, text: bytes) -> bytes:
    """RFC 2104 for a key no longer than a block of 64 bytes."""
    key = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + text).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in key) + inner).digest()


def signed(frame: bytes) -> bytes:
    """Section 5.2: a frame without its CRC to a whole one with AUTH."""
    kind = frame[1]
    (flags,) = struct.unpack_from("<H", frame, 2)
    frame = frame[:2] + struct.pack("<H", flags | AUTH) + frame[4:] + bytes([KEY_ID, 0, 0, 0])
    greeting = kind in (HELLO, HELLO_ACK)
    direction = 1 if kind in (STATUS, POSITIONS, PONG, HELLO_ACK) else 0
    prefix = b"x2c-link-v1\0" + bytes([direction]) + struct.pack("<Q", 0 if greeting else CHALLENGE)
    return closed(frame + hmac_sha256(KEY, prefix + frame)[:16])


def u16_body(first: int, rate: int, values: list[float | None]) -> bytes:
    """Of CMD_U16 and POSITIONS."""
    steps = [quantised(i, value) for i, value in enumerate(values)]
    return struct.pack("<IBBH30H", first, 30, rate, LAYOUT_ID, *steps)


def rest() -> list[float | None]:
    """Every control at neutral; all angles are 0 there, so units do not matter."""
    return [neutral for *_, neutral in CONTROLS]


def wink() -> list[float | None]:
    """The left eye shut, a lopsided smile, a look up and aside."""
    values = rest()
    for name, value in {
        "Eyelid Lower Left": 0.0,
        "Eyelid Upper Left": 0.0,
        "Lip Corner Raise Left": 0.8125,
        "Lip Corner Stretch Left": 0.71,
        "Gaze Target Phi": 17.3,
        "Gaze Target Theta": -4.125,
        "Head Roll": -6.75,
        "Neck Pitch": 1.5,
        "Jaw Pitch": 0.93,
        "Nose Wrinkle": 0.046,
    }.items():
        values[[row[0] for row in CONTROLS].index(name)] = value
    return values


def _frames() -> list[dict[str, Any]]:
    """Every type, without CRC, with the fields that a decoder has to find."""
    lows, highs = [float(low) for _, low, _, _ in CONTROLS], [float(high) for _, _, high, _ in CONTROLS]
    thirds: list[float | None] = [v if i % 3 else None for i, v in enumerate(rest())]
    demands = [float(v) for v in wink() if v is not None]
    status = struct.Struct("<IIIBBHIIIIIHhI")
    made: list[tuple[str, bytes, dict[str, Any], list[float | None] | None]] = []

    def add(
        name: str, front: bytes, body: bytes, values: list[float | None] | None = None, **fields: int
    ) -> None:
        kind, flags = front[1], struct.unpack_from("<H", front, 2)[0]
        run, seq, t_us = struct.unpack_from("<IIQ", front, 4)
        all_fields = {"type": kind, "flags": flags, "run": run, "seq": seq, "t_us": t_us, **fields}
        made.append((name, front + body, all_fields, values))

    def command(name: str, seq: int, values: list[float | None], age: int, rate: int, flags: int = 0) -> None:
        front = head(COMMAND_U16, seq, flags=flags, t_us=T_US + 16_667 * seq)
        add(name, front, u16_body(age, rate, values), values, age_us=age, rate_hz=rate)

    command("cmd_u16_rest", 0, rest(), 0, 60, NEUTRAL)
    command("cmd_u16_wink", 1, wink(), 38_417, 60, SLEWED)
    command("cmd_u16_lows", 2, [*lows], 1, 30)
    command("cmd_u16_highs", 3, [*highs], 0xFFFFFFFF, 255)
    command("cmd_u16_thirds_absent", 4, thirds, 256, 60, FACE_LOST)
    command("cmd_u16_end", 0xFFFFFFFF, rest(), 0, 60, NEUTRAL | END)
    body = struct.pack("<IBBH30f", 38_417, 30, 60, LAYOUT_ID, *demands)
    add("cmd_f32_wink", head(COMMAND_F32, 5), body, [*demands], age_us=38_417, rate_hz=60)
    add("ping", head(PING, 6), struct.pack("<I", 0x00C0FFEE), nonce=0x00C0FFEE)
    hello = struct.pack("<QIBBH", 0xF0E1D2C3B4A59687, LAYOUT_CRC, 30, 60, 0)
    add("hello", head(HELLO, 0), hello, nonce=0xF0E1D2C3B4A59687, rate_hz=60)
    follows: dict[str, int] = {
        "ack_run": RUN, "last_seq": 6, "bitmap": 0b101111, "state": 2, "fault": 0, "fault_arg": 0, "n_ok": 7,
        "n_bad": 2, "n_gap": 1, "n_stale": 3, "n_limited": 4, "supply_mv": 23_950, "temp_centi_c": 3725,
        "rx_age_us": 4100,
    }  # fmt: skip
    hot = {**follows, "state": 5, "fault": 4, "fault_arg": 12, "supply_mv": 0, "temp_centi_c": -32768}
    for name, seq, fields in (("status_active", 40, follows), ("status_hot", 41, hot)):
        add(name, head(STATUS, seq, run=ROBOT_RUN), status.pack(*fields.values()), **fields)
    add("positions", head(POSITIONS, 42, run=ROBOT_RUN), u16_body(6, 0, wink()), applied_seq=6)
    pong = struct.pack("<IQ", 0x00C0FFEE, T_US)
    add("pong", head(PONG, 43, run=ROBOT_RUN), pong, nonce=0x00C0FFEE, echo_t_us=T_US)
    ack = struct.pack("<QQIBBHHBB", 0xF0E1D2C3B4A59687, CHALLENGE, LAYOUT_CRC, 1, 30, 100, 500, 60, 0)
    add(
        "hello_ack", head(HELLO_ACK, 0, run=ROBOT_RUN), ack, nonce=0xF0E1D2C3B4A59687, challenge=CHALLENGE,
        hold_ms=100, neutral_ms=500, max_rate_hz=60,
    )  # fmt: skip
    return [
        {"name": name, "open": frame, "fields": fields, "values": values}
        for name, frame, fields, values in made
    ]


def _negatives(command: bytes, float_command: bytes) -> list[tuple[str, bytes, str]]:
    """What must be refused, and why. Arguments: whole frames without CRC."""

    def changed(frame: bytes, at: int, new: bytes) -> bytes:
        return closed(frame[:at] + new + frame[at + len(new) :])

    flipped = bytearray(closed(command))
    flipped[50] ^= 0x04
    return [
        ("flipped_bit", bytes(flipped), "crc"),
        ("version_0", changed(command, 0, b"\0"), "version"),
        ("unknown_flag", changed(command, 3, b"\x10"), "flags"),
        ("auth_without_key", changed(command, 3, b"\x80"), "flags"),
        ("twenty_nine_controls", changed(command, 24, b"\x1d"), "layout"),
        ("another_layout", changed(command, 26, b"\x1a"), "layout"),
        ("unknown_type", changed(command, 1, b"\x04"), "type"),
        ("a_byte_too_few", closed(command[:-1]), "length"),
        ("a_byte_too_many", closed(command + b"\0"), "length"),
        ("a_float_too_many", closed(float_command + bytes(4)), "length"),
        ("infinite", changed(float_command, 28 + 4 * 8, struct.pack("<f", math.inf)), "nonfinite"),
        ("not_a_number", changed(float_command, 28 + 4 * 29, struct.pack("<f", math.nan)), "nonfinite"),
        ("nothing", b"", "length"),
    ]


def _stream(frames: list[bytes]) -> bytes:
    """Three frames among noise, a flip, a cut, a lost zero and an endless block: six blocks to refuse."""
    first, second, third = (on_line(frame) for frame in frames[:3])
    flip = bytearray(second)
    flip[40] ^= 0x01 if flip[40] != 0x01 else 0x02
    merged = second[:-1] + third[1:]
    return b"".join(
        [b"\x21\x22\x23\0\xc8\xc9\0", first, bytes(flip), third[:55], second, b"\0\0\0", merged,
         b"\x7e" * 400 + b"\0", third],
    )  # fmt: skip


def _zmq_text(value: float) -> str:
    return f"{value:.5f}"


def vectors() -> dict[str, Any]:
    """Everything in tests/data/link_vectors.json."""
    frames = _frames()
    by_name = {frame["name"]: frame["open"] for frame in frames}
    rows = []
    for frame in frames:
        raw = closed(frame["open"])
        line = on_line(raw)
        row = {"name": frame["name"], "raw_hex": raw.hex(), "raw_len": len(raw), "serial_hex": line.hex(),
               "serial_len": len(line), "fields": frame["fields"]}  # fmt: skip
        rows.append(row if frame["values"] is None else {**row, "values": frame["values"]})
    sequence = [closed(by_name[name]) for name in ("cmd_u16_rest", "cmd_u16_wink", "cmd_u16_lows")]
    pairs = [(0, 0.123456), (4, -1.0), (6, 1.99999), (8, 0.0), (8, -130.5), (9, 33.333), (10, -30.0),
             (10, 0.0), (12, 19.9995), (27, 12.5), (28, -0.001), (29, 1.0)]  # fmt: skip
    plains = [b"", b"\0", b"\0\0\0", b"a\0\0b", b"x" * 253, b"y" * 254, b"z" * 255 + b"\0"]
    demands = [float(v) for v in wink() if v is not None]
    return {
        "about": "made by tests/reference/link_frames.py from docs/spec/links.md",
        "layout": {"text": layout(), "crc32c": f"0x{LAYOUT_CRC:08X}", "id16": f"0x{LAYOUT_ID:04X}"},
        "frames": rows,
        "negatives": [
            {"name": name, "raw_hex": raw.hex(), "reject": reason}
            for name, raw, reason in _negatives(by_name["cmd_u16_wink"], by_name["cmd_f32_wink"])
        ],
        "streams": [{"name": "noise", "hex": _stream(sequence).hex(), "accepted_seqs": [0, 1, 2]}],
        "udp_auth": {
            "key_hex": KEY.hex(),
            "key_id": KEY_ID,
            "challenge": CHALLENGE,
            "frames": [
                {
                    "name": frame["name"],
                    "hex": signed(frame["open"]).hex(),
                    "direction": "host_to_robot" if frame["fields"]["type"] < 0x80 else "robot_to_host",
                }
                for frame in frames
            ],
        },
        "quantise": [
            {"index": i, "name": CONTROLS[i][0], "value": value, "q": quantised(i, value)}
            for i, value in pairs
        ],
        "cobs": [{"plain": plain.hex(), "coded": cobs(plain).hex()} for plain in plains],
        "zmq": {
            "values": demands,
            "parts_30": [_zmq_text(value) for value in demands],
            "time": 1700000000.25,
            "parts_31": ["1700000000.250000", *(_zmq_text(value) for value in demands)],
        },
    }
