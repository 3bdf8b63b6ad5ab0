"""Store signatures and near-duplicates of datasets by row, in the folder ``leakage`` of the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from hoshina.core.storage import (
    Generations,
    StoreError,
    block_lengths,
    find_arrays,
    remove_folder,
    require_space,
    write_arrays,
    write_header,
    writing,
)
from labeling.exporting.near_duplicates import NearDuplicates
from labeling.models import Dataset
from modeling.algorithms.near_duplicates import grouped
from modeling.algorithms.perceptual_hash import SIDE, Pixels
from modeling.models import LeakageCheck

Stamps = NDArray[np.uint64]
ROW_BYTES = SIDE**2
_HINT = "Run hoshina check_leakage again."


def files_of(check: LeakageCheck) -> Generations:
    """Return the files of a dataset's check: of its signatures by generation, and of its pairs."""
    return Generations(Path(settings.STORE_DIR) / "leakage" / str(check.dataset_id), _HINT)


def open_signatures(check: LeakageCheck) -> tuple[Pixels, Stamps]:
    """Return the signatures uint8 (n, 32, 32), mapped, and the stamp of each, 0 without one; empty if there are none.

    Missing or damaged ones count as none, so that they are computed again.
    """
    files = files_of(check)
    try:
        signatures = files.open("signatures", check.generation, np.uint8, (SIDE, SIDE))
        stamps = files.open("stamps", check.generation, np.uint64)
    except (FileNotFoundError, StoreError):
        return np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, np.uint64)
    return (signatures, stamps) if len(signatures) == len(stamps) else (signatures[:0], stamps[:0])


def save_signatures(check: LeakageCheck, n_rows: int, rows: NDArray[np.int64], new: Pixels, new_stamps: Stamps) -> None:
    """Write the next generation: the earlier signatures, with those of the ascending ``rows`` replaced."""
    old, old_stamps = open_signatures(check)
    files = files_of(check)
    generation = files.next_after(check.generation)
    require_space(files.folder, n_rows * (ROW_BYTES + 8))
    stamps = np.zeros(n_rows, np.uint64)
    stamps[: len(old_stamps)] = old_stamps[:n_rows]
    stamps[rows] = new_stamps
    with writing(files.file("signatures", generation)) as stream:
        write_header(stream, (n_rows, SIDE, SIDE), np.dtype(np.uint8))
        for block in _blocks(old, n_rows, rows, new):
            stream.write(block.data)
    files.write("stamps", generation, stamps)
    check.generation = generation
    check.save(update_fields=["generation", "input_key"])
    files.remove_before(generation, "signatures")
    files.remove_before(generation, "stamps")


def _blocks(old: Pixels, n_rows: int, rows: NDArray[np.int64], new: Pixels) -> Iterator[Pixels]:
    start = 0
    for count in block_lengths(n_rows, ROW_BYTES):
        block = np.zeros((count, SIDE, SIDE), np.uint8)
        some = old[start : start + count]
        block[: len(some)] = some
        first, last = np.searchsorted(rows, [start, start + count])
        block[rows[first:last] - start] = new[first:last]
        yield block
        start += count


def save_pairs(
    check: LeakageCheck, pairs: NDArray[np.int64], differences: NDArray[np.float32], checked: NDArray[np.bool_]
) -> None:
    """Write the pairs (m, 2), their differences, and which rows were compared (n,), and make them the current ones."""
    files = files_of(check)
    generation = files.next_after(max(check.generation, check.pairs_generation))
    write_arrays(
        files.file("pairs", generation, "npz"), pairs=pairs, differences=differences, checked=np.packbits(checked),
        n_rows=np.array(len(checked)),
    )  # fmt: skip
    check.pairs_generation = generation
    check.save()
    files.remove_before(generation, "pairs")


def near_duplicates_of(dataset: Dataset) -> NearDuplicates | None:
    """Return what the dataset's last check found; None if none has run, or its files are gone. Raises StoreError."""
    check = LeakageCheck.objects.filter(dataset=dataset).exclude(pairs_generation=0).first()
    if check is None:
        return None
    arrays = find_arrays(files_of(check).file("pairs", check.pairs_generation, "npz"), _HINT)
    if arrays is None:
        return None
    n_rows = int(arrays["n_rows"])
    checked = np.unpackbits(arrays["checked"], count=n_rows).astype(np.bool_)
    groups = grouped(arrays["pairs"], n_rows)
    return NearDuplicates(arrays["pairs"], arrays["differences"], groups, checked, check.facts)


def forget(check: LeakageCheck) -> None:
    """Delete a check and its files."""
    remove_folder(files_of(check).folder)
    check.delete()
