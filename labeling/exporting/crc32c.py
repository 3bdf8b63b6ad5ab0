"""Compute CRC-32C (Castagnoli) checksums of large byte strings with NumPy."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # reversed
_BLOCK = 2048


def crc32c(data: bytes) -> int:
    """Return the checksum.

    Notes
    -----
    A CRC is linear: that of a block is the XOR of one number per byte, looked up by the byte's value and its distance
    from the end. The state before a block is combined with its first four bytes. 2 MB of tables.
    """
    tables = _tables()
    content = np.frombuffer(data, np.uint8)
    state = np.uint32(0xFFFFFFFF)
    n_odd = len(content) % _BLOCK
    if n_odd:
        state = _advance(state, content[:n_odd], tables)
    for start in range(n_odd, len(content), _BLOCK):
        state = _advance(state, content[start : start + _BLOCK], tables)
    return int(state) ^ 0xFFFFFFFF


def _advance(state: np.uint32, block: NDArray[np.uint8], tables: NDArray[np.uint32]) -> np.uint32:
    if len(block) < 4:
        for byte in block.tolist():
            state = tables[-1][(int(state) ^ byte) & 0xFF] ^ (state >> np.uint32(8))
        return state
    mixed = block.copy()
    mixed[:4] ^= np.frombuffer(int(state).to_bytes(4, "little"), np.uint8)
    rows = tables[-len(block) :]
    return np.uint32(np.bitwise_xor.reduce(rows[np.arange(len(block)), mixed]))


@cache
def _tables() -> NDArray[np.uint32]:
    """Return the number of each byte (columns) by its distance from the end (rows, the last byte in the last row)."""
    tables = np.empty((_BLOCK, 256), np.uint32)
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & 1, (row >> 1) ^ np.uint32(_POLYNOMIAL), row >> 1)
    last = row
    for place in range(_BLOCK - 1, -1, -1):
        tables[place] = row
        row = last[row & 0xFF] ^ (row >> np.uint32(8))
    return tables
