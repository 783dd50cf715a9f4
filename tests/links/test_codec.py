"""The frame codec: every test vector byte for byte, and its promises for any input."""

from __future__ import annotations

import dataclasses
import hmac
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.controls import HIGH, LOW, N_CONTROLS, NEUTRAL, to_robot
from x2c_edge.frames import Command, Flag
from x2c_edge.links import codec
from x2c_edge.links.codec import (
    CmdF32,
    CmdU16,
    FrameError,
    Hello,
    HelloAck,
    Key,
    Message,
    Ping,
    Pong,
    Positions,
    SerialParser,
    Status,
)

ROOT = Path(__file__).parents[2]
FILES = (
    ROOT / "tests" / "data" / "link_vectors.json",
    ROOT.parent / "shared" / "specs" / "link_vectors.json",  # more of them, where they are
)
VECTORS: list[dict[str, Any]] = [json.loads(file.read_text()) for file in FILES if file.exists()]


def vectors(section: str, name: str = "name", having: str = "") -> Any:
    """One parameter per vector of a section (that has some field)."""
    rows = [row for file in VECTORS for row in file[section] if not having or having in row]
    return pytest.mark.parametrize("vector", rows, ids=[str(row.get(name, "")) or "empty" for row in rows])


def reason_of(data: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        codec.decode(data)
    return caught.value.reason


# --- test vectors ---


@pytest.mark.parametrize("file", VECTORS)
def test_crc_and_layout_are_the_specified_ones(file: dict[str, Any]) -> None:
    assert codec.crc32c(b"123456789") == 0xE3069283
    assert codec.crc32c(b"") == 0
    assert file["layout"]["text"] == codec.LAYOUT_TEXT
    assert int(file["layout"]["crc32c"], 16) == codec.LAYOUT_CRC
    assert int(file["layout"]["id16"], 16) == codec.LAYOUT_ID


@vectors("frames")
def test_frame_vector_decodes_and_encodes_byte_for_byte(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["raw_hex"])
    wire = bytes.fromhex(vector["serial_hex"])

    message = codec.decode(raw)

    assert codec.encode(message) == raw
    assert codec.to_serial(raw) == wire
    assert codec.cobs_decode(wire[1:-1]) == raw
    assert (len(raw), len(wire)) == (vector["raw_len"], vector["serial_len"])
    assert codec.crc32c(raw) == 0x48674BC7
    for field, value in vector["fields"].items():
        assert (message.TYPE if field == "type" else getattr(message, field)) == value


@vectors("frames", having="values")
def test_frame_vector_is_made_from_its_values(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["raw_hex"])
    message = codec.decode(raw)
    assert isinstance(message, CmdU16 | CmdF32)
    values = np.array([math.nan if v is None else v for v in vector["values"]])
    step = (to_robot(HIGH) - to_robot(LOW)) / codec.STEPS
    np.testing.assert_array_less(np.nan_to_num(np.abs(message.robot_values - values)), 0.51 * step)
    np.testing.assert_allclose(to_robot(message.values), message.robot_values, rtol=1e-12)
    if isinstance(message, CmdU16):
        assert codec.quantise(values) == message.steps
    else:
        assert message.demands == struct.unpack("<30f", struct.pack("<30f", *values))


@vectors("negatives")
def test_negative_vector_is_refused_for_its_reason(vector: dict[str, Any]) -> None:
    assert reason_of(bytes.fromhex(vector["raw_hex"])) == vector["reject"]


@pytest.mark.parametrize("piece", [1, 2, 7, 95, 5000])
@vectors("streams")
def test_damaged_stream_gives_the_frames_that_survive(vector: dict[str, Any], piece: int) -> None:
    parser = SerialParser()
    data = bytes.fromhex(vector["hex"])

    got = [m for at in range(0, len(data), piece) for m in parser.feed(data[at : at + piece])]

    assert [m.seq for m in got] == vector["accepted_seqs"]
    assert parser.ok == len(got)
    assert parser.n_bad == 6  # two of noise, a flipped bit, a cut, two merged, one too long


@pytest.mark.parametrize("file", VECTORS)
def test_authenticated_vectors_byte_for_byte(file: dict[str, Any]) -> None:
    auth = file["udp_auth"]
    key = Key(bytes.fromhex(auth["key_hex"]), auth["key_id"])
    for vector in auth["frames"]:
        frame = bytes.fromhex(vector["hex"])
        message = codec.decode_authenticated(frame, key, auth["challenge"])
        assert codec.encode_authenticated(message, key, auth["challenge"]) == frame
        assert (message.TYPE < 0x80) == (vector["direction"] == "host_to_robot")
        assert reason_of(frame) == "flags"


@vectors("quantise")
def test_quantise_vector(vector: dict[str, Any]) -> None:
    values = to_robot(NEUTRAL)
    values[vector["index"]] = vector["value"]
    assert codec.quantise(values)[vector["index"]] == vector["q"]


@vectors("cobs", "plain")
def test_cobs_vector(vector: dict[str, Any]) -> None:
    plain, coded = bytes.fromhex(vector["plain"]), bytes.fromhex(vector["coded"])
    assert codec.cobs_encode(plain) == coded
    assert codec.cobs_decode(coded) == plain


# --- promises ---

u8, u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
head = {"run": u32, "seq": u32, "t_us": u64, "flags": u8}
steps = st.lists(u16, min_size=N_CONTROLS, max_size=N_CONTROLS).map(tuple)
floats = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=N_CONTROLS, max_size=N_CONTROLS
).map(tuple)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(CmdU16, **head, age_us=u32, rate_hz=u8, steps=steps),
    st.builds(CmdF32, **head, age_us=u32, rate_hz=u8, demands=floats),
    st.builds(Ping, **head, nonce=u32),
    st.builds(Hello, **head, nonce=u64, rate_hz=u8),
    st.builds(
        Status,
        **head,
        ack_run=u32,
        last_seq=u32,
        bitmap=u32,
        state=u8,
        fault=u8,
        fault_arg=u16,
        n_ok=u32,
        n_bad=u32,
        n_gap=u32,
        n_stale=u32,
        n_limited=u32,
        supply_mv=u16,
        temp_centi_c=st.integers(-32768, 32767),
        rx_age_us=u32,
    ),
    st.builds(Positions, **head, applied_seq=u32, steps=steps),
    st.builds(Pong, **head, nonce=u32, echo_t_us=u64),
    st.builds(HelloAck, **head, nonce=u64, challenge=u64, hold_ms=u16, neutral_ms=u16, max_rate_hz=u8),
)
KEY = Key(b"k" * 32, 7)


@given(messages, u64)
def test_round_trip(message: Message, challenge: int) -> None:
    assert codec.decode(codec.encode(message)) == message
    frame = codec.encode_authenticated(message, KEY, challenge)
    assert len(frame) <= codec.MAX_FRAME
    assert codec.decode_authenticated(frame, KEY, challenge) == message


@given(messages, st.data())
def test_any_corrupted_byte_is_refused(message: Message, data: st.DataObject) -> None:
    frame = bytearray(codec.encode(message))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        codec.decode(bytes(frame))


@given(messages, st.data())
def test_any_corrupted_byte_on_the_wire_is_refused_or_changes_nothing(
    message: Message, data: st.DataObject
) -> None:
    wire = bytearray(codec.to_serial(codec.encode(message)))
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] ^= data.draw(st.integers(1, 255))
    assert SerialParser().feed(bytes(wire)) in ([], [message])


@given(messages, u64, st.data())
def test_a_tag_fits_one_message_key_and_challenge_only(
    message: Message, challenge: int, data: st.DataObject
) -> None:
    frame = codec.encode_authenticated(message, KEY, challenge)
    changed = bytearray(frame[:-4])
    changed[data.draw(st.integers(4, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError) as caught:
        codec.decode_authenticated(bytes(changed) + struct.pack("<I", codec.crc32c(changed)), KEY, challenge)
    assert caught.value.reason == "auth"
    for other in (Key(b"x" * 32, 7), Key(b"k" * 32, 8)):
        with pytest.raises(FrameError):
            codec.decode_authenticated(frame, other, challenge)
    if not isinstance(message, Hello | HelloAck):
        with pytest.raises(FrameError):
            codec.decode_authenticated(frame, KEY, challenge ^ 1)
    with pytest.raises(FrameError) as caught:
        codec.decode_authenticated(codec.encode(message), KEY, challenge)
    assert caught.value.reason == "auth"


@given(messages, u64)
def test_the_tag_is_the_specified_one(message: Message, challenge: int) -> None:
    """HMAC-SHA256 of context, direction, challenge and frame, 16 bytes (docs/spec/links.md section 5.2)."""
    frame = codec.encode_authenticated(message, KEY, challenge)
    signed, tag, crc = frame[:-20], frame[-20:-4], frame[-4:]
    to_host = isinstance(message, Status | Positions | Pong | HelloAck)
    greets = isinstance(message, Hello | HelloAck)
    context = b"x2c-link-v1\0" + bytes([to_host]) + (0 if greets else challenge).to_bytes(8, "little")
    assert tag == hmac.new(KEY.secret, context + signed, "sha256").digest()[:16]
    assert signed[-4:] == bytes([KEY.key_id, 0, 0, 0])
    assert crc == codec.crc32c(frame[:-4]).to_bytes(4, "little")


@pytest.mark.parametrize("high", [1 << bit for bit in range(8)] + [0xFF])
@given(message=messages)
def test_unknown_incompatible_flags_are_refused(high: int, message: Message) -> None:
    """Without a key AUTH is one of them, with a key any other is; no flag of the low byte ever is."""
    frame = with_body(message, 3, bytes([high]))
    assert reason_of(frame) == "flags"
    with pytest.raises(FrameError) as caught:
        codec.decode_authenticated(frame, KEY, 0)
    assert caught.value.reason == ("length" if high == 0x80 else "flags")


@given(st.binary(max_size=600), messages, st.integers(1, 100))
def test_the_parser_resynchronises_after_garbage(garbage: bytes, message: Message, piece: int) -> None:
    parser = SerialParser()
    data = garbage + codec.to_serial(codec.encode(message))
    got = [m for at in range(0, len(data), piece) for m in parser.feed(data[at : at + piece])]
    assert got[-1:] == [message]


@given(st.binary(max_size=1200))
def test_cobs_round_trip(data: bytes) -> None:
    coded = codec.cobs_encode(data)
    assert 0 not in coded
    assert len(coded) <= len(data) + 1 + len(data) // 254
    assert codec.cobs_decode(coded) == data


@pytest.mark.parametrize("length", [253, 254, 255, 508, 509])
def test_cobs_at_the_length_of_a_full_block(length: int) -> None:
    for data in (b"x" * length, b"x" * length + b"\0", b"\0" + b"x" * length):
        assert codec.cobs_decode(codec.cobs_encode(data)) == data
    blocks, rest = divmod(length, 254)
    assert len(codec.cobs_encode(b"x" * length)) == length + blocks + (rest > 0)


@pytest.mark.parametrize("coded", [b"", b"\0", b"\x05abc", b"\x02a\0", b"\x02"])
def test_bad_cobs_is_refused(coded: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        codec.cobs_decode(coded)
    assert caught.value.reason == "cobs"


@given(st.lists(st.floats(-1e6, 1e6), min_size=N_CONTROLS, max_size=N_CONTROLS))
def test_quantising_errs_by_half_a_step_at_most(values: list[float]) -> None:
    low, high = np.rint(to_robot(LOW)), np.rint(to_robot(HIGH))
    back = codec.dequantise(codec.quantise(values))
    assert np.all(np.abs(back - np.clip(values, low, high)) <= (high - low) / codec.STEPS * 0.5000001)
    assert codec.quantise(back) == codec.quantise(values)


def test_quantise_knows_absent_and_refuses_infinity_and_other_shapes() -> None:
    values = to_robot(NEUTRAL)
    values[3] = np.nan
    assert codec.quantise(values)[3] == codec.ABSENT
    assert np.isnan(codec.dequantise(codec.quantise(values))[3])
    values[3] = np.inf
    with pytest.raises(ValueError, match="infinities"):
        codec.quantise(values)
    with pytest.raises(ValueError, match="30"):
        codec.quantise(values[:29])


def test_unending_rubbish_needs_no_memory_and_is_counted_once() -> None:
    parser = SerialParser()
    for _ in range(100):
        assert parser.feed(b"\x55" * 10_000) == []
    assert len(parser._partial) <= codec.MAX_BLOCK
    assert parser.bad == {"length": 1}
    frame = codec.to_serial(codec.encode(Ping(run=1, seq=2, t_us=3, nonce=4)))
    assert [m.seq for m in parser.feed(frame)] == [2]
    assert parser.feed(b"\0" + b"\x55" * 500 + b"\0" + frame)[0].seq == 2
    assert parser.bad == {"length": 2}


@pytest.mark.parametrize(("length", "reason"), [(23, "length"), (24, "crc"), (172, "crc"), (173, "length")])
def test_no_frame_is_shorter_than_a_header_or_longer_than_the_longest(length: int, reason: str) -> None:
    assert reason_of(b"\1" * length) == reason


@pytest.mark.parametrize("piece", [1, 100, 1000])
@pytest.mark.parametrize(
    ("length", "reason"), [(177, "cobs"), (178, "cobs"), (179, "length"), (400, "length")]
)
def test_a_block_has_178_bytes_at_most(length: int, reason: str, piece: int) -> None:
    """However it arrives, it is counted once, a longer one as soon as it is too long."""
    parser = SerialParser()
    block = b"\xff" * length
    for at in range(0, length, piece):
        parser.feed(block[at : at + piece])
    assert parser.bad == ({"length": 1} if reason == "length" else {})
    assert len(parser._partial) <= codec.MAX_BLOCK
    parser.feed(b"\0")
    assert parser.bad == {reason: 1}
    whole = SerialParser()
    whole.feed(block + b"\0")
    assert (whole.bad, whole.n_bad, whole.ok) == ({reason: 1}, 1, 0)


def test_what_is_refused_says_why() -> None:
    assert str(FrameError("crc")) == "frame refused: crc"


@given(messages)
def test_a_message_is_a_value(message: Message) -> None:
    """Frozen, nothing can be added to it, and its fields are given by name."""
    assert not hasattr(message, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.seq = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        type(message)(1, 2, 3)  # type: ignore[call-arg,misc]


def test_a_status_is_empty_until_told_otherwise() -> None:
    status = Status(run=1, seq=0, t_us=0)
    assert (status.flags, status.supply_v, status.temp_c) == (0, None, None)
    body = codec.encode(status)[20:-4]
    unknown = (-32768).to_bytes(2, "little", signed=True)
    assert body == bytes(len(body) - 6) + unknown + bytes(4)


def test_the_first_unknown_state_and_fault_are_numbers() -> None:
    states, faults = len(codec.STATES), len(codec.FAULTS)
    last = Status(run=1, seq=0, t_us=0, state=states - 1, fault=faults - 1)
    assert (last.state_name, last.fault_name) == ("ESTOP", "internal")
    unknown = Status(run=1, seq=0, t_us=0, state=states, fault=faults)
    assert (unknown.state_name, unknown.fault_name) == (str(states), str(faults))


# --- what cannot be encoded ---


@pytest.mark.parametrize(
    "message",
    [
        Ping(run=1 << 32, seq=0, t_us=0, nonce=0),
        Ping(run=1, seq=-1, t_us=0, nonce=0),
        Ping(run=1, seq=0, t_us=0, nonce=0, flags=0x8000),
        CmdU16(run=1, seq=0, t_us=0, age_us=0, rate_hz=60, steps=(0,) * 29),
        CmdU16(run=1, seq=0, t_us=0, age_us=0, rate_hz=60, steps=(65536,) * 30),
        CmdF32(run=1, seq=0, t_us=0, age_us=0, rate_hz=60, demands=(math.nan,) * 30),
        CmdF32(run=1, seq=0, t_us=0, age_us=0, rate_hz=60, demands=(1e39,) * 30),
    ],
    ids=lambda m: f"{type(m).__name__}",
)
def test_what_does_not_fit_is_a_value_error(message: Message) -> None:
    with pytest.raises(ValueError, match=r"non-finite|flags|CmdU16|CmdF32|Ping"):
        codec.encode(message)


def with_body(message: Message, at: int, data: bytes) -> bytes:
    """A frame with some bytes replaced, under a good CRC."""
    frame = bytearray(codec.encode(message)[:-4])
    frame[at : at + len(data)] = data
    return bytes(frame) + struct.pack("<I", codec.crc32c(frame))


def test_greetings_of_another_layout_or_version_are_refused() -> None:
    hello = Hello(run=1, seq=0, t_us=0, nonce=5, rate_hz=60)
    assert reason_of(with_body(hello, 28, b"\0")) == "layout"
    ack = HelloAck(run=1, seq=0, t_us=0, nonce=5, challenge=0, hold_ms=1, neutral_ms=2, max_rate_hz=60)
    assert reason_of(with_body(ack, 36, b"\0")) == "layout"
    assert reason_of(with_body(ack, 40, b"\2")) == "version"


@pytest.mark.parametrize(
    ("message", "n_at", "layout_at"),
    [
        (CmdU16(run=1, seq=0, t_us=0, age_us=0, rate_hz=60, steps=(0,) * 30), 24, 26),
        (CmdF32(run=1, seq=0, t_us=0, age_us=0, rate_hz=60, demands=(0.0,) * 30), 24, 26),
        (Positions(run=1, seq=0, t_us=0, applied_seq=0, steps=(0,) * 30), 24, 26),
        (Hello(run=1, seq=0, t_us=0, nonce=5, rate_hz=60), 32, 28),
        (
            HelloAck(run=1, seq=0, t_us=0, nonce=5, challenge=0, hold_ms=1, neutral_ms=2, max_rate_hz=60),
            41,
            36,
        ),
    ],
    ids=lambda m: type(m).__name__ if isinstance(m, Message) else "",
)
def test_another_number_of_controls_and_another_layout_are_each_refused(
    message: Message, n_at: int, layout_at: int
) -> None:
    assert codec.encode(message)[n_at] == N_CONTROLS
    assert codec.encode(message)[layout_at : layout_at + 2] == codec.LAYOUT_ID.to_bytes(2, "little")
    assert reason_of(with_body(message, n_at, b"\x1d")) == "layout"
    assert reason_of(with_body(message, layout_at, b"\0\0")) == "layout"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("k", [0, 1, 29])
def test_a_demand_that_is_not_finite_is_refused(k: int, value: float) -> None:
    message = CmdF32(run=1, seq=0, t_us=0, age_us=0, rate_hz=60, demands=(0.0,) * 30)
    assert reason_of(with_body(message, 28 + 4 * k, struct.pack("<f", value))) == "nonfinite"


def test_status_says_what_it_knows_in_words() -> None:
    status = Status(run=1, seq=0, t_us=0, state=5, fault=4, supply_mv=24100, temp_centi_c=4150)
    assert (status.state_name, status.fault_name, status.supply_v, status.temp_c) == (
        "FAULT",
        "overheat",
        24.1,
        41.5,
    )
    unknown = Status(run=1, seq=0, t_us=0, state=77, fault=99)
    assert (unknown.state_name, unknown.fault_name) == ("77", "99")
    assert (unknown.supply_v, unknown.temp_c) == (None, None)


def test_positions_have_both_units() -> None:
    positions = Positions(run=1, seq=0, t_us=0, applied_seq=9, steps=codec.quantise(to_robot(NEUTRAL)))
    np.testing.assert_allclose(positions.values, NEUTRAL, atol=1e-4)
    np.testing.assert_allclose(positions.robot_values, to_robot(NEUTRAL), atol=1e-3)


def test_a_key_does_not_show_its_secret_and_stays_what_it_is() -> None:
    assert repr(KEY) == "Key(key_id=7)"
    assert Key(b"k" * 32).key_id == 1
    assert not hasattr(KEY, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        KEY.key_id = 8  # type: ignore[misc]


# --- commands ---


def test_a_followed_expression_carries_its_capture_time_and_age() -> None:
    command = Command(9, 50_000_000, "FOLLOWING", Flag.CLAMPED, NEUTRAL, 4, 10_000_000, "single-stage")
    message = codec.decode(codec.encode_command(command, run=5, rate_hz=60, now_ns=51_250_000))
    assert isinstance(message, CmdU16)
    assert (message.run, message.seq, message.flags, message.rate_hz) == (5, 9, Flag.CLAMPED, 60)
    assert (message.t_us, message.age_us) == (10_000, 41_250)
    np.testing.assert_allclose(message.values, NEUTRAL, atol=1e-4)


@pytest.mark.parametrize("state", ["HOLDING", "RETURNING", "NEUTRAL"])
def test_a_pose_of_the_supervisors_own_is_as_old_as_the_command(state: Any) -> None:
    command = Command(9, 50_000_000, state, 0, NEUTRAL, 4, 10_000_000, "single-stage")
    message = codec.decode(codec.encode_command(command, run=5, seq=77, rate_hz=60, now_ns=49_000_000))
    assert isinstance(message, CmdU16)
    assert (message.seq, message.t_us, message.age_us) == (77, 50_000, 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_command_that_is_not_finite_is_never_encoded(value: float) -> None:
    values = NEUTRAL.copy()
    values[11] = value
    with pytest.raises(ValueError, match="non-finite"):
        codec.encode_command(Command(0, 0, "FOLLOWING", 0, values), run=1, rate_hz=60, now_ns=0)


def test_the_sequence_wraps_and_the_age_does_not() -> None:
    command = Command((7 << 32) + 5, 2_000_999, "NEUTRAL", 0, NEUTRAL)
    most = 0xFFFFFFFF
    for now_ns, age_us in ((2_002_998, 1), (2_000_999 + 1000 * most, most), (1 << 60, most)):
        message = codec.decode(codec.encode_command(command, run=5, rate_hz=60, now_ns=now_ns))
        assert isinstance(message, CmdU16)
        assert (message.seq, message.t_us, message.age_us) == (5, 2_000, age_us)


def test_a_followed_expression_without_a_capture_time_is_as_old_as_the_command() -> None:
    command = Command(9, 50_000_000, "FOLLOWING", 0, NEUTRAL)
    message = codec.message_of_command(command, run=5, seq=1, rate_hz=60, now_ns=50_000_000)
    assert (message.t_us, message.age_us) == (50_000, 0)
