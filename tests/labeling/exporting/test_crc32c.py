"""Test checksums and records of TFRecord files against published values."""

import numpy as np
import pytest

from labeling.exporting.crc32c import crc32c
from labeling.exporting.layouts.tf_record import example, framed


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        # RFC 3720, B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
        (b"a", 0xC1D04330),
    ],
)
def test_published_checksums(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


@pytest.mark.parametrize("n", [1, 3, 4, 2047, 2048, 2049, 2051, 4096, 10_001])
def test_long_data_equals_the_computation_bit_by_bit(n: int) -> None:
    data = np.random.default_rng(n).integers(0, 256, n, np.uint8).tobytes()
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    assert crc32c(data) == state ^ 0xFFFFFFFF


def test_a_record_has_its_length_before_it_and_checksums() -> None:
    record = example({"a": b"x", "n": 300})
    # Feature "a" with a list of bytes, feature "n" with a packed list of whole numbers.
    assert (
        record == b"\x0a\x19\x0a\x0a\x0a\x01a\x12\x05\x0a\x03\x0a\x01x\x0a\x0b\x0a\x01n\x12\x06\x1a\x04\x0a\x02\xac\x02"
    )
    framed_record = framed(record)
    assert framed_record[:8] == len(record).to_bytes(8, "little")
    assert framed_record[12:-4] == record
