"""Run a model file, in a separate process: freeze Keras models, and encode images.

Each call is one of ``CALLS``; its arguments and its result are encoded by their types
(``labeling.images.decoder_messages``).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from labeling.images import decoder_messages, process_limits
from labeling.images.decoder_messages import Failure, Outcome, Request
from labeling.images.request_loop import serve
from modeling.backends import timm_runner, user_model_runners
from modeling.backends.encoder import EncoderUnavailable
from modeling.backends.litert import PerCore
from modeling.backends.timm_runner import TimmModel, TimmRunner
from modeling.backends.user_model_runners import Input


@dataclass(frozen=True)
class Opened:
    """Describe a model that is ready to run; ``scaling_reason`` says why its pixels are scaled to ``preprocessing``."""

    input: Input
    dim: int
    is_sound: bool
    preprocessing: str
    scaling_reason: str
    library: str


class _Running:
    """Hold the model of this process."""

    input: Input
    runner: PerCore
    timm: TimmRunner


def freeze_file(path: Path, side: int) -> bytes:
    """Return a user's Keras model as a LiteRT file."""
    return user_model_runners.frozen_file(path, side)


def open_file(path: Path, graph: bytes, side: int, preprocessing: str) -> Opened:
    """Open a model file; ``graph`` is the frozen model of a Keras file. Guess its preprocessing unless it is given."""
    model = user_model_runners.open_model(path, graph, side)
    stated = (preprocessing, "as specified") if preprocessing else None
    scaling, reason = stated or user_model_runners.guess(path, model.input)
    runner = model.start(partial(user_model_runners.scaled, scaling, model.input.channels))
    _Running.input, _Running.runner = model.input, runner
    return Opened(model.input, runner.dim, runner.is_sound, scaling, reason, model.library)


def encode(pixels: bytes) -> bytes:
    """Encode uint8 (n, height, width, 3) as float32 (n, dim), both row by row."""
    images = np.frombuffer(pixels, np.uint8).reshape(-1, _Running.input.height, _Running.input.width, 3)
    return _Running.runner.run(images).astype("<f4", copy=False).tobytes()


def describe_timm(name: str) -> TimmModel:
    """Return what timm says about a model."""
    return timm_runner.describe(name)


def open_timm(name: str, file: str) -> int:
    """Open a model of timm with the weights in a file, and return the length of its vectors."""
    _Running.timm = timm_runner.TimmRunner(name, Path(file))
    return _Running.timm.dim


def encode_timm(pixels: bytes) -> bytes:
    """Encode uint8 (n, side, side, 3) as float32 (n, dim) by the model of timm, both row by row."""
    side = _Running.timm.side
    images = np.frombuffer(pixels, np.uint8).reshape(-1, side, side, 3)
    return _Running.timm.run(images).astype("<f4", copy=False).tobytes()


CALLS: dict[str, Callable[..., Any]] = {
    call.__name__: call for call in (freeze_file, open_file, encode, describe_timm, open_timm, encode_timm)
}


def answers(call: Callable[..., Any], request: Request) -> Iterator[list[Outcome[Any]]]:
    """Yield the outcome of a call."""
    try:
        yield [(msgspec.Raw(decoder_messages.encode(call(request.firsts[0], *request.rest))), None)]
    except EncoderUnavailable as error:
        yield [(None, Failure("problem", error.reason, hint=error.hint))]
    except Exception:  # noqa: BLE001 - libraries raise various errors; whoever asked reports them
        yield [(None, Failure("fault", traceback.format_exc()))]


def main() -> None:
    """Answer requests until the parent process closes the connection."""
    largest_file, memory = (int(megabytes) << 20 for megabytes in sys.argv[1:])
    process_limits.restrict(largest_file, memory)
    serve(CALLS, answers)


if __name__ == "__main__":
    main()
