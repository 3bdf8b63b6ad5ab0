"""Assign roles to the columns of a label table: by their usual names, by the format, or as the user chose."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from hoshina.core.errors import Refusal
from labeling.tables.item_column import Key, column_of, key_of, key_rank, kind_of


class Role(StrEnum):
    """Name the meaning of a column."""

    IMAGE = "image"
    LABEL = "label"
    VOTES = "votes"
    UNSURE = "unsure"
    SKIPPED = "skipped"
    ANNOTATOR = "annotator"
    CONFIDENCE = "confidence"
    TIME = "time"
    FLAGGED = "flagged"
    TAGS = "tags"
    NOTES = "notes"
    FIELD = "field"
    IGNORED = "ignored"


TITLES: Mapping[Role, str] = {
    Role.IMAGE: "names the image",
    Role.LABEL: "label",
    Role.VOTES: "votes for the class of this name",
    Role.UNSURE: "unsure (true or false)",
    Role.SKIPPED: "skipped (true or false)",
    Role.ANNOTATOR: "annotator",
    Role.CONFIDENCE: "confidence of the label",
    Role.TIME: "time of the decision",
    Role.FLAGGED: "flag (true or false)",
    Role.TAGS: "tags",
    Role.NOTES: "notes",
    Role.FIELD: "metadata field",
    Role.IGNORED: "not imported",
}
# Several columns may have these roles.
_MANY = frozenset({Role.VOTES, Role.FIELD, Role.IGNORED})
# Roles of which a table needs at least one.
_WORTH = frozenset({Role.LABEL, Role.VOTES, Role.UNSURE, Role.SKIPPED, Role.FLAGGED, Role.TAGS, Role.NOTES, Role.FIELD})

# Names of label columns in lower case, in order of preference: those of HOSHINA, Label Studio, FiftyOne and Kaggle.
_OWN_LABELS = ("label", "class", "category")
_OTHER_LABELS = frozenset({
    "label_name", "class_name", "category_name", "class_label", "image_label", "choice", "ground_truth",
    "ground_truth.label", "target",
})  # fmt: skip
_NAMES: Mapping[str, Role] = {
    "was_unsure": Role.UNSURE, "skipped": Role.SKIPPED, "annotator": Role.ANNOTATOR, "annotated_by": Role.ANNOTATOR,
    "labeled_by": Role.ANNOTATOR, "labelled_by": Role.ANNOTATOR, "confidence": Role.CONFIDENCE,
    "label_confidence": Role.CONFIDENCE, "ground_truth.confidence": Role.CONFIDENCE, "labelled_at": Role.TIME,
    "labeled_at": Role.TIME, "flagged": Role.FLAGGED, "tags": Role.TAGS, "notes": Role.NOTES,
}  # fmt: skip
# Votes of Galaxy Zoo: the columns of the first question, and the part of the name that is the answer.
_KAGGLE_VOTES = re.compile(r"class1\.\d+", re.IGNORECASE)
_GALAXY_ZOO_2 = re.compile(r"(t\d\d)_.+_a\d\d_(.+)_(debiased|fraction)", re.IGNORECASE)
_GALAXY_ZOO_VOTES = re.compile(r"([a-z-]+)_([a-z0-9-]+)_(debiased|fraction)", re.IGNORECASE)
EXPECTED = (
    "Expected a table with columns: one that names the image (path, item_id, file_name, filepath, image, image_id, …, "
    "or the one you choose) and one with the label (optionally was_unsure and skipped)."
)


@dataclass(frozen=True)
class Choice:
    """Hold the options of an import; "" for those that are detected.

    ``key``: how items are named (path, item_id, name, sha256). ``key_column`` and ``label_column``: the columns to
    read. ``encoding``: the encoding of the file. ``same_numbers``: whether labels such as 1 and 01 are one class
    ("merge") or several ("keep"). ``roles``: roles of columns by header in lower case, or by index; they replace those
    that are detected. ``file_name``: the name of the file, from which its format may be recognized.
    """

    key: str = ""
    key_column: str = ""
    label_column: str = ""
    encoding: str = ""
    same_numbers: str = ""
    roles: Mapping[str | int, str] = field(default_factory=dict)
    file_name: str = ""


@dataclass(frozen=True)
class Columns:
    """Hold the roles of the columns of a table, by their index, and how the ``key`` column names items."""

    roles: tuple[Role, ...]
    key: str

    def place(self, role: Role) -> int | None:
        """Return the index of the column with the role."""
        return self.roles.index(role) if role in self.roles else None

    def places(self, role: Role) -> list[int]:
        """Return the indices of all columns with the role."""
        return [place for place, other in enumerate(self.roles) if other == role]


def rank(headers: Sequence[str], choice: Choice) -> int:
    """Return how well headers fit a label table; more is better."""
    is_label = bool(labels_in(headers, choice.label_column))
    return key_rank(headers, choice.key, choice.key_column) + is_label


def labels_in(headers: Sequence[str], column: str) -> list[int]:
    """Return the indices of columns that may contain the label; only the preferred one if it has a name of HOSHINA."""
    lower = [name.lower() for name in headers]
    if column:
        name_asked = " ".join(column.split()).lower()
        return [lower.index(name_asked)] if name_asked in lower else []
    own = [lower.index(name) for name in _OWN_LABELS if name in lower]
    return own[:1] or [place for place, name in enumerate(lower) if name in _OTHER_LABELS]


def columns_of(
    headers: Sequence[str], choice: Choice, format_roles: Mapping[str, str], sample: Sequence[Sequence[str]] = ()
) -> Columns:
    """Return the roles of the columns.

    ``format_roles`` are roles that the format defines, by header. ``sample`` has the first rows, by which columns of
    votes are recognized. Raises Refusal if a needed role is missing or ambiguous.
    """
    roles, key = detected(headers, choice, format_roles, sample)
    problem = problem_of(headers, roles, choice)
    if problem is not None:
        raise problem
    return Columns(tuple(roles), key)


def detected(
    headers: Sequence[str], choice: Choice, format_roles: Mapping[str, str], sample: Sequence[Sequence[str]] = ()
) -> tuple[list[Role], str]:
    """Return the role of each column, and how the key column names items; some may be missing or ambiguous."""
    for column in filter(None, (choice.key_column, choice.label_column)):
        column_of(headers, column)
    chosen = _chosen(headers, choice.roles)
    roles = [Role.IGNORED] * len(headers)
    for place, name in reversed(list(enumerate(headers))):
        role = Role(format_roles[name]) if name in format_roles else _NAMES.get(name.lower())
        if role is not None:
            roles = [Role.IGNORED if other == role and role not in _MANY else other for other in roles]
            roles[place] = role
    key = None if Role.IMAGE in chosen.values() else _key(headers, choice, roles)
    if key is not None:
        roles[key.place] = Role.IMAGE
    if Role.LABEL not in (*roles, *chosen.values()):
        for place in labels_in(headers, choice.label_column):
            roles[place] = Role.LABEL
    if not {Role.LABEL, Role.VOTES} & {*roles, *chosen.values()}:
        for place in _votes_in(headers, sample):
            if roles[place] == Role.IGNORED:
                roles[place] = Role.VOTES
    for place, role in chosen.items():
        roles[place] = role
    if key is None and Role.IMAGE in roles:
        place = roles.index(Role.IMAGE)
        key = Key(choice.key or kind_of(headers[place]), place)
    return roles, key.kind if key else ""


def problem_of(headers: Sequence[str], roles: Sequence[Role], choice: Choice) -> Refusal | None:
    """Return why a table can't be imported with these roles; None if it can."""
    for role in set(roles) - _MANY:
        places = [place for place, other in enumerate(roles) if other == role]
        if len(places) > 1:
            names = " and ".join(repr(headers[place]) for place in places[:3])
            if role == Role.LABEL and not choice.roles:
                return Refusal(f"The columns {names} may both contain the label. Choose one of them (--label COLUMN).")
            return Refusal(f"The columns {names} have the same meaning ({TITLES[role]}). Choose one of them.")
    missing = [
        *(["the column that names the images with --key COLUMN"] if Role.IMAGE not in roles else []),
        *(["the column of the labels with --label COLUMN"] if not _WORTH & set(roles) else []),
    ]
    if missing:
        shown = ", ".join(repr(name[:40]) for name in headers[:20])
        listed = f"The columns are {shown or 'none'}{' and more' if len(headers) > 20 else ''}."
        return Refusal(f"{listed} Choose {' and '.join(missing)}, or on the page. {EXPECTED}")
    return None


def answer_of(header: str) -> str:
    """Return the class that a column of votes is about."""
    match = _galaxy_zoo_match(header)
    return match[2] if match else header


def _galaxy_zoo_match(header: str) -> re.Match[str] | None:
    """Return the question, the answer, and the kind of number in a column of Galaxy Zoo."""
    return _GALAXY_ZOO_2.fullmatch(header) or _GALAXY_ZOO_VOTES.fullmatch(header)


def _key(headers: Sequence[str], choice: Choice, roles: Sequence[Role]) -> Key | None:
    if Role.IMAGE in roles and not choice.key_column:  # as the format says
        place = roles.index(Role.IMAGE)
        return Key(choice.key or kind_of(headers[place]), place)
    return key_of(headers, choice.key, choice.key_column)


def _chosen(headers: Sequence[str], roles: Mapping[str | int, str]) -> dict[int, Role]:
    chosen: dict[int, Role] = {}
    for column, name in roles.items():
        try:
            role = Role(name)
        except ValueError:
            hint = f"The meanings are {', '.join(Role)}."
            raise Refusal(f"There is no meaning {name[:40]!r} of a column.", hint) from None
        if isinstance(column, int):
            if column < len(headers):
                chosen[column] = role
        else:
            chosen[column_of(headers, column)] = role
    return chosen


def _votes_in(headers: Sequence[str], sample: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns that hold votes for a class each: those of Galaxy Zoo's first question, or shares of 1."""
    kaggle = [place for place, name in enumerate(headers) if _KAGGLE_VOTES.fullmatch(name)]
    if len(kaggle) > 1:
        return kaggle
    if galaxy_zoo := _galaxy_zoo(headers):
        return galaxy_zoo
    numeric = [place for place, name in enumerate(headers) if name and _are_shares(place, sample)]
    is_whole = sample and all(abs(sum(float(row[place]) for place in numeric) - 1) < 0.02 for row in sample)
    return numeric if len(numeric) > 1 and is_whole else []


def _galaxy_zoo(headers: Sequence[str]) -> list[int]:
    matches = [(place, match) for place, name in enumerate(headers) if (match := _galaxy_zoo_match(name))]
    if not matches:
        return []
    first = [(place, match) for place, match in matches if match[1] == matches[0][1][1]]
    kinds = {match[3].lower() for _, match in first}
    kind = "debiased" if "debiased" in kinds else "fraction"
    places = [place for place, match in first if match[3].lower() == kind]
    return places if len(places) > 1 else []


def _are_shares(place: int, sample: Sequence[Sequence[str]]) -> bool:
    try:
        return all(0 <= float(row[place]) <= 1 for row in sample)
    except (ValueError, IndexError):
        return False
