"""Define the messages between a process and its decoders: MessagePack, preceded by its length.

Responses come from a process that opened untrusted files. They are decoded by type and contain no code.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePath
from typing import IO, Any, Literal, TypeVar, get_type_hints

import msgspec

Result = TypeVar("Result")
_LENGTH = struct.Struct("<Q")
# Bytes of a message. A process that a file has taken over could announce more than the reader's memory.
_LARGEST = 2**32


class Request(msgspec.Struct, frozen=True):
    """Calls of one of ``decoder_process.CALLS`` with each of ``firsts`` in turn, followed by ``rest``.

    ``is_one_by_one``: send each result in a separate message, so that a call without a result can be identified.
    """

    call: str
    firsts: list[Any]
    rest: tuple[Any, ...]
    is_one_by_one: bool = False


class Failure(msgspec.Struct, frozen=True):
    """Say why a call has no result: a ``problem`` of the file, an ``os`` error, or a ``fault`` (a traceback).

    ``hint`` says what to do about a problem.
    """

    kind: Literal["problem", "os", "fault"]
    message: str
    errno: int = 0
    file: Path | None = None
    hint: str = ""


# One of the two is None, or both if a call returned None.
Outcome = tuple[Result | None, Failure | None]


def send(stream: IO[bytes], message: object) -> None:
    """Write one message."""
    content = encode(message)
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Return the next encoded message; None if the stream ends, or the message is too large."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > _LARGEST:
        return None
    content = stream.read(length)
    return content if len(content) == length else None


def encode(message: object) -> bytes:
    """Return a message as MessagePack."""
    return msgspec.msgpack.encode(message, enc_hook=_plain)


def decode_request(content: bytes, calls: dict[str, Callable[..., Any]]) -> tuple[Request, Callable[..., Any]]:
    """Return a request with arguments of the types of its function, and the function."""
    request = msgspec.msgpack.decode(content, type=Request)
    call = calls[request.call]
    firsts, rest = _argument_types(call)
    firsts = msgspec.convert(request.firsts, firsts, dec_hook=_path)
    return Request(
        request.call, firsts, msgspec.convert(request.rest, rest, dec_hook=_path), request.is_one_by_one
    ), call


@cache
def _argument_types(call: Callable[..., Any]) -> tuple[Any, Any]:
    """Return the types of the list of first arguments and of the tuple of the others."""
    first, *rest = (kind for name, kind in get_type_hints(call).items() if name != "return")
    return list[first], tuple[tuple(rest)]  # type: ignore[valid-type, misc]


@cache
def outcomes_decoder(call: Callable[..., Result]) -> msgspec.msgpack.Decoder[list[Outcome[Result]]]:
    """Return the decoder for the outcomes of ``call``, which have its return type."""
    kind = get_type_hints(call)["return"]
    return msgspec.msgpack.Decoder(list[tuple[kind | None, Failure | None]], dec_hook=_path)  # type: ignore[valid-type]


def _plain(value: Any) -> bytes:
    if isinstance(value, PurePath):
        return os.fsencode(value)  # file names are bytes and not always valid text
    raise TypeError(f"A message can't contain {type(value)}.")


def _path(kind: type, value: Any) -> Any:
    return kind(os.fsdecode(value))
