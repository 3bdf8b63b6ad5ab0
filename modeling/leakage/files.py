"""Store signatures and near-duplicates of datasets by row, in the folder ``leakage`` of the store.

All are in a folder per dataset::

    signatures-<generation>.npy    uint8 (n_rows, 32, 32)
    stamps-<generation>.npy        uint64 (n_rows,), of each signature; 0: this row has none
    parts/<key>-<start>-<stop>.npy signatures that are not among these yet
    pairs-<generation>.npz         the pairs, their differences and groups
    compared-<generation>.npy      uint64 (n_rows,), the stamps of the compared images; 0: not compared
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from hoshina.core.storage import (
    Generations,
    StoreError,
    block_lengths,
    find_arrays,
    remove,
    remove_folder,
    require_space,
    write_array,
    write_arrays,
    write_header,
    writing,
)
from labeling.exporting.near_duplicates import NearDuplicates
from labeling.models import Dataset
from modeling.algorithms.perceptual_hash import SIDE, Pixels
from modeling.encoders.frames import pictured_in
from modeling.encoders.input_spec import InputSpec
from modeling.models import LeakageCheck

log = logging.getLogger(__name__)
Rows = NDArray[np.int64]
Stamps = NDArray[np.uint64]
ROW_BYTES = SIDE**2
_HINT = "Run hoshina check_leakage again."
_PART = np.dtype([("row", "<i8"), ("stamp", "<u8"), ("signature", "u1", (SIDE, SIDE))])
# Rows per IN (…).
_BATCH = 900


def files_of(dataset_id: int) -> Generations:
    """Return the files of a dataset: of its signatures by generation, and of its pairs."""
    return Generations(Path(settings.STORE_DIR) / "leakage" / str(dataset_id), _HINT)


# -- Signatures -----------------------------------------------------------------------------------
def open_signatures(check: LeakageCheck) -> tuple[Pixels, Stamps]:
    """Return the signatures uint8 (n, 32, 32), mapped, and the stamp of each, 0 without one; empty if there are none.

    Missing or damaged ones count as none, so that they are computed again.
    """
    files = files_of(check.dataset_id)
    try:
        signatures = files.open("signatures", check.generation, np.uint8, (SIDE, SIDE))
        stamps = files.open("stamps", check.generation, np.uint64)
    except (FileNotFoundError, StoreError):
        return np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, np.uint64)
    return (signatures, stamps) if len(signatures) == len(stamps) else (signatures[:0], stamps[:0])


def save_part(dataset_id: int, spec: InputSpec, rows: Rows, stamps: Stamps, signatures: Pixels) -> None:
    """Save signatures of the ascending ``rows`` (k,) for :func:`merge_parts`. A stamp of 0 removes the row's."""
    if not len(rows):
        return
    part = np.zeros(len(rows), dtype=_PART)
    part["row"], part["stamp"], part["signature"] = rows, stamps, signatures
    name = f"{_key_of(spec)}-{rows[0]:012d}-{rows[-1] + 1:012d}.npy"
    write_array(_parts_folder(dataset_id) / name, part)


def has_parts(dataset_id: int) -> bool:
    """Return whether there are signatures that have not been merged."""
    return next(_parts_folder(dataset_id).glob("*.npy"), None) is not None


def merge_parts(check: LeakageCheck, spec: InputSpec, n_rows: int) -> None:
    """Write the next generation of ``n_rows`` signatures: the earlier ones, replaced by those of the parts.

    Copies in blocks, so memory does not grow with the dataset. Parts of another rendering are deleted. Nothing is
    written if nothing differs. Raises StoreError.
    """
    parts = _find_parts(check.dataset_id, spec)
    signatures, old_stamps = open_signatures(check)
    stamps = np.zeros(n_rows, np.uint64)
    stamps[: len(old_stamps)] = old_stamps[:n_rows]
    for part in parts:
        inside = part.rows < n_rows
        stamps[part.rows[inside]] = part.stamps[inside]
    if not np.array_equal(stamps, old_stamps):
        files = files_of(check.dataset_id)
        generation = files.next_after(max(check.generation, check.pairs_generation))
        require_space(files.folder, n_rows * (ROW_BYTES + 8))
        with writing(files.file("signatures", generation)) as stream:
            write_header(stream, (n_rows, SIDE, SIDE), np.dtype(np.uint8))
            for block in _blocks(signatures, n_rows, parts):
                stream.write(block.data)
        files.write("stamps", generation, stamps)
        check.generation = generation
        check.save(update_fields=["generation", "input_key"])
        files.remove_before(generation, "signatures")
        files.remove_before(generation, "stamps")
    for part in parts:
        remove(part.file)


@dataclass(frozen=True)
class _Part:
    """Represent a part: its file, which is not kept open, and the rows it has."""

    file: Path
    rows: Rows
    stamps: Stamps


def _find_parts(dataset_id: int, spec: InputSpec) -> list[_Part]:
    """Return the parts of this rendering; others and damaged ones are deleted."""
    parts = []
    for file in sorted(_parts_folder(dataset_id).glob("*.npy")):
        try:
            if not file.name.startswith(f"{_key_of(spec)}-"):
                raise ValueError("images are rendered in another way now")
            content = np.load(file, allow_pickle=False)
            if content.dtype != _PART:
                raise ValueError(f"{content.dtype} is not what was written")
        except (ValueError, EOFError, OSError) as error:
            log.warning("%s was ignored (%s).", file, error)
            remove(file)
            continue
        parts.append(_Part(file, content["row"].copy(), content["stamp"].copy()))
    return parts


def _blocks(old: Pixels, n_rows: int, parts: Sequence[_Part]) -> Iterator[Pixels]:
    start = 0
    for count in block_lengths(n_rows, ROW_BYTES):
        block = np.zeros((count, SIDE, SIDE), np.uint8)
        some = old[start : start + count]
        block[: len(some)] = some
        for part in parts:
            inside = (part.rows >= start) & (part.rows < start + count)
            if inside.any():
                block[part.rows[inside] - start] = np.load(part.file)["signature"][inside]
        yield block
        start += count


def _parts_folder(dataset_id: int) -> Path:
    return files_of(dataset_id).folder / "parts"


def _key_of(spec: InputSpec) -> str:
    return spec.key or "usual"


# -- Pairs ----------------------------------------------------------------------------------------
def save_pairs(
    check: LeakageCheck, pairs: Rows, differences: NDArray[np.float32], groups: Rows, compared: Stamps
) -> None:
    """Write what a check found, and save the check, which makes it the current one.

    ``pairs`` (m, 2), their differences (m,), the groups of all rows and the stamps of those that were compared (n,).
    """
    files = files_of(check.dataset_id)
    generation = files.next_after(max(check.generation, check.pairs_generation))
    rows = np.unique(pairs)
    found = {"pairs": pairs, "differences": differences, "rows": rows, "groups": groups[rows]}
    files.write("compared", generation, compared)
    write_arrays(files.file("pairs", generation, "npz"), **found)
    check.pairs_generation = generation
    check.save()
    files.remove_before(generation, "pairs")
    files.remove_before(generation, "compared")


def near_duplicates_of(dataset: Dataset) -> NearDuplicates | None:
    """Return what the dataset's last check found; None if none has run, or its files are gone. Raises StoreError."""
    check = LeakageCheck.objects.filter(dataset=dataset).exclude(pairs_generation=0).first()
    return None if check is None else found_by(dataset, check)


def found_by(dataset: Dataset, check: LeakageCheck) -> NearDuplicates | None:
    """Return what a check of the dataset found; None if its files are gone. Raises StoreError."""
    files = files_of(dataset.pk)
    arrays = find_arrays(files.file("pairs", check.pairs_generation, "npz"), _HINT)
    compared = files.find("compared", check.pairs_generation, np.uint64)
    if arrays is None or compared is None:
        return None
    groups = np.arange(len(compared))
    groups[arrays["rows"]] = arrays["groups"]
    return NearDuplicates(
        arrays["pairs"], arrays["differences"], groups, compared, partial(current_stamps, dataset), check.facts
    )


def current_stamps(dataset: Dataset, rows: Rows) -> Stamps:
    """Return the stamps of the current images of ascending ``rows`` (m,); 0 where the file is gone."""
    spec = InputSpec.of(dataset)
    stamps = np.zeros(len(rows), np.uint64)
    for start in range(0, len(rows), _BATCH):
        items = list(pictured_in(dataset, rows[start : start + _BATCH].tolist(), spec))
        found = np.array([item.row for item in items], np.int64)
        stamps[np.searchsorted(rows, found)] = np.array([item.stamp for item in items], np.uint64)
    return stamps


def forget(dataset_id: int) -> None:
    """Delete the check of a dataset and all files."""
    remove_folder(files_of(dataset_id).folder)
    LeakageCheck.objects.filter(dataset=dataset_id).delete()
