"""Several files that make one item: a template such as ``{id}_{role}.fits`` says which belong together. Pure.

A template is compared with the end of a file's path, as many folders deep as it has slashes. What lies above them
belongs to the id, so the same id in two folders means two items.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

# What the database keeps of a template, and of a role.
MAX_TEMPLATE = 200
MAX_ROLE = 40
# An item of more frames than this is no longer looked at as one.
MAX_ROLES = 16
_MOST_STARS = 2
_EXAMPLE = "Such as {id}_{role}.fits, {id}/{role}.png or {role}/{id}.fits."
# Orders that people expect; within bands by wavelength.
_USUAL_ORDER = (
    *("target", "sci", "science", "new", "ref", "reference", "template", "diff", "difference", "sub"),
    *("before", "pre", "after", "post"),
    *("u", "b", "g", "v", "r", "i", "z", "y", "j", "h", "k"),
    *("blue", "green", "red"),
)
_PIECE = re.compile(r"\{[^{}]*\}|\*|[{}]|[^{}*]+")


class GroupingProblem(ValueError):
    """Why a template can't be, in words for the person."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file belongs: the path of its item, and its role there."""

    group: str
    role: str


@dataclass(frozen=True)
class Template:
    """A template, read from its text by :meth:`read`.

    ``roles``: those that count, in their order; empty where every role does. ``{id}`` takes as many characters of a
    name as it can, ``{role}`` and ``*`` as few; of several named roles that would do, the longest is meant.
    """

    text: str
    roles: tuple[str, ...]
    _patterns: tuple[re.Pattern[str], ...]
    _any_role: re.Pattern[str] | None
    _n_slashes: int

    @classmethod
    def read(cls, text: str, roles: Sequence[str] = ()) -> Self:
        """From what a person wrote; ``roles`` stand for those of ``{role:target,ref,diff}`` in the text.

        Raises
        ------
        GroupingProblem
            It can't be a template.
        """
        pieces = _pieces(text.strip())
        named = _named_roles(pieces)
        if roles and named and tuple(roles) != named:
            raise GroupingProblem("The roles are named twice, and not alike.")
        named = named or _checked_roles(roles)
        pieces = ["{role}" if piece.startswith("{role") else piece for piece in pieces]
        _check(pieces, has_roles=bool(named))
        plain = "".join(pieces)
        told = plain.replace("{role}", f"{{role:{','.join(named)}}}") if named else plain
        if len(told) > MAX_TEMPLATE:
            raise GroupingProblem(f"A template has at most {MAX_TEMPLATE} characters, the names of its roles included.")
        any_role = _pattern(pieces, "[^/]+?")
        longest_first = sorted(named, key=len, reverse=True)
        patterns = tuple(_pattern(pieces, re.escape(role)) for role in longest_first) or (any_role,)
        return cls(told, named, patterns, None if _neighbours(pieces) else any_role, plain.count("/"))

    @property
    def plain(self) -> str:
        """The text without the roles."""
        return re.sub(r"\{role:[^}]*\}", "{role}", self.text)

    def place(self, path: str) -> Place | None:
        """Where the file at ``path`` (relative, with forward slashes) belongs; None where the template doesn't fit."""
        above, name = self._cut(path)
        for pattern in self._patterns:
            found = pattern.fullmatch(name)
            if found and len(found["role"]) <= MAX_ROLE:
                return Place(above + found["id"], found["role"])
        return None

    def other_role(self, path: str) -> str:
        """The role that a file without a place would have if all roles counted; empty where it has none."""
        found = self._any_role.fullmatch(self._cut(path)[1]) if self._any_role and self.roles else None
        return found["role"] if found else ""

    def why_not(self, path: str) -> str:
        """Why a file has no place, in words."""
        if role := self.other_role(path)[:MAX_ROLE]:
            shown = f"“{role}”" if role.isprintable() else ascii(role)
            return f"Its role would be {shown}, which is none of {', '.join(self.roles)}."
        if self._any_role and self._any_role.fullmatch(self._cut(path)[1]):
            return f"What it has in the place of its role is longer than {MAX_ROLE} characters."
        return f"It does not match the template {self.text} by which files are grouped."

    def _cut(self, path: str) -> tuple[str, str]:
        """The folders above, with a slash at their end, and the part that is compared."""
        parts = path.rsplit("/", self._n_slashes + 1)
        if len(parts) <= self._n_slashes + 1:
            return "", path
        return f"{parts[0]}/", path[len(parts[0]) + 1 :]


# -- Reading a template -------------------------------------------------------------------------------
def _pieces(text: str) -> list[str]:
    if not text:
        raise GroupingProblem(f"A template is needed. {_EXAMPLE}")
    if not text.isprintable():
        raise GroupingProblem("A template has no line breaks or invisible characters.")
    if "\\" in text:
        raise GroupingProblem("Write / between folders, on Windows too.")
    if text.startswith("/"):
        raise GroupingProblem("A template is compared with the end of a path: leave out the / at its beginning.")
    if text.endswith("/") or "//" in text:
        raise GroupingProblem(f"There is no name after a /. {_EXAMPLE}")
    return _PIECE.findall(text)


def _named_roles(pieces: Sequence[str]) -> tuple[str, ...]:
    """The roles that the template itself names: ``{role:target,ref,diff}``."""
    named = [piece[len("{role:") : -1] for piece in pieces if piece.startswith("{role:")]
    return _checked_roles(named[0].split(",")) if named else ()


def _checked_roles(roles: Sequence[str]) -> tuple[str, ...]:
    tidy = tuple(role.strip() for role in roles)
    for role in tidy:
        if not role or not role.isprintable() or re.search(r"[/\\{},*]", role):
            raise GroupingProblem(f"{role!r} is no name of a role. Such as target,ref,diff.")
        if len(role) > MAX_ROLE:
            raise GroupingProblem(f"The name of a role has at most {MAX_ROLE} characters.")
    if len(set(tidy)) < len(tidy):
        raise GroupingProblem("A role is named twice.")
    if len(tidy) > MAX_ROLES:
        raise GroupingProblem(f"An item has at most {MAX_ROLES} roles.")
    return tidy


def _check(pieces: Sequence[str], *, has_roles: bool) -> None:
    for piece in pieces:
        if piece in "{}":
            raise GroupingProblem(f"A {piece} stands alone. {_EXAMPLE}")
        if piece.startswith("{") and piece not in ("{id}", "{role}"):
            raise GroupingProblem(f"There is no {piece}: only {{id}} and {{role}}. {_EXAMPLE}")
    for name in ("{id}", "{role}"):
        if pieces.count(name) != 1:
            often = "has no" if name not in pieces else "may have only one"
            raise GroupingProblem(f"The template {often} {name}. {_EXAMPLE}")
    if pieces.count("*") > _MOST_STARS:
        raise GroupingProblem(f"A template may have {_MOST_STARS} * at most.")
    for one, other in _neighbours(pieces):
        if "*" in (one, other) or not has_roles:
            raise GroupingProblem(f"Between {one} and {other} there has to be something, such as _ or /.")


def _neighbours(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """Pieces that may be anything, with nothing between them."""
    return [(one, other) for one, other in pairwise(pieces) if one[0] in "{*" and other[0] in "{*"]


def _pattern(pieces: Iterable[str], role: str) -> re.Pattern[str]:
    told = {"{id}": "(?P<id>[^/]+)", "{role}": f"(?P<role>{role})", "*": "[^/]*?"}
    return re.compile("".join(told.get(piece) or re.escape(piece) for piece in pieces), re.DOTALL)


# -- Roles --------------------------------------------------------------------------------------------
def in_order(roles: Iterable[str]) -> list[str]:
    """Roles in the order in which people expect them: known ones first, the others by name, numbers by value."""
    return sorted(set(roles), key=_order_key)


def _order_key(role: str) -> tuple[int, list[tuple[int, str]], str]:
    small = role.casefold()
    known = _USUAL_ORDER.index(small) if small in _USUAL_ORDER else len(_USUAL_ORDER)
    parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", small) if part]
    return known, parts, role
