"""What a process and its decoders say to each other: messages of MessagePack, each behind its length.

Answers come from a process that opened untrusted files: they are read by their types, and nothing in them is code.
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


class Request(msgspec.Struct, frozen=True):
    """A call of a function of ``decoder_process``: with each of ``firsts`` in turn, and always with ``rest``.

    ``is_one_by_one``: answer each in a message of its own, so that the one that is never answered is known.
    """

    call: str
    firsts: list[Any]
    rest: tuple[Any, ...]
    is_one_by_one: bool = False


class Failure(msgspec.Struct, frozen=True):
    """Why a call has no result: a ``problem`` of the file, an ``os`` error, or a ``fault`` of ours (a traceback)."""

    kind: Literal["problem", "os", "fault"]
    message: str
    errno: int = 0
    file: Path | None = None


# One of the two is None, or both where a call returned None.
Outcome = tuple[Result | None, Failure | None]


def send(stream: IO[bytes], message: object) -> None:
    """Write one message."""
    content = encode(message)
    stream.write(_LENGTH.pack(len(content)) + content)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Return the next message as it is; None where the stream ends, also in the middle of one."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = stream.read(length)
    return content if len(content) == length else None


def encode(message: object) -> bytes:
    """Return a message as MessagePack."""
    return msgspec.msgpack.encode(message, enc_hook=_plain)


def decode_request(content: bytes, calls: dict[str, Callable[..., Any]]) -> tuple[Request, Callable[..., Any]]:
    """Return a request with the types that its function wants, and the function."""
    request = msgspec.msgpack.decode(content, type=Request)
    call = calls[request.call]
    firsts, rest = _argument_types(call)
    firsts = msgspec.convert(request.firsts, firsts, dec_hook=_path)
    return Request(
        request.call, firsts, msgspec.convert(request.rest, rest, dec_hook=_path), request.is_one_by_one
    ), call


@cache
def _argument_types(call: Callable[..., Any]) -> tuple[Any, Any]:
    """Return the types of a list of first arguments, and of a tuple of the others."""
    first, *rest = (kind for name, kind in get_type_hints(call).items() if name != "return")
    return list[first], tuple[tuple(rest)]  # type: ignore[valid-type, misc]


@cache
def outcomes_decoder(call: Callable[..., Result]) -> msgspec.msgpack.Decoder[list[Outcome[Result]]]:
    """Return what reads the outcomes of ``call``, with the type that it returns."""
    kind = get_type_hints(call)["return"]
    return msgspec.msgpack.Decoder(list[tuple[kind | None, Failure | None]], dec_hook=_path)  # type: ignore[valid-type]


def _plain(value: Any) -> bytes:
    if isinstance(value, PurePath):
        return os.fsencode(value)  # names of files are bytes, not always text
    raise TypeError(f"{type(value)} is no part of a message.")


def _path(kind: type, value: Any) -> Any:
    return kind(os.fsdecode(value))
