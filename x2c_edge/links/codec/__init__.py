"""The frame codec of the serial and UDP links: bytes <-> messages. Pure; no clocks, no I/O.

Format: docs/spec/links.md sections 2.4 (quantisation), 3 (frames), 4 (COBS on serial) and
5.2 (authentication). Everything is little-endian: ``header | body | [trailer] | crc32c``.

Bytes that are wrong in any way raise :class:`FrameError`; a message that cannot be encoded (a
non-finite value, a field too large) raises ``ValueError``. Nothing else escapes.
"""

from x2c_edge.links.codec.cobs import cobs_decode, cobs_encode
from x2c_edge.links.codec.crc import crc32c
from x2c_edge.links.codec.framing import (
    AUTH_FLAG,
    MAX_FRAME,
    Key,
    decode,
    decode_authenticated,
    encode,
    encode_authenticated,
    encode_command,
    message_of_command,
)
from x2c_edge.links.codec.messages import (
    FAULT_FOREIGN_RUN,
    FAULTS,
    STATES,
    VERSION,
    CmdF32,
    CmdU16,
    Hello,
    HelloAck,
    Message,
    Ping,
    Pong,
    Positions,
    Status,
)
from x2c_edge.links.codec.parser import MAX_BLOCK, SerialParser, to_serial
from x2c_edge.links.codec.refusal import REASONS, FrameError, Reason
from x2c_edge.links.codec.steps import (
    ABSENT,
    LAYOUT_CRC,
    LAYOUT_ID,
    LAYOUT_TEXT,
    STEPS,
    dequantise,
    quantise,
)

__all__ = [
    "ABSENT",
    "AUTH_FLAG",
    "FAULTS",
    "FAULT_FOREIGN_RUN",
    "LAYOUT_CRC",
    "LAYOUT_ID",
    "LAYOUT_TEXT",
    "MAX_BLOCK",
    "MAX_FRAME",
    "REASONS",
    "STATES",
    "STEPS",
    "VERSION",
    "CmdF32",
    "CmdU16",
    "FrameError",
    "Hello",
    "HelloAck",
    "Key",
    "Message",
    "Ping",
    "Pong",
    "Positions",
    "Reason",
    "SerialParser",
    "Status",
    "cobs_decode",
    "cobs_encode",
    "crc32c",
    "decode",
    "decode_authenticated",
    "dequantise",
    "encode",
    "encode_authenticated",
    "encode_command",
    "message_of_command",
    "quantise",
    "to_serial",
]
