"""MCAP files (https://mcap.dev): JSON messages in named channels; the one file that imports mcap.

A file is written in chunks that are each whole by themselves, and read from front to back, so that what a
killed process or a full disk left is good up to its last whole chunk.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from x2c_edge.errors import NotFoundError, nearest
from x2c_edge.locked import opened_alone

try:
    import lz4.frame  # type: ignore[import-untyped]
    import zstandard
    from mcap.data_stream import ReadDataStream
    from mcap.opcode import Opcode
    from mcap.records import Channel, Chunk, McapRecord, Metadata
    from mcap.records import Message as MessageRecord
    from mcap.writer import MCAP0_MAGIC, Writer
except ImportError:
    raise NotFoundError("mcap is not installed; run: pip install 'x2c-edge[record]'") from None

_HEAD: Final = struct.Struct("<BQ")  # opcode and length of every record
_CHUNK_BYTES: Final = 1 << 18  # before compression; what a full disk may tear
# Of one record, and of a chunk when it is unpacked. Ours have a quarter of a megabyte, other writers' a few.
_MOST_BYTES: Final = 64 << 20
_MOST_RECORDS: Final = 1 << 17  # in one chunk
_READ: Final = frozenset((Opcode.CHUNK, Opcode.CHANNEL, Opcode.MESSAGE, Opcode.METADATA))
_FACTS: Final = "x2c-edge"
_LAST_FACTS: Final = "x2c-edge end"


class McapWriter:
    """One file, being written. Not thread-safe. After an OSError only ``abandon`` makes sense."""

    def __init__(
        self, path: Path, topics: Mapping[str, tuple[str, dict[str, Any]]], facts: Mapping[str, str]
    ) -> None:
        """Create or overwrite the file. OSError when that is impossible.

        topics: name and JSON schema of the messages of every topic. facts: the metadata record "x2c-edge".
        """
        self._file = open(opened_alone(path), "wb")  # noqa: SIM115
        self._writer = Writer(self._file, chunk_size=_CHUNK_BYTES)
        try:
            self._writer.start(profile="x2c-edge")
            self._add_facts(_FACTS, facts)
            self._channels = {
                topic: self._writer.register_channel(
                    topic,
                    "json",
                    self._writer.register_schema(name, "jsonschema", json.dumps(schema).encode()),
                )
                for topic, (name, schema) in topics.items()
            }
            self.flush()
        except OSError:
            self.abandon()
            raise

    def add(self, topic: str, log_time_ns: int, message: dict[str, Any], sequence: int) -> None:
        """Add one message; JSON without NaN and infinities. log_time_ns: not negative."""
        data = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
        self._writer.add_message(self._channels[topic], log_time_ns, data, log_time_ns, sequence & 0xFFFFFFFF)

    def flush(self) -> None:
        """Finish the chunk and hand it to the system: it survives the process."""
        self._writer.flush()

    def finish(self, facts: Mapping[str, str]) -> None:
        """Write the metadata record "x2c-edge end" and the index, and close the file."""
        self.flush()
        self._add_facts(_LAST_FACTS, facts)
        self._writer.finish()
        self._file.flush()  # so that trouble comes while the file is open
        self._file.close()

    def abandon(self) -> None:
        """Close the file as it is, without writing what waits: readers stop after its last whole chunk."""
        self._file.raw.close()

    def _add_facts(self, name: str, facts: Mapping[str, str]) -> None:
        # Names of files may hold bytes that are no text.
        texts = {key: value.encode(errors="replace").decode() for key, value in facts.items()}
        self._writer.add_metadata(name, texts)


@dataclass(frozen=True, slots=True)
class Message:
    """log_time_ns: nanoseconds since the epoch, or of the recorded file's own clock."""

    topic: str
    log_time_ns: int
    data: bytes


class McapReader:
    """Reads a file once, from front to back, as far as it goes. NotFoundError for whatever is wrong with it.

    facts: the metadata "x2c-edge" met so far. topics: of the channels met so far. cut_short: the file ended
    in the middle (known at the end).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            what = "is not a file" if path.exists() else "no such file"
            raise NotFoundError(f"{path}: {what}{_neighbour(path)}; give a recording made with run --record")
        try:
            self._file = path.open("rb")
            self._size = os.fstat(self._file.fileno()).st_size
            self._finished = self._ends_with_magic()
        except OSError as error:
            raise NotFoundError(f"{path}: cannot be read ({error.strerror}); check the disk") from None
        if self._file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
            self._file.close()
            raise NotFoundError(f"{path}: is not an MCAP file; give a recording made with run --record")
        self.facts: dict[str, str] = {}
        self._channels: dict[int, Channel] = {}
        self.cut_short = False

    @property
    def topics(self) -> set[str]:
        return {channel.topic for channel in self._channels.values()}

    @property
    def progress(self) -> float:
        """0..1, how much of the file has been read."""
        return 1.0 if self._file.closed else self._file.tell() / max(self._size, 1)

    def messages(self) -> Iterator[Message]:
        """The JSON messages in the order of the file."""
        for opcode, content in self._records():
            at = self._file.tell() - len(content)
            records = _parsed(opcode, content)
            while True:
                try:
                    record = next(records, None)
                except Exception as error:  # of many kinds: damaged bytes are trouble of any sort
                    raise self._damaged(at, str(error) or type(error).__name__) from None
                if record is None:
                    break
                if isinstance(record, Metadata) and record.name == _FACTS:
                    self.facts = record.metadata
                elif isinstance(record, Channel):
                    self._channels[record.id] = record
                elif isinstance(record, MessageRecord):
                    channel = self._channels.get(record.channel_id)
                    if channel is None:
                        raise self._damaged(at, "a message without a channel")
                    if channel.message_encoding == "json":
                        yield Message(channel.topic, record.log_time, record.data)

    def close(self) -> None:
        self._file.close()

    def _records(self) -> Iterator[tuple[int, bytes]]:
        """Opcode and content of every whole record that matters, up to the end of the data."""
        while True:
            at = self._file.tell()
            head = self._read(_HEAD.size)
            opcode, length = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
            if opcode == Opcode.DATA_END:
                return
            if opcode == 0 or length > self._size - self._file.tell():
                # Nothing, a part of a record, or the zeros that a power cut leaves.
                if self._finished:
                    raise self._damaged(at, "a record without an end")
                self.cut_short = True
                return
            if opcode not in _READ:
                self._file.seek(length, os.SEEK_CUR)
            elif length > _MOST_BYTES:
                raise self._damaged(at, f"a record of {length} bytes; at most {_MOST_BYTES} are read")
            else:
                yield opcode, self._read(length)

    def _read(self, length: int) -> bytes:
        try:
            return self._file.read(length)
        except OSError as error:
            raise NotFoundError(f"{self._path}: cannot be read ({error.strerror}); check the disk") from None

    def _ends_with_magic(self) -> bool:
        """Whether the file was finished; what is wrong inside one that was is damage."""
        if self._size < 2 * len(MCAP0_MAGIC):
            return False
        self._file.seek(-len(MCAP0_MAGIC), os.SEEK_END)
        magic = self._file.read()
        self._file.seek(0)
        return magic == MCAP0_MAGIC

    def _damaged(self, at: int, why: str) -> NotFoundError:
        line = " ".join(why.split())[:120]
        return NotFoundError(f"{self._path}: damaged at byte {at} ({line}); use another copy")


def _parsed(opcode: int, content: bytes) -> Iterator[McapRecord]:
    """The records in a record: itself, or what a chunk holds. ValueError and others when it is damaged."""
    stream = ReadDataStream(BytesIO(content))
    if opcode == Opcode.CHUNK:
        yield from _in_chunk(_unpacked(Chunk.read(stream)))
    elif opcode == Opcode.CHANNEL:
        yield Channel.read(stream)
    elif opcode == Opcode.MESSAGE:
        yield MessageRecord.read(stream, len(content))
    else:
        yield Metadata.read(stream)


def _unpacked(chunk: Chunk) -> bytes:
    """The chunk's records as bytes: never more than ``_MOST_BYTES``, whatever it claims or is."""
    if chunk.uncompressed_size > _MOST_BYTES:
        raise ValueError(f"a chunk of {chunk.uncompressed_size} bytes; at most {_MOST_BYTES} are read")
    most = chunk.uncompressed_size + 1
    if chunk.compression == "zstd":
        unpacker = zstandard.ZstdDecompressor(max_window_size=_MOST_BYTES)
        with unpacker.stream_reader(BytesIO(chunk.data)) as reader:
            data = reader.read(most)
    elif chunk.compression == "lz4":
        data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=most)
    elif not chunk.compression:
        data = chunk.data
    else:
        raise ValueError(f"compression {chunk.compression[:20]!r} is not known")
    if len(data) != chunk.uncompressed_size:
        raise ValueError(f"a chunk is not of the {chunk.uncompressed_size} bytes that it claims")
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ValueError("a chunk's checksum is wrong")
    return bytes(data)


def _in_chunk(data: bytes) -> Iterator[McapRecord]:
    at, count = 0, 0
    while at < len(data):
        opcode, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        count += 1
        if length > len(data) - at or count > _MOST_RECORDS:
            raise ValueError("a record without an end" if count <= _MOST_RECORDS else "too many records")
        if opcode in (Opcode.CHANNEL, Opcode.MESSAGE):
            yield from _parsed(opcode, data[at : at + length])
        at += length


def _neighbour(path: Path) -> str:
    try:
        return nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""
