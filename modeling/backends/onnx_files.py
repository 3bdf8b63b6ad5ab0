"""Check an ONNX file before onnxruntime opens it: its weights may name other files, which would be read."""

from __future__ import annotations

from collections.abc import Iterator

# The fields of each kind of message that contain messages, of which some lead to tensors (onnx.proto).
_FIELDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
# Fields of a tensor: the entries that name its file, and whether it has one.
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


def has_other_files(content: bytes) -> bool:
    """Return whether the weights of a model are in other files. Raises ValueError if the file is damaged."""
    waiting = [("model", memoryview(content))]
    while waiting:
        kind, message = waiting.pop()
        for number, value in _fields_of(message):
            if kind == "tensor" and number in (_EXTERNAL_DATA, _DATA_LOCATION) and value:
                return True
            if number in _FIELDS[kind] and isinstance(value, memoryview):
                waiting.append((_FIELDS[kind][number], value))
    return False


def _fields_of(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a protobuf message: their numbers, and integers or bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if tag >= 2**32:  # other readers keep the lower 32 bits, and so would see another field
            raise ValueError("a field has too large a number")
        kind = tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            length, place = _varint(message, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"field {tag >> 3} has the unknown type {kind}")
        if place + length > len(message):
            raise ValueError("it ends within a field")
        yield tag >> 3, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("it ends within a number, or a number is too long")
