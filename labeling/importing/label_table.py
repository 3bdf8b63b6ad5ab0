"""Read and check the rows of a label table, without database access."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from hoshina.core.errors import Refusal
from labeling.tables import layout as tables
from labeling.tables.item_column import column_of, key_of, key_rank
from labeling.tables.match_rows import id_of

# Names of label columns in lower case, in order of preference: those of HOSHINA, Label Studio, FiftyOne and Kaggle.
_OWN_LABELS = ("label", "class", "category")
_OTHER_LABELS = frozenset({
    "label_name", "class_name", "category_name", "class_label", "image_label", "choice", "ground_truth",
    "ground_truth.label", "target",
})  # fmt: skip
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
EXPECTED = (
    "Expected a CSV file whose first line names its columns: one that names the image (path, item_id, file_name, "
    "filepath, image, image_id, …, or the one you choose) and one with the label (optionally was_unsure and skipped)."
)


@dataclass(frozen=True)
class Choice:
    """The options of an import; "" for those that are detected.

    ``key``: how items are named (path, item_id, name). ``key_column`` and ``label_column``: the columns to read.
    ``encoding``: the encoding of the file. ``same_numbers``: whether labels such as 1 and 01 are one class ("merge") or
    several ("keep").
    """

    key: str = ""
    key_column: str = ""
    label_column: str = ""
    encoding: str = ""
    same_numbers: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A checked line of the file. ``path`` names the item; if it is empty, ``item_id`` does."""

    line: int
    path: str
    item_id: int | None
    label: str
    was_unsure: bool
    is_skipped: bool

    @property
    def is_decision(self) -> bool:
        return bool(self.label or self.was_unsure or self.is_skipped)


@dataclass(frozen=True)
class Layout:
    """The layout of a label table. ``key``: how ``path`` names items. ``columns``: the index of each column."""

    table: tables.Layout
    key: str
    columns: Mapping[str, int]

    def header(self, column: str) -> str:
        """Return the file's name of the column; empty if it is missing."""
        place = self.columns.get(column)
        return "" if place is None else self.table.headers[place]


def layout_of(stream: BinaryIO, choice: Choice) -> Layout:
    """Detect the layout of the table. Reads the whole file once to detect its encoding.

    Raises Refusal if the file is empty or not text, or the columns are missing or ambiguous.
    """

    def rank(headers: Sequence[str]) -> int:
        return key_rank(headers, choice.key, choice.key_column) + bool(_labels_in(headers, choice.label_column))

    table = tables.layout_of(stream, rank, choice.encoding)
    headers = table.headers
    for column in filter(None, (choice.key_column, choice.label_column)):
        column_of(headers, column)
    key, labels = key_of(headers, choice.key, choice.key_column), _labels_in(headers, choice.label_column)
    if key is None or not labels:
        missing = [
            *(["the column that names the images with --key COLUMN"] if key is None else []),
            *(["the column of the labels with --label COLUMN"] if not labels else []),
        ]
        raise Refusal(f"{table.listed} Choose {' and '.join(missing)}, or on the page. {EXPECTED}")
    if len(labels) > 1:
        names = " and ".join(repr(headers[place]) for place in labels[:3])
        raise Refusal(f"The columns {names} may both contain the label. Choose one of them (--label COLUMN).")
    lower = [name.lower() for name in headers]
    columns: dict[str, int] = {
        name: lower.index(name) for name in ("item_id", "was_unsure", "skipped") if name in lower
    }
    if key.kind == "item_id":
        columns["item_id"] = key.place
    else:
        columns["path"] = key.place
    if choice.key or choice.key_column:  # then no other column names items
        columns = {name: place for name, place in columns.items() if name != "item_id" or key.kind == "item_id"}
    return Layout(table, key.kind, columns | {"label": labels[0]})


def read_rows(stream: BinaryIO, layout: Layout | None = None) -> Iterator[Row]:
    """Yield the rows of a label table. Raises Refusal if the file can't be read, or a line is invalid."""
    layout = layout or layout_of(stream, Choice())
    for number, values in tables.rows_of(stream, layout.table):
        yield _row(number, values, layout.columns)


def _labels_in(headers: Sequence[str], column: str) -> list[int]:
    """Return the indices of columns that may contain the label; only the preferred one if it has a name of HOSHINA."""
    lower = [name.lower() for name in headers]
    if column:
        name_asked = " ".join(column.split()).lower()
        return [lower.index(name_asked)] if name_asked in lower else []
    own = [lower.index(name) for name in _OWN_LABELS if name in lower]
    return own[:1] or [place for place, name in enumerate(lower) if name in _OTHER_LABELS]


def _row(line: int, values: Sequence[str], columns: Mapping[str, int]) -> Row:
    def value(name: str) -> str:
        place = columns.get(name)
        return values[place] if place is not None and place < len(values) else ""

    path, item_id = value("path"), value("item_id").strip()
    if not path.strip() and not item_id:
        raise Refusal(f"Line {line} has neither a path nor an item_id. Add one of them.")
    return Row(
        line=line,
        path=path if path.strip() else "",
        item_id=id_of(line, item_id) if item_id else None,
        label=value("label").strip(),
        was_unsure=_boolean(line, "was_unsure", value("was_unsure")),
        is_skipped=_boolean(line, "skipped", value("skipped")),
    )


def _boolean(line: int, name: str, value: str) -> bool:
    boolean = _BOOLEANS.get(value.strip().lower())
    if boolean is None:
        raise Refusal(f"Line {line}: {name} is {value.strip()[:40]!r}. Expected true or false.")
    return boolean
