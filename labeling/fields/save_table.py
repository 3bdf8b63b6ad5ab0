"""Import the metadata of a table as fields. The whole file is read and checked before anything is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

import msgspec
from django.db import transaction
from django.db.models import Max

from hoshina.core.errors import Refusal
from labeling.fields.column_writer import Disagreement, Filling, laid_over
from labeling.fields.columns import Draft, Stamps, column_of, save_column
from labeling.fields.metadata_table import MAX_TEXT, Layout, Line, ReadLayout, Wish, layout_of, lines_of
from labeling.fields.parse_values import Guess
from labeling.ingest.bulk_sql import next_row
from labeling.models import Dataset, Field
from labeling.tables import layout as tables
from labeling.tables.encoding import seekable
from labeling.tables.item_lookup import IN_BATCH, SEVERAL
from labeling.tables.match_rows import Matcher
from labeling.tables.report import TableReport

CSV = "csv"
MAX_FIELDS = 200
Progress = Callable[[int, int], None]


class Filled(msgspec.Struct, frozen=True, rename={"n_known": "known", "n_changed": "changed", "is_new": "new"}):
    """The number of items with a value in a column, and of values that changed."""

    name: str
    kind: str
    n_known: int
    n_changed: int
    is_new: bool


@dataclass
class Report(TableReport):
    """The result of an import.

    ``matched``: lines that name items of the dataset. ``empty``: columns without any value. ``too_long``: columns whose
    names or values are too long for a field.
    """

    matched: int = 0
    key: str = ""
    fields: list[Filled] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    too_long: list[str] = field(default_factory=list)

    @property
    def n_changed(self) -> int:
        """Return the number of values that changed."""
        return sum(field.n_changed for field in self.fields)

    def as_json(self) -> dict[str, object]:
        """Return the report for ``import_fields --json``; lists have at most 1,000 names, ``lines_…`` counts all."""
        return self.common_json() | {
            "fields": msgspec.to_builtins(self.fields),
            "empty_columns": self.empty,
            "too_long_columns": self.too_long,
            "matched": self.matched,
            "key": self.key,
            "unknown_items": list(self.unknown.names),
            "lines_with_unknown_item": self.unknown.lines,
        }


def import_fields(
    dataset: Dataset,
    stream: BinaryIO,
    wish: Wish,
    kinds: Mapping[str, str] | None = None,
    *,
    progress: Progress = lambda done, total: None,
    read_layout: ReadLayout = tables.layout_of,
    is_trial: bool = False,
    last_applies: bool = False,
) -> Report:
    """Create fields from a table's columns, or update those of the same names. Importing again changes nothing.

    A value replaces an earlier one; an empty cell does not. A column's kind is that of its field, else that in
    ``kinds`` by name, else that of all its values. The file is read twice. Memory: 8 bytes per item and column, and the
    distinct values of texts. ``progress(done, total)`` counts lines. ``read_layout`` reads formats other than CSV.
    ``is_trial``: check without saving. ``last_applies``: a later line about an item replaces values of earlier ones.
    Raises Refusal if the file can't be read or is invalid. Nothing is imported then.
    """
    with seekable(stream) as table:
        layout = layout_of(table, wish, read_layout)
        report, drafts = _read(dataset, table, layout, wish, kinds or {}, progress, last_applies=last_applies)
    if not is_trial:
        _save(dataset, drafts, report)
    return report


def _read(
    dataset: Dataset,
    stream: BinaryIO,
    layout: Layout,
    wish: Wish,
    kinds: Mapping[str, str],
    progress: Progress,
    *,
    last_applies: bool,
) -> tuple[Report, dict[str, Draft]]:
    """Read the table twice: the kinds of its columns, then the values."""
    report = Report(key=layout.key, key_column=layout.key_column, encoding=layout.encoding)
    layout, guesses = _guessed(stream, layout, report, may_leave_out=not wish.columns)
    report.too_long = list(layout.left_out)
    fields = _fields(dataset)
    chosen = _kinds(layout, guesses, fields, kinds)
    report.empty = [name for name in layout.names if name not in chosen]
    filled = _filled(dataset, stream, layout, chosen, report, progress, last_applies=last_applies)
    if not report.matched:
        raise Refusal(_no_match_message(report))
    return report, {name: filling.draft() for name, filling in filled.items()}


def _no_match_message(report: Report) -> str:
    names = [*report.unknown.names, *report.ambiguous.names]
    hint = {
        "path": "If that is the file's name alone or another id, choose --key name.",
        "name": "If several images have that name, give their paths.",
        "item_id": "Use the ids of an export of this dataset.",
    }.get(report.key, "Choose the column that names the images with --key COLUMN.")
    return (
        f"No line names an image of this dataset. The first line has {names[0][:100]!r} "
        f"in the column {report.key_column!r}. {hint}"
    )


def refuse_too_many(n_known: int, n_new: int) -> None:
    """Raise Refusal for too many fields: the cost of each grows with the dataset, and nobody filters by hundreds."""
    if n_known + n_new > MAX_FIELDS:
        raise Refusal(f"This would make {n_known + n_new} fields, and {MAX_FIELDS} is the limit. Choose fewer columns.")


def _fields(dataset: Dataset) -> dict[str, Field]:
    return {field.name.lower(): field for field in Field.objects.filter(dataset=dataset)}


# -- The first reading: kinds ---------------------------------------------------------------------------
def _guessed(stream: BinaryIO, layout: Layout, report: Report, *, may_leave_out: bool) -> tuple[Layout, list[Guess]]:
    """Return the kinds of the columns; those with values too long for a field are left out, or refused if requested."""
    guesses = [Guess() for _ in layout.names]
    too_long: dict[str, int] = {}
    for line in lines_of(stream, layout):
        report.rows += 1
        for name, guess, value in zip(layout.names, guesses, line.values, strict=True):
            if len(value) > MAX_TEXT:
                too_long.setdefault(name, line.number)
            else:
                guess.add(line.number, layout.as_number(value))
    if not report.rows:
        raise Refusal("The file has a header and no other line.")
    if too_long and (not may_leave_out or len(too_long) == len(guesses)):
        name, number = next(iter(too_long.items()))
        raise Refusal(
            f"Line {number}: the value of {name} is longer than {MAX_TEXT:,} characters. "
            "Choose columns without it (--columns A,B)."
        )
    fitting = [guess for name, guess in zip(layout.names, guesses, strict=True) if name not in too_long]
    return layout.without(list(too_long)), fitting


def _kinds(
    layout: Layout, guesses: Sequence[Guess], fields: Mapping[str, Field], forced: Mapping[str, str]
) -> dict[str, Field.Kind]:
    """Return the kind of every column that has values."""
    wanted = {name.lower(): kind for name, kind in forced.items()}
    unknown = wanted.keys() - {name.lower() for name in layout.names}
    if unknown:
        raise Refusal(f"There is no column {min(unknown)!r} to set the kind of.")
    chosen: dict[str, Field.Kind] = {}
    for name, guess in zip(layout.names, guesses, strict=True):
        field = fields.get(name.lower())
        if field is not None and field.source != CSV:
            raise Refusal(f"{field.name} is read from the headers of the files. Give the column another name.")
        kind = field.kind if field else wanted.get(name.lower(), guess.kind)
        against = guess.against(kind)
        if against is not None:
            raise Refusal(_mismatch_message(name, kind, against, is_there=field is not None))
        if guess.n_known:
            chosen[name] = Field.Kind(kind)
    refuse_too_many(len(fields), len([name for name in chosen if name.lower() not in fields]))
    return chosen


def _mismatch_message(name: str, kind: str, against: tuple[int, str], *, is_there: bool) -> str:
    line, value = against
    expected = {"number": "numbers", "time": "times (like 2011-06-07T06:33:02)"}[kind]
    why = "as the field does already; change its kind to text first" if is_there else "as you asked"
    return f"Line {line}: {name} is {value[:60]!r}, but the column must contain {expected}, {why}."


# -- The second reading: values --------------------------------------------------------------------------
def _filled(
    dataset: Dataset,
    stream: BinaryIO,
    layout: Layout,
    chosen: Mapping[str, Field.Kind],
    report: Report,
    progress: Progress,
    *,
    last_applies: bool,
) -> dict[str, Filling]:
    n_rows = next_row(dataset)
    filled = {name: Filling(kind, n_rows) for name, kind in chosen.items()}
    columns = [(layout.names.index(name), name, filling) for name, filling in filled.items()]
    numbers = {place for place, _, filling in columns if filling.kind == Field.Kind.NUMBER}
    match = Matcher(dataset, layout.key)
    lines = lines_of(stream, layout)
    done = 0
    while batch := list(islice(lines, IN_BATCH)):
        for line, (_, row) in zip(batch, match([line.key for line in batch]), strict=True):
            if row < 0:
                (report.ambiguous if row == SEVERAL.row else report.unknown).add(line.key)
            elif row < n_rows:  # not an item that was added in the meantime
                report.matched += 1
                for place in numbers:
                    line.values[place] = layout.as_number(line.values[place])
                _put(line, row, columns, replaces=last_applies)
        done += len(batch)
        progress(done, report.rows)
    report.by_name = match.n_by_name
    return filled


def _put(line: Line, row: int, columns: Sequence[tuple[int, str, Filling]], *, replaces: bool) -> None:
    for place, name, filling in columns:
        try:
            filling.put(row, line.values[place], replaces=replaces)
        except Disagreement as error:
            raise Refusal(
                f"Line {line.number}: {name} of {line.key[:100]!r} is {line.values[place][:60]!r}, "
                "but an earlier line has another value. Correct one of them."
            ) from error


# -- Saving -------------------------------------------------------------------------------------------------
def _save(dataset: Dataset, drafts: Mapping[str, Draft], report: Report) -> None:
    """Save all columns at once, or none."""
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        fields = _fields(dataset)
        for name, draft in drafts.items():
            field = fields.get(name.lower())
            if field is not None and (field.kind, field.source) != (draft.kind, CSV):
                raise Refusal(f"Someone changed the field {field.name} in the meantime. Try again.")
            if field is None:
                report.fields.append(make_field(dataset, name, draft, CSV))
                continue
            merged, n_changed = laid_over(column_of(field), draft)
            if n_changed:
                save_column(field, merged)
            report.fields.append(Filled(field.name, field.kind, field.n_known, n_changed, is_new=False))


def make_field(dataset: Dataset, name: str, draft: Draft, source: str, stamps: Stamps | None = None) -> Filled:
    """Create a field after all others, with its values."""
    last = Field.objects.filter(dataset=dataset).aggregate(last=Max("order"))["last"]
    made = Field.objects.create(
        dataset=dataset, name=name, kind=draft.kind, source=source, order=0 if last is None else last + 1
    )
    save_column(made, draft, stamps)
    return Filled(made.name, made.kind, made.n_known, made.n_known, is_new=True)
