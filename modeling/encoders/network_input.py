"""Prepare the input of a network: the image of an item, or several files as one input.

Imports no Django: the program shipped with a quick training opens files with this code.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from labeling.images.composite import side_by_side
from labeling.images.encoder_inputs import Pixels, decode_side, squash
from labeling.images.lupton_rgb import composite
from labeling.images.open_image import open_for_resizing
from labeling.images.problems import ImageProblem
from modeling.encoders.input_spec import InputSpec

_CHANNELS = 3
# Fills missing files, like the background of transparent pixels.
_GREY = 128
_AHEAD = 64


@dataclass(frozen=True)
class PreparedInput:
    """One input, uint8 (side, side, 3), or None. ``problem`` is why it is missing or incomplete, as text."""

    pixels: Pixels | None
    problem: str = ""


@dataclass(frozen=True)
class NetworkInput:
    """How the files of an item become one input. ``is_grey``: they are grayscale, so that each can be a channel."""

    spec: InputSpec = field(default_factory=InputSpec)
    is_grey: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Return the specification from the JSON of :meth:`as_params`."""
        return cls(InputSpec.from_params(params), params["is_grey"])

    def as_params(self) -> dict[str, Any]:
        """Return the specification as JSON."""
        return {**self.spec.as_params(), "is_grey": self.is_grey}

    @property
    def has_channels(self) -> bool:
        """Return whether each file is a channel: two or three grayscale files. Of two, the first is used twice."""
        return self.spec.has_parts and self.is_grey and len(self.spec.roles) <= _CHANNELS

    @property
    def note(self) -> str:
        """Describe the input if items have several files; "" otherwise."""
        roles = ", ".join(self.spec.roles)
        if not self.spec.roles:
            return ""
        if not self.spec.has_parts:
            return "It sees the color image of each item."
        if self.has_channels:
            return f"It sees {roles} as the channels of one image."
        return f"It sees {roles} side by side in one image."

    def prepare(self, files: Mapping[str, Path], side: int) -> PreparedInput:
        """Return one input of ``side`` pixels from the files of an item by role."""
        try:
            if not self.spec.roles:
                return PreparedInput(squash(self._open(next(iter(files.values())), side), side))
            if not self.spec.has_parts:
                return self._coloured(files, side)
            return self._joined(files, side)
        except ImageProblem as problem:
            return PreparedInput(None, problem.reason)

    def _coloured(self, files: Mapping[str, Path], side: int) -> PreparedInput:
        roles, composition = self.spec.roles, self.spec.composition
        image = composite(files, roles, composition, self.spec.rendering, 2 * side)
        missing = [role for role in dict.fromkeys(composition.bands_of(roles)) if role not in files]
        return PreparedInput(squash(image, side), _joined_problems(dict.fromkeys(missing, "missing")))

    def _joined(self, files: Mapping[str, Path], side: int) -> PreparedInput:
        across, down = (1, 1) if self.has_channels else side_by_side(len(self.spec.roles))
        parts, problems = self._parts(files, side // across, side // down)
        if not parts:
            return PreparedInput(None, _joined_problems(problems))
        return PreparedInput(
            self._channels(parts, side) if self.has_channels else self._beside(parts, side), _joined_problems(problems)
        )

    def _channels(self, parts: Mapping[str, Pixels], side: int) -> Pixels:
        roles = [*self.spec.roles, *self.spec.roles[:1] * _CHANNELS][:_CHANNELS]
        empty = np.full((side, side), _GREY, dtype=np.uint8)
        return np.stack([parts[role][..., 0] if role in parts else empty for role in roles], axis=-1)

    def _beside(self, parts: Mapping[str, Pixels], side: int) -> Pixels:
        across, _ = side_by_side(len(self.spec.roles))
        whole = np.full((side, side, 3), _GREY, dtype=np.uint8)
        for number, role in enumerate(self.spec.roles):
            if role in parts:
                height, width = parts[role].shape[:2]
                top, left = number // across * height, number % across * width
                whole[top : top + height, left : left + width] = parts[role]
        return whole

    def _parts(self, files: Mapping[str, Path], width: int, height: int) -> tuple[dict[str, Pixels], dict[str, str]]:
        """Return the readable frames, uint8 (height, width, 3), and the errors of the others, by role."""
        parts: dict[str, Pixels] = {}
        problems: dict[str, str] = {}
        for role in self.spec.roles:
            if role not in files:
                problems[role] = "missing"
                continue
            try:
                parts[role] = squash(self._open(files[role], max(width, height)), width, height)
            except ImageProblem as problem:
                problems[role] = problem.reason
        return parts, problems

    def _open(self, file: Path, side: int) -> Image.Image:
        return open_for_resizing(file, decode_side(side), self.spec.rendering)


def _joined_problems(problems: Mapping[str, str]) -> str:
    """Join the problems of frames, by role, into one line."""
    return "; ".join(f"{role}: {reason}" for role, reason in problems.items())


def inputs_of(items: Iterable[Mapping[str, Path]], side: int, network_input: NetworkInput) -> Iterator[PreparedInput]:
    """Yield the input of each item in order, from its files by role. Threads read ahead."""
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="decode")
    waiting: deque[Future[PreparedInput]] = deque()
    try:
        for files in items:
            waiting.append(pool.submit(network_input.prepare, files, side))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
