"""Add the record of all decisions to an export: annotations.csv with what it refers to, and annotations.parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from labeling.exporting.canonical_text import csv_line, json_bytes, moment
from labeling.exporting.past import Past
from labeling.exporting.registry import Contribution, Section, register
from labeling.exporting.scope import Scope
from labeling.exporting.sink import Sink
from labeling.exporting.zip_stream import Member
from labeling.history.classes import class_list
from labeling.history.columns import COLUMNS, FLAG, NUMBER, REAL, TIME
from labeling.history.decisions import Decisions
from labeling.history.parts import FOLDER, parts
from labeling.history.remarks import FILE as REMARKS
from labeling.history.remarks import remark_rows
from labeling.models import Action, Dataset

# A line has at most this many bytes, by the lengths of its columns, so that files of more lines may exceed 2 GiB.
_LINE_BYTES = 6_000
_AT_ONCE = 1_000
# Rows of a row group.
_GROUP = 50_000


# -- annotations.csv --------------------------------------------------------------------------------
def tables(dataset: Dataset, scope: Scope) -> Iterator[Member]:
    """Yield annotations.csv, and the files of the classes, rounds and models that it refers to."""
    decisions = Decisions(dataset, scope)
    yield Member("annotations.csv", _lines(decisions), len(decisions.ids) * _LINE_BYTES >= 2**31)
    yield Member(f"{FOLDER}/classes.json", [json_bytes(class_list(dataset, scope.past))])
    yield Member(f"{FOLDER}/actions.jsonl", _json_lines(_idle_actions(dataset, decisions, scope)))
    yield Member(REMARKS, _json_lines(remark_rows(dataset, scope)))
    for part in (*parts(), *parts(after_decisions=True)):
        yield Member(part.file, _json_lines(part.rows(dataset, scope)))


def _lines(decisions: Decisions) -> Iterator[bytes]:
    yield csv_line(COLUMNS).encode()
    for rows in decisions.rows():
        yield "".join(csv_line(map(_as_text, values)) for values in rows).encode()


def _as_text(value: object) -> object:
    return moment(value) if isinstance(value, datetime) else value


def _json_lines(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _idle_actions(dataset: Dataset, decisions: Decisions, scope: Scope) -> Iterator[dict[str, Any]]:
    """Yield the actions that changed no item, such as the undo of a decision that a later one had replaced.

    ``after``: the number of the last decision before it.
    """
    for action in _actions_without_decisions(dataset, scope.past):
        yield {
            "after": decisions.number_after(action.pk),
            "uuid": str(action.uuid),
            "kind": action.kind,
            "at": moment(action.created_at),
            "by": scope.annotators.name_of(action.annotator.get_username() if action.annotator else ""),
            "holder": action.holder,
            "undoes": str(action.undoes.uuid) if action.undoes else "",
        }


def _actions_without_decisions(dataset: Dataset, past: Past | None) -> Iterator[Action]:
    idle = Action.objects.filter(dataset=dataset, annotations=None).select_related("annotator", "undoes")
    if past is not None:
        idle = idle.filter(pk__lte=past.action_id)
    return idle.order_by("pk").iterator(chunk_size=_AT_ONCE)


# -- annotations.parquet ----------------------------------------------------------------------------
def parquet(dataset: Dataset, scope: Scope) -> Iterator[Member]:
    """Yield annotations.parquet, with the columns of annotations.csv and their types."""
    decisions = Decisions(dataset, scope)
    is_huge = len(decisions.ids) * _LINE_BYTES >= 2**31
    yield Member("annotations.parquet", _row_groups(decisions), is_huge)


def _row_groups(decisions: Decisions) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {NUMBER: pa.int64(), REAL: pa.float64(), TIME: pa.timestamp("us", tz="UTC"), FLAG: pa.bool_()}
    schema = pa.schema([(name, kinds.get(kind, pa.string())) for name, kind in COLUMNS.items()])

    def table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
        columns = list(zip(*rows, strict=True))
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)

    sink, waiting = Sink(), list[tuple[Any, ...]]()
    with pq.ParquetWriter(sink, schema, compression="snappy") as writer:
        for rows in decisions.rows():
            waiting += rows
            if len(waiting) >= _GROUP:
                writer.write_table(table(waiting))
                waiting.clear()
                yield sink.take()
        if waiting:
            writer.write_table(table(waiting))
    yield sink.take()


def _has_pyarrow(dataset: Dataset) -> str:
    return "" if find_spec("pyarrow") else "Parquet needs the Python package pyarrow: uv sync --extra parquet."


def _nothing(dataset: Dataset, is_wanted: bool) -> Contribution:
    return Contribution()


register(
    Section(
        name="annotations",
        title="Every decision with its history (annotations.csv), which can be imported again",
        contribute=_nothing,
        why_not=lambda dataset: "",
        tables=tables,
    )
)
register(
    Section(
        name="annotations-parquet",
        title="Every decision as a Parquet file (annotations.parquet)",
        contribute=_nothing,
        why_not=_has_pyarrow,
        tables=parquet,
        is_rare=True,
    )
)
