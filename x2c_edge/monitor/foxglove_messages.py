"""What a run tells its Foxglove server: first the topics, then messages on them."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final

Topic = tuple[str, str, dict[str, Any]]  # its name, its schema's name, the JSON schema

LONGEST_MESSAGE: Final = 400_000
_HEAD: Final = struct.Struct("<Bq")


def hello(topics: Sequence[Topic]) -> bytes:
    """The first message."""
    return json.dumps(topics).encode()


def topics_of(data: bytes) -> list[Topic]:
    """The opposite of ``hello``."""
    return [(name, schema_name, schema) for name, schema_name, schema in json.loads(data)]


def message(place: int, log_time_ns: int, content: dict[str, Any]) -> bytes:
    """One message. place: the topic's among those of ``hello``. content: without NaN and infinities."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return _HEAD.pack(place, log_time_ns) + text.encode()


def message_of(data: bytes) -> tuple[int, int, bytes]:
    """Place, log time and JSON of a ``message``."""
    place, log_time_ns = _HEAD.unpack_from(data)
    return place, log_time_ns, data[_HEAD.size :]
