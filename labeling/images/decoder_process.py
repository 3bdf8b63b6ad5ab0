"""Run a decoder: read requests, respond to them, and end with the process that started it.

Each call is one of ``CALLS``; its arguments and its result are encoded by their types (``decoder_messages``). Nothing
here imports Django, so that a decoder starts in a fifth of a second and needs little memory.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from labeling.images import open_image, process_limits
from labeling.images.browser_formats import format_for_browsers
from labeling.images.composite import Composition
from labeling.images.crops import crops
from labeling.images.decoder_messages import Failure, Outcome, Request, encode
from labeling.images.file_check import examine
from labeling.images.file_headers import header_of, values_of
from labeling.images.lupton_rgb import composite
from labeling.images.pixel_scale import scale_in
from labeling.images.pixel_values import values_in
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.images.request_loop import serve
from labeling.images.sky_coordinates import sky_in
from labeling.images.thumbnails import encoded, render, thumbnail

# Seconds that the result for one file waits for those of the next.
_MOMENT = 0.02


def colour(
    files: dict[str, Path], roles: list[str], composition: Composition, size: int, rendering: Rendering
) -> tuple[bytes, str]:
    """Return the color image of an item's bands, and its suffix."""
    return encoded(composite(files, roles, composition, rendering, size), size)


def sky(path: Path, rendering: Rendering) -> dict[str, Any] | None:
    """Return a grid of sky coordinates, or None."""
    grid = sky_in(path, rendering)
    return None if grid is None else grid.as_params()


def scale(path: Path, rendering: Rendering) -> dict[str, Any] | None:
    """Return the size of a pixel, or None."""
    found = scale_in(path, rendering)
    return None if found is None else found.as_params()


def values(path: Path, rendering: Rendering) -> bytes:
    """Return the unstretched pixel values as float32."""
    return values_in(path, rendering).astype("<f4").tobytes()


CALLS: dict[str, Callable[..., Any]] = {
    call.__name__: call
    for call in (
        examine,
        values_of,
        render,
        colour,
        format_for_browsers,
        header_of,
        scale,
        sky,
        values,
        thumbnail,
        crops,
    )
}


def answers(call: Callable[..., Any], request: Request) -> Iterator[list[Outcome[Any]]]:
    """Yield the outcomes of all calls made within a short time, because a message costs more than a small file."""
    batch: list[Outcome[Any]] = []
    began = time.monotonic()
    for first in request.firsts:
        batch.append(_outcome(call, first, *request.rest))
        if request.is_one_by_one or time.monotonic() - began > _MOMENT:
            yield batch
            batch, began = [], time.monotonic()
    if batch:
        yield batch


def _outcome(call: Callable[..., Any], *arguments: Any) -> Outcome[Any]:
    try:
        return msgspec.Raw(encode(call(*arguments))), None
    except ImageProblem as problem:
        return None, Failure("problem", _sound(problem.reason))
    except OSError as error:
        file = None if error.filename is None else Path(os.fsdecode(error.filename))
        return None, Failure("os", _sound(error.strerror or str(error)), error.errno or 0, file)
    except Exception:  # noqa: BLE001 - whoever asked raises it there, with this text
        return None, Failure("fault", _sound(traceback.format_exc()))


def _sound(text: str) -> str:
    """Return text that every Unicode encoding accepts: file names may contain lone surrogates."""
    return text.encode(errors="backslashreplace").decode()


def main() -> None:
    """Answer requests until the parent process closes the connection."""
    process_limits.restrict()
    if len(sys.argv) > 1:
        open_image.take_turns_at(Path(sys.argv[1]))
    serve(CALLS, answers)


if __name__ == "__main__":
    main()
