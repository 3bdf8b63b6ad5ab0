"""Read files of predictions in batches: probabilities of every class, or a label with a score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from labeling.tables.item_column import key_rank
from labeling.tables.layout import Layout, layout_of, rows_of
from labeling.tables.row_finder import SHA256
from modeling.external import array_files

SUFFIXES = (".csv", ".tsv", ".txt", ".npz", ".parquet")
PREFIX = "p:"
BATCH = 5_000
_LABELS = ("label", "predicted", "prediction", "class", "class_name", "category")
_SCORES = ("score", "probability", "confidence", "prob")
_ARRAYS = ("probabilities", "probs", "p", "predictions")
_EXPECTED = (
    "Give each class a column p:<class> with its probability, or one column label and one column score. A column such "
    "as path or item_id names the image."
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """Some rows: their keys, with the probabilities (m, c) of the classes, or the labels and scores (m,)."""

    keys: list[str]
    values: Floats
    labels: list[str] | None = None


@dataclass(frozen=True)
class PredictionFile:
    """Hold an open file of predictions: what its keys are, its classes (None: those of the labels), and its rows."""

    kind: str
    classes: list[str] | None
    batches: Callable[[], Iterator[Batch]]


@contextmanager
def opened(file: Path, kind: str, folder: Path) -> Iterator[PredictionFile]:
    """Open a file of predictions. ``kind`` says what the keys are, "" if their name decides. Raises Refusal."""
    array_files.require_file(file, SUFFIXES)
    suffix = file.suffix.lower()
    if suffix == ".npz":
        with array_files.opened_archive(file, folder) as arrays:
            yield _in_archive(file, arrays, kind)
    elif suffix == ".parquet":
        yield _in_parquet(array_files.open_parquet(file), kind)
    else:
        yield _in_text(file, kind)


@dataclass(frozen=True)
class _Columns:
    """Hold the places of a table's columns: of the key, and of the probabilities or of the label and its score."""

    kind: str
    key: int
    classes: list[str]
    values: list[int]
    label: int | None = None

    def batch(self, rows: Sequence[Sequence[Any]]) -> Batch:
        """Return rows of cells as a batch; NaN stands for cells that are not numbers."""
        keys = [_cell(row, self.key) for row in rows]
        values = np.array([[_number(_cell(row, place)) for place in self.values] for row in rows], np.float64)
        if self.label is None:
            return Batch(keys, values)
        return Batch(keys, values[:, 0], [_cell(row, self.label) for row in rows])


def _columns_of(headers: Sequence[str], kind: str) -> _Columns:
    key_kind, key = array_files.key_column(headers)
    if key_kind is None:
        raise Refusal(f"No column names the images. The columns are {_listed(headers)}.", _EXPECTED)
    of_class = [place for place, name in enumerate(headers) if name.startswith(PREFIX)]
    kind = kind or key_kind
    if of_class:
        return _Columns(kind, key, [headers[place].removeprefix(PREFIX) for place in of_class], of_class)
    label, score = (_first(headers, names) for names in (_LABELS, _SCORES))
    if label is None or score is None:
        raise Refusal(f"There are no predictions. The columns are {_listed(headers)}.", _EXPECTED)
    return _Columns(kind, key, [], [score], label)


def _first(headers: Sequence[str], names: Sequence[str]) -> int | None:
    lower = [name.lower() for name in headers]
    return next((lower.index(name) for name in names if name in lower), None)


def _listed(headers: Sequence[str]) -> str:
    return ", ".join(repr(name[:40]) for name in headers[:20]) or "none"


def _cell(row: Sequence[Any], place: int) -> str:
    value = row[place] if place < len(row) else None
    return "" if value is None else str(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


# -- Each format -----------------------------------------------------------------------------------
def _in_text(file: Path, kind: str) -> PredictionFile:
    def rank(headers: Sequence[str]) -> int:
        has_values = any(name.startswith(PREFIX) for name in headers) or _first(headers, _LABELS) is not None
        return max(key_rank(headers), int(SHA256 in headers)) + has_values

    with file.open("rb") as stream:
        layout = layout_of(stream, rank)
    columns = _columns_of(layout.headers, kind)
    return PredictionFile(
        columns.kind, columns.classes or None, lambda: (columns.batch(rows) for rows in _text_rows(file, layout))
    )


def _text_rows(file: Path, layout: Layout) -> Iterator[list[list[str]]]:
    rows: list[list[str]] = []
    with file.open("rb") as stream:
        for _, values in rows_of(stream, layout):
            rows.append(values)
            if len(rows) == BATCH:
                yield rows
                rows = []
    if rows:
        yield rows


def _in_parquet(table: Any, kind: str) -> PredictionFile:
    names = list(table.schema_arrow.names)
    columns = _columns_of(names, kind)
    wanted = [names[place] for place in (columns.key, *columns.values) if place is not None]
    wanted += [] if columns.label is None else [names[columns.label]]

    def batches() -> Iterator[Batch]:
        for batch in table.iter_batches(batch_size=BATCH, columns=wanted):
            keys = ["" if value is None else str(value) for value in batch.column(wanted[0]).to_pylist()]
            cells = [batch.column(names[place]).to_pylist() for place in columns.values]
            values = np.array([[np.nan if cell is None else float(cell) for cell in column] for column in cells]).T
            if columns.label is None:
                yield Batch(keys, values.reshape(-1, len(columns.values)))
            else:
                labels = batch.column(names[columns.label]).to_pylist()
                yield Batch(keys, values[:, 0], ["" if label is None else str(label) for label in labels])

    return PredictionFile(columns.kind, columns.classes or None, batches)


def _in_archive(file: Path, arrays: dict[str, NDArray[Any]], kind: str) -> PredictionFile:
    name = next((name for name in arrays if name.lower() in _ARRAYS), "")
    if not name or "classes" not in arrays:
        raise Refusal(
            f"{file.name} has the arrays {_listed(list(arrays))}.",
            "Expected probabilities (images × classes), classes (their names) and path, item_id or ids.",
        )
    P, classes = arrays.pop(name), arrays.pop("classes")
    if P.ndim != 2 or P.dtype.kind not in "fiu" or classes.dtype.kind not in "US" or classes.shape != P.shape[1:]:
        raise Refusal(
            f"The probabilities are {P.dtype} {P.shape}, and the classes {classes.dtype} {classes.shape}.",
            "Expected numbers with one column for each class, and the names of the classes as text.",
        )
    keys = array_files.with_kind(array_files.pick_keys(arrays, len(P)), kind)

    def batches() -> Iterator[Batch]:
        start = 0
        for batch in keys.batches():
            yield Batch(batch, np.asarray(P[start : start + len(batch)], np.float64))
            start += len(batch)

    n_keys = len(arrays[keys.name])
    if n_keys != len(P):
        raise Refusal(f"There are {n_keys:,} keys ({keys.name}) and {len(P):,} rows of probabilities.")
    names = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in classes.tolist()]
    return PredictionFile(keys.kind, names, batches)
