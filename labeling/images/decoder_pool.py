"""Open untrusted files in separate processes, so that a crash, an endless loop or a memory leak harms nothing else.

A few decoders (``labeling.images.decoder_process``) start when they are first needed, take requests in turn, and are
replaced when they fail.
"""

from __future__ import annotations

import atexit
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, cast

from django.conf import settings

from hoshina.core.processes import module_command, module_environment
from labeling.images import browser_formats, decoder_process
from labeling.images.composite import Composition
from labeling.images.crops import Box, crops
from labeling.images.decoder_messages import Failure, Outcome, Request, outcomes_decoder
from labeling.images.encoder_inputs import Squares
from labeling.images.file_check import NOTHING, Examined, Keep, examine
from labeling.images.file_headers import Header, header_of, values_of
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.images.thumbnails import Cache, render, thumbnail
from labeling.images.watched_process import ProcessCrashed, ProcessStopped, WatchedProcess

# Number of files whose headers are requested from one decoder at once.
_SLICE = 50

First = TypeVar("First")
Result = TypeVar("Result")
Rest = TypeVarTuple("Rest")


class DecoderFault(RuntimeError):
    """A decoder failed because of a bug, not because of the file; the message is its traceback."""


class _Failed(ImageProblem):
    """A decoder was stopped because it took too long or too much memory; the message is about the file."""


class _Crashed(_Failed):
    """A decoder ended unexpectedly. It may have been killed, so the file is tried once more, alone."""


class Decoders:
    """Processes that open files for this one. Thread-safe.

    Parameters
    ----------
    n : largest number of processes.
    seconds, megabytes : limits for one file; a decoder that exceeds them is stopped.
    """

    def __init__(self, n: int, *, seconds: float, megabytes: int) -> None:
        self._n, self._seconds, self._megabytes = n, seconds, megabytes
        self._idle: list[_Decoder] = []
        self._n_busy = 0
        # The threads that wait for a decoder, in the order of their requests.
        self._urgent: deque[object] = deque()
        self._ahead: deque[object] = deque()
        self._changed = threading.Condition()

    def examined(
        self, files: Sequence[str | Path], rendering: Rendering, keep: Keep = NOTHING
    ) -> Iterator[Examined | ImageProblem]:
        """Yield the properties of each file, or its problem, in order; ``keep`` is what to cache."""
        return self._each(examine, files, rendering, keep)

    def card_values(
        self, files: Sequence[str | Path], names: Sequence[str], rendering: Rendering
    ) -> Generator[list[str] | ImageProblem, None, None]:
        """Yield the cards of each file (``values_of``) or its problem, in order. All decoders read at once."""
        slices = [files[start : start + _SLICE] for start in range(0, len(files), _SLICE)]

        def ask(some: Sequence[str | Path]) -> list[list[str] | ImageProblem]:
            return list(self._each(values_of, some, list(names), rendering))

        with ThreadPoolExecutor(self._n, thread_name_prefix="cards") as pool:
            try:
                for answers in pool.map(ask, slices):
                    yield from answers
            finally:
                pool.shutdown(cancel_futures=True)

    def _each(
        self, call: Callable[[Path, *Rest], Result], files: Sequence[str | Path], *rest: *Rest
    ) -> Iterator[Result | ImageProblem]:
        """Yield one decoder's result for each file, in order."""
        left = deque(Path(file) for file in files)
        is_one_by_one = has_crashed = False
        while left:
            with self._one() as decoder:
                try:
                    decoder.ask(Request(call.__name__, list(left), rest, is_one_by_one))
                    while left:
                        for result, failure in decoder.answers(call):
                            left.popleft()
                            has_crashed = False
                            yield cast(Result, result) if failure is None else _problem(failure)
                except _Failed as failed:
                    # The files after it are requested again from a new decoder; so is a file that may not be the cause.
                    is_culprit = is_one_by_one or len(left) == 1
                    has_crashed = isinstance(failed, _Crashed) and not (is_culprit and has_crashed)
                    is_one_by_one = True
                    if is_culprit and not has_crashed:
                        left.popleft()
                        yield failed

    def picture(self, file: Path, size: int, rendering: Rendering) -> tuple[bytes, str]:
        """Return what :func:`labeling.images.thumbnails.render` does."""
        return self._ask(render, file, size, rendering)

    def colour(
        self, files: Mapping[str, Path], roles: Sequence[str], composition: Composition, size: int, rendering: Rendering
    ) -> tuple[bytes, str]:
        """Return :func:`labeling.images.lupton_rgb.composite` as bytes, and their suffix."""
        return self._ask(decoder_process.colour, dict(files), list(roles), composition, size, rendering)

    def crops(self, file: Path, boxes: list[Box], suffix: str, rendering: Rendering) -> list[bytes]:
        """Return what :func:`labeling.images.crops.crops` does."""
        return self._ask(crops, file, boxes, suffix, rendering)

    def format_for_browsers(self, file: Path, rendering: Rendering) -> str:
        """Return what :func:`labeling.images.browser_formats.format_for_browsers` does."""
        return self._ask(browser_formats.format_for_browsers, file, rendering)

    def header(self, file: Path, rendering: Rendering, *, with_sky: bool = True) -> Header:
        """Return what :func:`labeling.images.file_headers.header_of` does."""
        return self._ask(header_of, file, rendering, with_sky)

    def sky(self, file: Path, rendering: Rendering) -> dict[str, Any] | None:
        """Return :func:`labeling.images.sky_coordinates.sky_in`, for JSON."""
        return self._ask(decoder_process.sky, file, rendering)

    def scale(self, file: Path, rendering: Rendering) -> dict[str, Any] | None:
        """Return :func:`labeling.images.pixel_scale.scale_in`, for JSON."""
        return self._ask(decoder_process.scale, file, rendering)

    def values(self, file: Path, rendering: Rendering) -> bytes:
        """Return :func:`labeling.images.pixel_values.values_in`, float32, little endian, row by row."""
        return self._ask(decoder_process.values, file, rendering)

    def thumbnail(
        self, file: Path, sha256: str, size: int, cache: Cache, rendering: Rendering, *, is_ahead: bool = False
    ) -> Path:
        """Return what :func:`labeling.images.thumbnails.thumbnail` does; with ``is_ahead`` after other requests."""
        return self._ask(thumbnail, file, sha256, size, cache, rendering, is_ahead=is_ahead)

    def _ask(
        self, call: Callable[[First, *Rest], Result], first: First, *rest: *Rest, is_ahead: bool = False
    ) -> Result:
        """Have a decoder run ``call``, one of ``decoder_process.CALLS``; raise the error that it raised there."""
        request = Request(call.__name__, [first], rest)
        try:
            result, failure = self._ask_once(call, request, is_ahead)
        except _Crashed:
            result, failure = self._ask_once(call, request, is_ahead)
        if failure is not None:
            raise _error(failure)
        return cast(Result, result)

    def _ask_once(self, call: Callable[..., Result], request: Request, is_ahead: bool) -> Outcome[Result]:
        with self._one(is_ahead=is_ahead) as decoder:
            decoder.ask(request)
            return decoder.answers(call)[0]

    @contextmanager
    def _one(self, *, is_ahead: bool = False) -> Iterator[_Decoder]:
        """Reserve a decoder for this thread; prefetching leaves one free for requests that someone waits for."""
        with self._changed:
            me, waiting = object(), self._ahead if is_ahead else self._urgent
            waiting.append(me)
            try:
                self._changed.wait_for(lambda: waiting[0] is me and self._has_room(is_ahead))
            finally:
                waiting.remove(me)
                self._changed.notify_all()
            self._n_busy += 1
            decoder = self._idle.pop() if self._idle else None
        try:
            if decoder is not None and not decoder.is_alive:
                decoder.end()  # it was killed while idle
                decoder = None
            if decoder is None:
                decoder = _Decoder(self._seconds, self._megabytes)
            yield decoder
        finally:
            with self._changed:
                self._n_busy -= 1
                if decoder is not None and decoder.is_free:
                    self._idle.append(decoder)
                elif decoder is not None:
                    decoder.end()
                self._changed.notify_all()

    def _has_room(self, is_ahead: bool) -> bool:
        if is_ahead:
            return not self._urgent and self._n_busy < max(1, self._n - 1)
        return self._n_busy < self._n

    def end(self) -> None:
        """Stop the idle decoders."""
        with self._changed:
            idle, self._idle = self._idle, []
        for decoder in idle:
            decoder.end()


class _Decoder:
    """One process."""

    def __init__(self, seconds: float, megabytes: int) -> None:
        command = module_command("labeling.images.decoder_process", str(_turns()))
        self._process = WatchedProcess(command, module_environment(), seconds=seconds, megabytes=megabytes)
        self._n_open = 0

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive

    @property
    def is_free(self) -> bool:
        """Return whether the process is alive and has no pending response."""
        return self._n_open == 0 and self.is_alive

    def ask(self, request: Request) -> None:
        self._n_open = len(request.firsts)
        self._process.send(request)

    def answers(self, call: Callable[..., Result]) -> list[Outcome[Result]]:
        """Return the next outcomes of ``call``. Raises _Failed when none will come."""
        try:
            message = self._process.receive()
        except ProcessStopped as stopped:
            raise _Failed(f"Opening the file took {stopped}, so it was stopped.") from stopped
        except ProcessCrashed as crashed:
            raise _Crashed(
                f"The decoder crashed on this file ({crashed}): it is damaged in an unusual way, or malicious."
            ) from crashed
        outcomes = outcomes_decoder(call).decode(message)
        self._n_open -= len(outcomes)
        return outcomes

    def end(self) -> None:
        self._process.end()


def _problem(failure: Failure) -> ImageProblem:
    error = _error(failure)
    return error if isinstance(error, ImageProblem) else ImageProblem(f"The file cannot be read ({error}).")


def _error(failure: Failure) -> ImageProblem | OSError:
    if failure.kind == "fault":
        raise DecoderFault(failure.message)
    if failure.kind == "problem":
        return ImageProblem(failure.message)
    return OSError(failure.errno, failure.message, failure.file and str(failure.file))


def pictures() -> Cache:
    """Return the cache of rendered pictures."""
    return Cache(Path(settings.STORE_DIR) / "thumbs", settings.THUMBNAILS_MEGABYTES)


def squares(dataset_id: int, side: int, rendering: Rendering) -> Squares:
    """Return the dataset's cache of encoder inputs, kept from an ingest until embeddings are computed."""
    return Squares(_squares_folder(dataset_id), side, rendering)


def forget_squares(dataset_id: int) -> None:
    """Delete the dataset's cached encoder inputs."""
    shutil.rmtree(_squares_folder(dataset_id), ignore_errors=True)


def _squares_folder(dataset_id: int) -> Path:
    return Path(settings.STORE_DIR) / "squares" / str(dataset_id)


def _turns() -> Path:
    """Return the lock file with which the decoders of all processes open large images one at a time."""
    folder = Path(settings.STORE_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "large.lock"


@cache
def decoders() -> Decoders:
    """Return this process's decoders: one per core, at most eight."""
    made = Decoders(min(8, os.cpu_count() or 1), seconds=settings.DECODE_SECONDS, megabytes=settings.DECODE_MEGABYTES)
    atexit.register(made.end)
    return made
