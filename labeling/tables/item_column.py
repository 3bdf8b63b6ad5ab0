"""Which column names the item: by the names that this and other programs use, or as the person chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labeling.tables.encoding import TableProblem

KEYS = ("path", "item_id", "name")
# A key of other programs: a path, whatever folder it begins in, or a file name with or without its ending.
ANY = "any"


@dataclass(frozen=True)
class Key:
    """The column at ``place`` names the item by ``kind``: path, item_id, name or ANY."""

    kind: str
    place: int


# Names in lower case, surest first. Within a group of other programs' names, two columns are an ambiguity.
_OWN = (("path", "path"), ("file", ANY), ("filename", ANY), ("item_id", "item_id"))
_OTHERS = (
    # Hugging Face, FiftyOne, timm, Keras.
    frozenset({"file_name", "filepath", "file_path", "image_path", "img_path", "image_file", "image_filename",
               "image_name", "img_name", "relative_path", "rel_path", "fname"}),
    # Label Studio and Kaggle.
    frozenset({"image", "img", "image_id", "img_id", "id_code"}),
    frozenset({"id"}),
)  # fmt: skip
# Columns for --key name, where no column is chosen.
_NAMED = ("name", "image", "id", "path", "file", "filename")
# These name items and are never metadata.
NEVER_FIELDS = frozenset({"path", "file", "filename", "item_id"})


def key_rank(headers: Sequence[str], kind: str = "", column: str = "") -> int:
    """1 where some column may name the items as asked for, else 0."""
    return int(bool(_candidates(headers, kind, column)))


def key_of(headers: Sequence[str], kind: str = "", column: str = "") -> Key | None:
    """Find the column that names the items: ``column`` if one is asked for, else by the names that programs use.

    Raises
    ------
    TableProblem
        Several columns may be it.
    """
    found = _candidates(headers, kind, column)
    if len(found) > 1:
        names = " and ".join(repr(headers[key.place]) for key in found[:3])
        raise TableProblem(f"The columns {names} may both name the images. Choose one of them (--key COLUMN).")
    return found[0] if found else None


def column_of(headers: Sequence[str], column: str) -> int:
    """Return the place of a column that a person chose.

    Raises
    ------
    TableProblem
        There is none of that name.
    """
    lower = [name.lower() for name in headers]
    asked = " ".join(column.split()).lower()
    if asked not in lower:
        shown = ", ".join(map(repr, headers[:20]))
        raise TableProblem(f"There is no column {column!r}. The columns are {shown}.")
    return lower.index(asked)


def _candidates(headers: Sequence[str], kind: str, column: str) -> list[Key]:
    lower = [name.lower() for name in headers]
    if column:
        asked = " ".join(column.split()).lower()
        own = {"path": "path", "item_id": "item_id"}.get(asked, ANY)
        return [Key(kind or own, lower.index(asked))] if asked in lower else []
    if kind == "name":
        named = next((name for name in _NAMED if name in lower), None)
        return [Key(kind, lower.index(named))] if named else _of_others(lower, kind)
    for name, own in _OWN:
        if name in lower and (not kind or kind == own or (kind == "path" and own == ANY)):
            return [Key(kind or own, lower.index(name))]
    return _of_others(lower, kind or ANY) if kind != "item_id" else []


def _of_others(lower: Sequence[str], kind: str) -> list[Key]:
    for group in _OTHERS:
        if found := [Key(kind, place) for place, name in enumerate(lower) if name in group]:
            return found
    return []
