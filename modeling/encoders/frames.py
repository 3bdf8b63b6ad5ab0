"""Encode the frames of items into one embedding each, if they are new or changed."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from labeling.images.encoder_inputs import Squares
from labeling.images.lupton_rgb import composite
from labeling.images.open_image import ImageProblem, open_for_resizing
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.revisions import picture_hash
from labeling.models import Dataset, Item, ItemQuerySet
from modeling import store
from modeling.backends import Encoder
from modeling.encoders.input_spec import InputSpec

# Batches that are computed at the same time: otherwise cores would wait for the last image of each.
_IN_FLIGHT = 2

# Receives the positions of items and their encoder inputs, uint8 (n, side, side, 3).
OnPixels = Callable[[Sequence[int], Sequence[npt.NDArray[np.uint8]]], None]
Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], list[tuple[Path, str]]]


@dataclass(frozen=True, slots=True)
class Pictured:
    """An item with at least one image.

    ``paths`` (relative to the dataset's folder) and ``hashes`` (of the content that is displayed) are by role;
    ``stamp`` identifies the content of all files and is never 0.
    """

    row: int
    stamp: int
    paths: dict[str, str]
    hashes: dict[str, str]


def pictured(dataset: Dataset, start: int, stop: int, spec: InputSpec) -> Iterator[Pictured]:
    """Yield the available items with rows in [start, stop), in a dataset of single images with their first frame."""
    return _pictured(Item.objects.of(dataset).filter(row__gte=start, row__lt=stop), spec)


def pictured_in(dataset: Dataset, rows: Sequence[int], spec: InputSpec) -> Iterator[Pictured]:
    """Yield the available items of at most some hundred ``rows``, as :func:`pictured` does."""
    return _pictured(Item.objects.of(dataset).filter(row__in=rows), spec)


def _pictured(items: ItemQuerySet, spec: InputSpec) -> Iterator[Pictured]:
    found = (
        items.available()
        .filter(frames__isnull=False)
        .order_by("row", "frames__id")
        .values_list("row", "frames__sha256", "frames__revision", "frames__path", "frames__role")
    )
    before = -1
    stamp = 0
    paths: dict[str, str] = {}
    hashes: dict[str, str] = {}
    for row, content, revision, path, role in found:
        sha256 = picture_hash(content, revision or 0)
        if row != before:
            if paths:
                yield Pictured(before, stamp or 1, paths, hashes)
            before, stamp, paths, hashes = row, 0, {}, {}
        if not spec.roles and not paths:
            stamp, paths, hashes = store.stamp_of(sha256), {role: path}, {role: sha256}
        elif role in spec.roles:
            stamp = (stamp + store.stamp_of(sha256) * _weight(role)) % 2**64
            paths[role], hashes[role] = path, sha256
    if paths:
        yield Pictured(before, stamp or 1, paths, hashes)


@lru_cache(maxsize=256)
def _weight(role: str) -> int:
    """Return an odd number for each role, so that swapping two files changes the stamp."""
    return int.from_bytes(hashlib.blake2b(role.encode(), digest_size=8).digest(), "big") | 1


# -- Encoding -----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Picture:
    """One image to encode. ``open`` takes the longer side that is sufficient.

    ``sha256`` is the hash of the file if the image is that of a single file.
    """

    path: Path
    open: Callable[[int], Image.Image]
    sha256: str = ""


def encode_items(
    encoder: Encoder,
    items: Sequence[Pictured],
    root: Path,
    spec: InputSpec,
    advance: Callable[[int], None],
    squares: Squares | None = None,
    on_pixels: OnPixels | None = None,
) -> Found:
    """Encode items: return embeddings float32 (n, width), which slots are empty (n, slots), and why files failed.

    The embeddings of frames are concatenated in the order of the roles, or averaged. A slot holds one frame: there
    is one per role if they are concatenated, otherwise one in all. The store decides what fills an empty slot.
    ``advance`` is called with the number of items. Files whose encoder input is in ``squares`` are not opened. Where
    each item is one picture, ``on_pixels`` receives all encoder inputs.
    """
    if not spec.has_parts:
        pictures = [_whole(item, root, spec) for item in items]
        found, readable, problems = _encode(encoder, pictures, advance, squares, on_pixels)
        return found, ~readable[:, None], problems
    owner = np.repeat(np.arange(len(items)), [len(item.paths) for item in items])
    slot = np.array([spec.roles.index(role) for item in items for role in item.paths], dtype=np.int64)
    files = [
        _file(root / path, spec.rendering, item.hashes[role]) for item in items for role, path in item.paths.items()
    ]
    found, readable, problems = _encode(encoder, files, _share(advance, len(items), len(files)), squares)
    return *joined(found[readable], owner[readable], slot[readable], len(items), spec), problems


def encode_pictures(
    encoder: Encoder, items: Sequence[Pictured], root: Path, spec: InputSpec, advance: Callable[[int], None]
) -> Found:
    """Encode one picture per item: the first frame, or the color image of all. Return as :func:`encode_items` does."""
    found, readable, problems = _encode(encoder, [_whole(item, root, spec) for item in items], advance)
    return found, ~readable[:, None], problems


def joined(
    vectors: npt.NDArray[np.float32], owner: npt.NDArray[np.int64], slot: npt.NDArray[np.int64], n: int, spec: InputSpec
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Join the embeddings of frames: return one per item, (n, width), and which slots are empty (n, slots).

    ``vectors`` float32 (m, dim); ``owner`` (m,) is the item and ``slot`` (m,) the role of each. Empty slots are zeros.
    """
    if spec.is_concatenated:
        beside = np.zeros((n, len(spec.roles), vectors.shape[1]), dtype=np.float32)
        missing = np.ones(beside.shape[:2], dtype=np.bool_)
        beside[owner, slot], missing[owner, slot] = vectors, False
        return beside.reshape(n, -1), missing
    counts = np.bincount(owner, minlength=n)
    means = np.zeros((n, vectors.shape[1]), dtype=np.float32)
    np.add.at(means, owner, vectors)
    means /= np.maximum(counts, 1)[:, None]
    return means, counts[:, None] == 0


def _whole(item: Pictured, root: Path, spec: InputSpec) -> _Picture:
    """Return an item as one image, the one that people see."""
    files = {role: root / path for role, path in item.paths.items()}
    first = next(iter(files.values()))
    if not spec.composition.is_color or not spec.roles:
        return _file(first, spec.rendering, next(iter(item.hashes.values())))
    return _Picture(first, partial(composite, files, spec.roles, spec.composition, spec.rendering))


def _file(path: Path, rendering: Rendering, sha256: str = "") -> _Picture:
    return _Picture(path, partial(open_for_resizing, path, rendering=rendering), sha256)


def _share(advance: Callable[[int], None], n_items: int, n_files: int) -> Callable[[int], None]:
    """Return a function that is called with numbers of files and calls ``advance`` with numbers of items."""
    done = [0, 0]

    def hear(n: int) -> None:
        done[0] += n
        items = done[0] * n_items // n_files
        advance(items - done[1])
        done[1] = items

    return hear


def encode_files(
    encoder: Encoder, paths: Sequence[Path], advance: Callable[[int], None], rendering: Rendering = DEFAULT
) -> Found:
    """Encode image files: return embeddings float32 (n, dim), which files were readable (n,), and why others failed."""
    return _encode(encoder, [_file(path, rendering) for path in paths], advance)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Hold a batch of ``n`` images: positions and pixels of those that could be read, and why others could not."""

    n: int
    positions: list[int]
    pixels: list[npt.NDArray[np.uint8]]
    problems: list[tuple[Path, str]]

    def encode(self, encoder: Encoder) -> npt.NDArray[np.float32]:
        """Return the vectors of the images that could be read."""
        if not self.pixels:
            return np.empty((0, encoder.dim), np.float32)
        return encoder.encode_prepared(np.stack(self.pixels))


def _encode(
    encoder: Encoder,
    pictures: Sequence[_Picture],
    advance: Callable[[int], None],
    squares: Squares | None = None,
    on_pixels: OnPixels | None = None,
) -> Found:
    """Encode images. Threads decode and resize the next batches while the encoder computes the current ones.

    ``advance`` is called after every batch and may raise to stop.
    """
    out = np.zeros((len(pictures), encoder.dim), dtype=np.float32)
    readable = np.zeros(len(pictures), dtype=np.bool_)
    problems: list[tuple[Path, str]] = []
    running: deque[tuple[_Batch, Future[npt.NDArray[np.float32]]]] = deque()

    def finish(batch: _Batch, vectors: Future[npt.NDArray[np.float32]]) -> None:
        out[batch.positions] = vectors.result()
        readable[batch.positions] = True
        problems.extend(batch.problems)
        advance(batch.n)

    with (
        ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="encode") as pool,
        closing(_batches(encoder, pictures, squares)) as batches,
    ):
        for batch in batches:
            if on_pixels is not None:
                on_pixels(batch.positions, batch.pixels)
            running.append((batch, pool.submit(batch.encode, encoder)))
            if len(running) == _IN_FLIGHT:
                finish(*running.popleft())
        while running:
            finish(*running.popleft())
    return out, readable, problems


def _batches(encoder: Encoder, pictures: Sequence[_Picture], squares: Squares | None) -> Generator[_Batch]:
    """Yield batches of images, which threads read in advance."""
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="decode")
    waiting: deque[Future[npt.NDArray[np.uint8] | str]] = deque()
    coming = iter(pictures)
    try:
        for first in range(0, len(pictures), encoder.batch_size):
            part = pictures[first : first + encoder.batch_size]
            while len(waiting) < 3 * encoder.batch_size and (picture := next(coming, None)) is not None:
                waiting.append(pool.submit(_read, encoder, picture, squares))
            batch = _Batch(len(part), [], [], [])
            for position, picture in enumerate(part, start=first):
                read = waiting.popleft().result()
                if isinstance(read, str):
                    batch.problems.append((picture.path, read))
                else:
                    batch.pixels.append(read)
                    batch.positions.append(position)
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def _read(encoder: Encoder, picture: _Picture, squares: Squares | None) -> npt.NDArray[np.uint8] | str:
    """Return the pixels that the encoder expects, or the reason why there are none."""
    cached = squares.find(picture.sha256) if squares and picture.sha256 else None
    if cached is not None:
        return cached
    try:
        return encoder.prepare(picture.open(encoder.decode_side))
    except ImageProblem as problem:
        return problem.reason
