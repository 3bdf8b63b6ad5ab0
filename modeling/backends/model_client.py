"""Have model files run by separate processes, with limits on time and memory and without a network."""

from __future__ import annotations

import logging
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple, cast

from django.conf import settings

from hoshina.core.processes import module_command, module_environment
from labeling.images.decoder_messages import Failure, Request, outcomes_decoder
from labeling.images.watched_process import ProcessCrashed, ProcessStopped, WatchedProcess
from modeling.backends.encoder import EncoderUnavailable

log = logging.getLogger(__name__)

# Megabytes of a file that TensorFlow writes while it freezes a model; LiteRT files have at most 2 GB.
_FREEZING = 2048

First = TypeVar("First")
Result = TypeVar("Result")
Rest = TypeVarTuple("Rest")


class ModelProcess:
    """Run one model in a process, named ``title`` in messages. The process ends with this object. Thread-safe.

    It may write files of at most ``largest_file`` MB, for which it has an empty folder of its own.
    """

    def __init__(self, title: str, *, largest_file: int = 0) -> None:
        self._title = title
        self._lock = threading.Lock()
        folder = tempfile.TemporaryDirectory(prefix="hoshina-model-", ignore_cleanup_errors=True)
        self._process = WatchedProcess(
            module_command("modeling.backends.model_process", str(largest_file), str(settings.MODEL_MEGABYTES)),
            module_environment() | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder.name),
            seconds=settings.MODEL_SECONDS,
            megabytes=settings.MODEL_MEGABYTES,
            folder=Path(folder.name),
        )
        self.end = weakref.finalize(self, _end, self._process, folder)

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive

    def ask(self, call: Callable[[First, *Rest], Result], first: First, *rest: *Rest) -> Result:
        """Return the result of ``call``, one of ``model_process.CALLS``.

        Raises
        ------
        EncoderUnavailable
            If the model cannot be used. The process has ended if it exceeded a limit or crashed.
        """
        with self._lock:
            self._process.send(Request(call.__name__, [first], rest))
            try:
                message = self._process.receive()
            except ProcessStopped as stopped:
                raise EncoderUnavailable(
                    f"{self._title} took {stopped}, so it was stopped",
                    "Use a smaller model, or raise AL_MODEL_SECONDS or AL_MODEL_MB.",
                ) from stopped
            except ProcessCrashed as crashed:
                raise EncoderUnavailable(
                    f"The process that ran {self._title} crashed ({crashed})",
                    f"The file is damaged or malicious, or it needs more than {settings.MODEL_MEGABYTES:,} MB of "
                    "memory (AL_MODEL_MB).",
                ) from crashed
        result, failure = outcomes_decoder(call).decode(message)[0]
        if failure is not None:
            raise self._error(failure)
        return cast(Result, result)

    def _error(self, failure: Failure) -> EncoderUnavailable:
        if failure.kind == "problem":
            return EncoderUnavailable(failure.message, failure.hint)
        log.warning("%s could not be run: %s", self._title, failure.message)
        last = failure.message.strip().rpartition("\n")[2][:160]
        return EncoderUnavailable(f"{self._title} could not be run ({last})", "Check that the file is complete.")


def _end(process: WatchedProcess, folder: tempfile.TemporaryDirectory[str]) -> None:
    process.end()
    folder.cleanup()


def freeze(title: str, call: Callable[[First, *Rest], bytes], first: First, *rest: *Rest) -> bytes:
    """Return the LiteRT file that ``call`` makes in a process that ends afterwards: TensorFlow needs 800 MB."""
    process = ModelProcess(title, largest_file=_FREEZING)
    try:
        return process.ask(call, first, *rest)
    finally:
        process.end()
