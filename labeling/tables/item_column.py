"""Find the column that names the items, by its usual names in HOSHINA and other programs or as chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hoshina.core.errors import Refusal

KEYS = ("path", "item_id", "name", "sha256")
# Keys of other programs: a path from any folder, or a file name with or without its extension.
ANY = "any"


@dataclass(frozen=True)
class Key:
    """Hold the column that names items: its index ``place``, and its ``kind``: path, item_id, name, sha256 or ANY."""

    kind: str
    place: int


# Names in lower case, in order of preference. Two columns of the same group of other programs are ambiguous.
_OWN = (("path", "path"), ("file", ANY), ("filename", ANY), ("item_id", "item_id"))
_OTHERS = (
    # Hugging Face, FiftyOne, timm, Keras.
    frozenset({"file_name", "filepath", "file_path", "image_path", "img_path", "image_file", "image_filename",
               "image_name", "img_name", "relative_path", "rel_path", "fname"}),
    # Label Studio and Kaggle.
    frozenset({"image", "img", "image_id", "img_id", "id_code"}),
    frozenset({"id"}),
    # Galaxy Zoo.
    frozenset({"galaxyid", "galaxy_id", "iauname"}),
)  # fmt: skip
# The hash of the file's content.
_HASHES = ("sha256", "sha_256")
# Columns for --key name if no column is chosen.
_NAMED = ("name", "image", "id", "path", "file", "filename")
# Columns that name items and are never metadata.
NEVER_FIELDS = frozenset({"path", "file", "filename", "item_id"})


def key_rank(headers: Sequence[str], kind: str = "", column: str = "") -> int:
    """Return 1 if some column may name the items by ``kind`` and ``column``, else 0."""
    return int(bool(_candidates(headers, kind, column)))


def key_of(headers: Sequence[str], kind: str = "", column: str = "") -> Key | None:
    """Find ``column``, or one with a usual name, that names the items. Raises Refusal if several are possible."""
    candidates = _candidates(headers, kind, column)
    if len(candidates) > 1:
        names = " and ".join(repr(headers[key.place]) for key in candidates[:3])
        raise Refusal(f"The columns {names} may both name the images. Choose one of them (--key COLUMN).")
    return candidates[0] if candidates else None


def column_of(headers: Sequence[str], column: str) -> int:
    """Return the index of the column that the user chose. Raises Refusal if there is no column of this name."""
    lower = [name.lower() for name in headers]
    wanted = " ".join(column.split()).lower()
    if wanted not in lower:
        shown = ", ".join(map(repr, headers[:20]))
        raise Refusal(f"There is no column {column!r}. The columns are {shown}.")
    return lower.index(wanted)


def _candidates(headers: Sequence[str], kind: str, column: str) -> list[Key]:
    lower = [name.lower() for name in headers]
    if column:
        chosen = " ".join(column.split()).lower()
        own = kind_of(chosen)
        return [Key(kind or own, lower.index(chosen))] if chosen in lower else []
    if kind == "name":
        named = next((name for name in _NAMED if name in lower), None)
        return [Key(kind, lower.index(named))] if named else _of_others(lower, kind)
    for name, own in _OWN:
        if name in lower and (not kind or kind == own or (kind == "path" and own == ANY)):
            return [Key(kind or own, lower.index(name))]
    if kind in ("", "sha256") and (hashes := [place for place, name in enumerate(lower) if name in _HASHES]):
        others = [] if kind else _of_others(lower, ANY)
        return others or [Key("sha256", place) for place in hashes]
    return _of_others(lower, kind or ANY) if kind not in ("item_id", "sha256") else []


def kind_of(header: str) -> str:
    """Return the kind of key that a column with this header has."""
    name = header.lower()
    return "sha256" if name in _HASHES else name if name in ("path", "item_id") else ANY


def _of_others(lower: Sequence[str], kind: str) -> list[Key]:
    for group in _OTHERS:
        if keys := [Key(kind, place) for place, name in enumerate(lower) if name in group]:
            return keys
    return []
