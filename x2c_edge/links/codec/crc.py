"""CRC-32C, the check sum of every frame."""

from __future__ import annotations

from typing import Final


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32/ISCSI of ``data`` (0xE3069283 for b"123456789")."""
    table = _CRC_TABLE
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF
