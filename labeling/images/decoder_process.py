"""What a decoder does: reads a request a line, answers it with lines of JSON, and ends with whoever started it.

Nothing here knows Django, so that a decoder starts in a fifth of a second and holds little.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from labeling.images import browser_formats, open_image, thumbnails
from labeling.images.composite import Composition
from labeling.images.file_check import Keep, examine
from labeling.images.file_headers import header_of, values_of
from labeling.images.lupton_rgb import composite
from labeling.images.pixel_values import values_in
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.images.sky_coordinates import sky_in
from labeling.images.thumbnails import Cache

Answer = tuple[dict[str, Any], bytes]

# Seconds that an answer about one file waits for those about the next.
_MOMENT = 0.02


def examined(
    paths: list[str], rendering: dict[str, Any], keep: dict[str, Any], is_one_by_one: bool
) -> Iterator[Answer]:
    """What each file holds, in turn."""
    way, kept = Rendering.from_params(rendering), Keep.from_params(keep)
    return _each(paths, lambda path: (examine(path, way, kept).as_params(), b""), is_one_by_one)


def card_values(paths: list[str], rendering: dict[str, Any], names: list[str], is_one_by_one: bool) -> Iterator[Answer]:
    """The values of some cards of each file's headers, in turn."""
    way = Rendering.from_params(rendering)
    return _each(paths, lambda path: ({"values": values_of(path, names, way)}, b""), is_one_by_one)


def _each(paths: list[str], look: Callable[[str], Answer], is_one_by_one: bool) -> Iterator[Answer]:
    """As many files in an answer as were looked at in a moment, since an answer costs more than a small file does; or
    one by one, so that the one that is never answered is known."""
    told: list[dict[str, Any]] = []
    began = time.monotonic()
    for path in paths:
        told.append(_told(partial(look, path))[0])
        if is_one_by_one or time.monotonic() - began > _MOMENT:
            yield {"files": told}, b""
            told, began = [], time.monotonic()
    if told:
        yield {"files": told}, b""


def picture(path: str, size: int, rendering: dict[str, Any]) -> Iterator[Answer]:
    """The picture itself, behind its suffix."""

    def made() -> Answer:
        content, suffix = thumbnails.render(path, size, Rendering.from_params(rendering))
        return {"suffix": suffix}, content

    yield _told(made)


def colour(
    files: dict[str, str], roles: list[str], composition: dict[str, Any], size: int, rendering: dict[str, Any]
) -> Iterator[Answer]:
    """The colour image of an item's bands, behind its suffix."""

    def made() -> Answer:
        places = {role: Path(path) for role, path in files.items()}
        way = Rendering.from_params(rendering)
        image = composite(places, roles, Composition.from_params(composition), way, size)
        content, suffix = thumbnails.encoded(image, size)
        return {"suffix": suffix}, content

    yield _told(made)


def format_for_browsers(path: str, rendering: dict[str, Any]) -> Iterator[Answer]:
    """The format in which browsers show the file as it is shown here, or nothing."""
    yield _told(lambda: ({"format": browser_formats.format_for_browsers(path, Rendering.from_params(rendering))}, b""))


def header(path: str, rendering: dict[str, Any], with_sky: bool) -> Iterator[Answer]:
    """Return the cards of a file, and its place in the sky."""
    way = Rendering.from_params(rendering)
    yield _told(lambda: (header_of(path, way, with_sky=with_sky).as_params(), b""))


def sky(path: str, rendering: dict[str, Any]) -> Iterator[Answer]:
    """A grid of places in the sky, or none."""

    def made() -> Answer:
        grid = sky_in(path, Rendering.from_params(rendering))
        return {"sky": None if grid is None else grid.as_params()}, b""

    yield _told(made)


def values(path: str, rendering: dict[str, Any]) -> Iterator[Answer]:
    """The pixels' own values as float32."""
    yield _told(lambda: ({}, values_in(path, Rendering.from_params(rendering)).astype("<f4").tobytes()))


def thumbnail(path: str, sha256: str, size: int, cache: dict[str, Any], rendering: dict[str, Any]) -> Iterator[Answer]:
    """Where the picture is kept now."""

    def made() -> Answer:
        place = thumbnails.thumbnail(path, sha256, size, Cache.from_params(cache), Rendering.from_params(rendering))
        return {"place": str(place)}, b""

    yield _told(made)


CALLS: dict[str, Callable[..., Iterator[Answer]]] = {
    "examined": examined,
    "card_values": card_values,
    "format_for_browsers": format_for_browsers,
    "header": header,
    "picture": picture,
    "colour": colour,
    "sky": sky,
    "values": values,
    "thumbnail": thumbnail,
}


def _told(work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except ImageProblem as problem:
        return {"problem": problem.reason}, b""
    except OSError as error:
        return {"errno": error.errno or 0, "error": error.strerror or str(error), "file": error.filename}, b""
    except Exception:  # noqa: BLE001 - whoever asked raises it there, with this text
        return {"fault": traceback.format_exc()}, b""


def main() -> None:
    # What libraries print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if len(sys.argv) > 1:
        open_image.take_turns_at(Path(sys.argv[1]))
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    while True:
        asked = json.loads(requests.get())
        for words, content in CALLS[asked.pop("call")](**asked):
            answers.write(json.dumps(words | {"bytes": len(content)}).encode() + b"\n" + content)
            answers.flush()


def _listen(stream: BinaryIO, requests: queue.SimpleQueue[bytes]) -> None:
    """In a thread of its own, so that a decoder ends at once when nobody is left to answer, whatever it is at."""
    for line in stream:
        requests.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
