from __future__ import annotations

import io
import json
import re
import resource
import struct
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.reader import make_reader
from mcap.records import Chunk, DataEnd, Footer, Header
from mcap.writer import MCAP0_MAGIC, CompressionType, Writer

from tests.record.recordings import FACTS, smooth, write
from x2c_edge.errors import NotFoundError
from x2c_edge.record.mcap_file import McapReader, McapWriter, Message

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
TOPICS = {"/a": ("A", SCHEMA), "/b": ("B", SCHEMA)}


def numbers(path: Path) -> tuple[list[tuple[str, int, int]], McapReader]:
    reader = McapReader(path)
    found = [(m.topic, m.log_time_ns, json.loads(m.data)["n"]) for m in reader.messages()]
    reader.close()
    return found, reader


def outcome(path: Path) -> tuple[list[tuple[str, int, int]], str]:
    """What could be read, and the error that ended it."""
    found: list[tuple[str, int, int]] = []
    try:
        found.extend((m.topic, m.log_time_ns, json.loads(m.data)["n"]) for m in McapReader(path).messages())
    except NotFoundError as error:
        return found, str(error)
    return found, ""


def written(path: Path, count: int, *, flush_every: int = 10) -> list[tuple[str, int, int]]:
    writer = McapWriter(path, TOPICS, {"name": "x", "odd": "a\udcffb"})
    expected = []
    for k in range(count):
        topic = "/a" if k % 3 else "/b"
        writer.add(topic, 1000 * k, {"n": k}, k)
        expected.append((topic, 1000 * k, k))
        if k % flush_every == flush_every - 1:
            writer.flush()
    writer.finish({"end": "well"})
    return expected


def test_messages_come_back_in_order(tmp_path: Path):
    path = tmp_path / "a.mcap"
    expected = written(path, 57)
    found, reader = numbers(path)
    assert found == expected
    assert reader.facts == {"name": "x", "odd": "a?b"}
    assert reader.topics == {"/a", "/b"}
    assert not reader.cut_short


def test_other_readers_see_the_same(tmp_path: Path):
    path = tmp_path / "a.mcap"
    expected = written(path, 57)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        found = [(c.topic, m.log_time, json.loads(m.data)["n"]) for _, c, m in reader.iter_messages()]
        summary = reader.get_summary()
        metadata = {m.name: m.metadata for m in reader.iter_metadata()}
    assert found == expected
    assert {s.name: (s.encoding, json.loads(s.data)) for s in summary.schemas.values()} == {
        "A": ("jsonschema", SCHEMA),
        "B": ("jsonschema", SCHEMA),
    }
    assert metadata["x2c-edge end"] == {"end": "well"}


@pytest.mark.parametrize("compression", CompressionType)
@pytest.mark.parametrize("chunked", [True, False])
def test_files_of_other_writers_are_read(tmp_path: Path, compression: CompressionType, chunked: bool):
    path = tmp_path / "a.mcap"
    writer = Writer(str(path), compression=compression, use_chunking=chunked)
    writer.start()
    schema = writer.register_schema("A", "jsonschema", b"{}")
    channel = writer.register_channel("/a", "json", schema)
    other = writer.register_channel("/blob", "protobuf", schema)
    for k in range(20):
        writer.add_message(channel, k, json.dumps({"n": k}).encode(), k)
        writer.add_message(other, k, b"\xff\x00", k)
    writer.add_attachment(0, 0, "notes", "text/plain", b"x" * 100)
    writer.finish()
    found, reader = numbers(path)
    assert [n for _, _, n in found] == list(range(20))
    assert not reader.cut_short


def test_a_file_cut_anywhere_gives_what_was_whole(tmp_path: Path):
    whole = tmp_path / "whole.mcap"
    expected = written(whole, 57)
    data = whole.read_bytes()
    cut = tmp_path / "cut.mcap"
    longest = 0
    for size in (*range(8, 24), *range(24, len(data), 23)):
        cut.write_bytes(data[:size])
        found, reader = numbers(cut)
        assert found == expected[: len(found)]
        assert len(found) % 10 == 0 or len(found) == 57
        assert len(found) >= longest
        longest = len(found)
        assert reader.cut_short or found == expected
    assert longest == 57


def test_a_flush_is_all_that_a_killed_process_needs(tmp_path: Path):
    path = tmp_path / "a.mcap"
    writer = McapWriter(path, TOPICS, {})
    for k in range(25):
        writer.add("/a", k, {"n": k}, k)
        if k == 19:
            writer.flush()
    found, reader = numbers(path)
    assert [n for _, _, n in found] == list(range(20))
    assert reader.cut_short
    writer.abandon()
    assert numbers(path)[0] == found


def test_zeros_after_a_power_cut_are_an_end_too(tmp_path: Path):
    path = tmp_path / "a.mcap"
    written(path, 57)
    data = path.read_bytes()
    first = data.index(b"\x06")  # the first chunk, after the header and the metadata
    path.write_bytes(data[:first] + bytes(4096))
    assert numbers(path)[1].cut_short
    path.write_bytes(data[: first + 40] + bytes(4096))  # in the middle of it
    with pytest.raises(NotFoundError, match=r"damaged at byte \d+"):
        numbers(path)


def test_a_flipped_bit_is_found_or_harmless(tmp_path: Path):
    path = tmp_path / "a.mcap"
    expected = written(path, 57)
    data = path.read_bytes()
    refused = 0
    for at in range(8, len(data), 29):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        found, line = outcome(path)
        refused += bool(line)
        assert "\n" not in line
        assert found == expected[: len(found)]
    assert refused > 20


@pytest.mark.parametrize("content", [b"", b"\x89MCAP", b"hello, this is no recording", bytes(4096)])
def test_what_is_no_mcap_file_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    with pytest.raises(NotFoundError, match=r"x\.mcap: is not an MCAP file") as error:
        McapReader(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_names_its_neighbour_and_a_folder_is_none(tmp_path: Path):
    (tmp_path / "monday.mcap").touch()
    with pytest.raises(NotFoundError, match=r"no such file \(did you mean 'monday\.mcap'\?\)"):
        McapReader(tmp_path / "mondy.mcap")
    with pytest.raises(NotFoundError, match="is not a file"):
        McapReader(tmp_path)


def test_a_message_without_a_channel_is_damage(tmp_path: Path):
    path = tmp_path / "a.mcap"
    writer = Writer(str(path))
    writer.start()
    writer.add_message(9, 0, b"{}", 0)
    writer.finish()
    with pytest.raises(NotFoundError, match="without a channel"):
        numbers(path)


def test_abandon_leaves_what_was_whole(tmp_path: Path):
    path = tmp_path / "a.mcap"
    writer = McapWriter(path, TOPICS, {})
    for k in range(2):
        writer.add("/a", k, {"n": k}, k)
        if k == 0:
            writer.flush()
    writer.abandon()
    del writer
    with path.open("ab") as torn:
        torn.write(b"\x06half a chunk")
    found, reader = numbers(path)
    assert found == [("/a", 0, 0)]
    assert reader.cut_short


def test_the_recording_of_the_helper_is_sound(tmp_path: Path):
    path = write(tmp_path / "a.mcap", smooth(5))
    reader = McapReader(path)
    messages: list[Message] = list(reader.messages())
    assert [m.topic for m in messages] == ["/camera", "/expression"] * 5
    assert reader.facts == FACTS


def bomb(path: Path, compression: str, data: bytes, claimed: int) -> Path:
    """A finished file with one chunk that claims ``claimed`` bytes."""
    content = io.BytesIO()
    record = RecordBuilder()
    Header("", "").write(record)
    Chunk(compression, data, 0, 0, 0, claimed).write(record)
    DataEnd(0).write(record)
    Footer(0, 0, 0).write(record)
    content.write(MCAP0_MAGIC + record.end() + MCAP0_MAGIC)
    path.write_bytes(content.getvalue())
    return path


def zeros(compression: str, size: int) -> bytes:
    if compression == "zstd":
        packer = zstandard.ZstdCompressor().compressobj(size=size)
        pieces = [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
        return b"".join((*pieces, packer.flush()))
    with lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX4MB) as packer:
        pieces = [
            packer.begin(),
            *(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)),
            packer.flush(),
        ]
    return b"".join(pieces)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("honest", [True, False])
def test_a_chunk_that_unpacks_to_more_than_memory_is_one_line(tmp_path: Path, compression: str, honest: bool):
    """Whether it says so or not."""
    size = 1 << 30
    path = bomb(tmp_path / "bomb.mcap", compression, zeros(compression, size), size if honest else 1000)
    assert path.stat().st_size < size / 200
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, said = outcome(path)
    assert found == []
    assert re.search(r"damaged at byte \d+ \(a chunk .* bytes.*\); use another copy", said)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # kB


def test_a_chunk_of_endless_records_is_one_line(tmp_path: Path):
    record = struct.pack("<BQ", 0x80, 0)
    data = record * ((60 << 20) // len(record))
    path = bomb(tmp_path / "bomb.mcap", "zstd", zstandard.compress(data), len(data))
    assert "too many records" in outcome(path)[1]


def test_a_record_of_gigabytes_is_not_read(tmp_path: Path):
    path = tmp_path / "long.mcap"
    path.write_bytes(MCAP0_MAGIC + struct.pack("<BQ", 5, 3 << 30))
    with path.open("r+b") as file:
        file.truncate((3 << 30) + 100)  # a hole: nothing of it is on the disk
    assert "a record of 3221225472 bytes" in outcome(path)[1]


def test_what_does_not_matter_is_skipped_whatever_its_size(tmp_path: Path):
    path = tmp_path / "a.mcap"
    writer = Writer(str(path))
    writer.start()
    writer.add_attachment(0, 0, "film", "video/mp4", bytes(70 << 20))
    channel = writer.register_channel("/a", "json", writer.register_schema("A", "jsonschema", b"{}"))
    writer.add_message(channel, 1, b'{"n": 4}', 1)
    writer.finish()
    assert numbers(path)[0] == [("/a", 1, 4)]
