"""Messages as frames: header, body, check sum, and a tag where a key is shared."""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from x2c_edge.controls import to_robot
from x2c_edge.frames import Command
from x2c_edge.links.codec.crc import crc32c
from x2c_edge.links.codec.messages import MESSAGES, VERSION, CmdU16, Hello, HelloAck, Message
from x2c_edge.links.codec.refusal import FrameError
from x2c_edge.links.codec.steps import quantise

AUTH_FLAG: Final = 0x8000
MAX_FRAME: Final = 172  # CMD_F32 with its authentication trailer

_HEADER: Final = struct.Struct("<BBHIIQ")
_CRC: Final = struct.Struct("<I")
_MIN_FRAME: Final = _HEADER.size + _CRC.size


@dataclass(frozen=True, slots=True)
class Key:
    """The shared secret of one host-robot pair: 32 bytes, and its number (for rotation)."""

    secret: bytes
    key_id: int = 1

    def __repr__(self) -> str:
        return f"Key(key_id={self.key_id})"  # the secret never reaches a log


_TAG_CONTEXT: Final = b"x2c-link-v1\0"
_TAG_SIZE: Final = 16
_TRAILER_SIZE: Final = 4 + _TAG_SIZE


def _tag(key: Key, kind: int, challenge: int, signed: bytes) -> bytes:
    # Greetings come before the challenge is known; the direction keeps a frame from being reflected.
    greeting = kind in (Hello.TYPE, HelloAck.TYPE)
    context = struct.pack("<BQ", kind >> 7, 0 if greeting else challenge)
    return hmac.digest(key.secret, _TAG_CONTEXT + context + signed, "sha256")[:_TAG_SIZE]


def _head_and_body(message: Message, extra_flags: int) -> bytes:
    if message.flags & ~0xFF:
        raise ValueError(f"flags: {message.flags:#06x} has bits outside 0x00ff")
    try:
        header = _HEADER.pack(
            VERSION, message.TYPE, message.flags | extra_flags, message.run, message.seq, message.t_us
        )
        return header + message.BODY.pack(*message.to_body())
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{type(message).__name__}: {error}") from error


def encode(message: Message) -> bytes:
    """The frame of ``message``, without delimiters and without authentication."""
    data = _head_and_body(message, 0)
    return data + _CRC.pack(crc32c(data))


def encode_authenticated(message: Message, key: Key, challenge: int) -> bytes:
    """The frame with the AUTH flag and a tag. ``challenge`` is ignored for Hello and HelloAck."""
    data = _head_and_body(message, AUTH_FLAG) + struct.pack("<I", key.key_id)
    data += _tag(key, message.TYPE, challenge, data)
    return data + _CRC.pack(crc32c(data))


def decode(frame: bytes) -> Message:
    """The message in an unauthenticated frame. FrameError: see ``Reason``; AUTH counts as flags."""
    return _decode(frame, None, 0)


def decode_authenticated(frame: bytes, key: Key, challenge: int) -> Message:
    """The message in a frame that must carry a good tag; anything else is FrameError("auth")."""
    return _decode(frame, key, challenge)


def _decode(frame: bytes, key: Key | None, challenge: int) -> Message:
    if not _MIN_FRAME <= len(frame) <= MAX_FRAME:
        raise FrameError("length")
    if crc32c(frame[:-4]) != int.from_bytes(frame[-4:], "little"):
        raise FrameError("crc")
    version, type_code, flags, run, seq, t_us = _HEADER.unpack_from(frame)
    if version != VERSION:
        raise FrameError("version")
    if flags & 0xFF00 & ~(AUTH_FLAG if key else 0):
        raise FrameError("flags")
    if key and not flags & AUTH_FLAG:
        raise FrameError("auth")
    kind = MESSAGES.get(type_code)
    if kind is None:
        raise FrameError("type")
    body_end = _HEADER.size + kind.BODY.size
    signed_end = body_end + 4
    if len(frame) != body_end + 4 + (_TRAILER_SIZE if key else 0):
        raise FrameError("length")
    if key:
        trailer_ok = frame[body_end:signed_end] == struct.pack("<I", key.key_id)
        tag = _tag(key, type_code, challenge, frame[:signed_end])
        if not (hmac.compare_digest(tag, frame[signed_end:-4]) and trailer_ok):
            raise FrameError("auth")
    fields = kind.fields_of(kind.BODY.unpack_from(frame, _HEADER.size))
    return kind(run=run, seq=seq, t_us=t_us, flags=flags & 0xFF, **fields)


def message_of_command(command: Command, *, run: int, seq: int, rate_hz: int, now_ns: int) -> CmdU16:
    """The CMD_U16 message of one command. ``now_ns``: when it is handed to the port.

    t_us is the capture time of the expression that is followed. In every other state the pose is the
    supervisor's own, made when the command was, so t_us is its send time: otherwise a receiver would
    count a deliberate hold or return as late data. ValueError for a value that is not finite.
    """
    if not np.isfinite(command.values).all():
        raise ValueError("a non-finite value is never encoded")
    t_ns = command.t_capture_ns if command.state == "FOLLOWING" else None
    if t_ns is None:
        t_ns = command.t_send_ns
    return CmdU16(
        run=run,
        seq=seq & 0xFFFFFFFF,
        t_us=t_ns // 1000,
        flags=command.flags,
        age_us=min(max(now_ns - t_ns, 0) // 1000, 0xFFFFFFFF),
        rate_hz=rate_hz,
        steps=quantise(to_robot(command.values)),
    )


def encode_command(command: Command, *, run: int, rate_hz: int, now_ns: int, seq: int | None = None) -> bytes:
    """The CMD_U16 frame of one command; ``seq`` is the link's own count, by default the command's."""
    wire_seq = command.seq if seq is None else seq
    return encode(message_of_command(command, run=run, seq=wire_seq, rate_hz=rate_hz, now_ns=now_ns))
