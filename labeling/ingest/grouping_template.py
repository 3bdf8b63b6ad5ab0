"""Group several files into one item with a template such as ``{id}_{role}.fits``.

A template is matched against the end of a file's path, with as many folders as it has slashes. The folders above become
part of the ID, so that the same ID in two folders belongs to two items.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

# Largest lengths that the database accepts.
MAX_TEMPLATE = 200
MAX_ROLE = 40
# Items with more frames would be too large to view at once.
MAX_ROLES = 16
_MOST_STARS = 2
_EXAMPLE = "Examples: {id}_{role}.fits, {id}/{role}.png, {role}/{id}.fits."
# The usual order of common roles. Bands are ordered by wavelength.
_USUAL_ORDER = (
    *("target", "sci", "science", "new", "ref", "reference", "template", "diff", "difference", "sub"),
    *("before", "pre", "after", "post"),
    *("u", "b", "g", "v", "r", "i", "z", "y", "j", "h", "k"),
    *("blue", "green", "red"),
)
_PIECE = re.compile(r"\{[^{}]*\}|\*|[{}]|[^{}*]+")


class GroupingProblem(ValueError):
    """An invalid template, with a message for the user."""


@dataclass(frozen=True, slots=True)
class Place:
    """The path of the item that a file belongs to, and its role there."""

    group: str
    role: str


@dataclass(frozen=True)
class Template:
    """A template, parsed from its text by :meth:`read`.

    ``roles``: the roles to use, in order; empty for all. ``{id}`` matches as many characters as possible, ``{role}``
    and ``*`` as few. If several named roles match, the longest is used.
    """

    text: str
    roles: tuple[str, ...]
    _patterns: tuple[re.Pattern[str], ...]
    _any_role: re.Pattern[str] | None
    _n_slashes: int

    @classmethod
    def read(cls, text: str, roles: Sequence[str] = ()) -> Self:
        """Parse a template, which may name its ``roles``: ``{role:target,ref}``. Raises GroupingProblem if invalid."""
        pieces = _pieces(text.strip())
        named = _named_roles(pieces)
        if roles and named and tuple(roles) != named:
            raise GroupingProblem("The roles are given twice and differ. Give them once.")
        named = named or _checked_roles(roles)
        pieces = ["{role}" if piece.startswith("{role") else piece for piece in pieces]
        _check(pieces, has_roles=bool(named))
        plain = "".join(pieces)
        canonical = plain.replace("{role}", f"{{role:{','.join(named)}}}") if named else plain
        if len(canonical) > MAX_TEMPLATE:
            raise GroupingProblem(f"A template must have at most {MAX_TEMPLATE} characters, including role names.")
        any_role = _pattern(pieces, "[^/]+?")
        longest_first = sorted(named, key=len, reverse=True)
        patterns = tuple(_pattern(pieces, re.escape(role)) for role in longest_first) or (any_role,)
        return cls(canonical, named, patterns, None if _adjacent_wildcards(pieces) else any_role, plain.count("/"))

    @property
    def plain(self) -> str:
        """Return the text without the names of roles."""
        return re.sub(r"\{role:[^}]*\}", "{role}", self.text)

    def place(self, path: str) -> Place | None:
        """Return the place of the file at ``path`` (relative, with forward slashes); None if it does not match."""
        above, name = self._cut(path)
        for pattern in self._patterns:
            match = pattern.fullmatch(name)
            if match and len(match["role"]) <= MAX_ROLE:
                return Place(above + match["id"], match["role"])
        return None

    def other_role(self, path: str) -> str:
        """Return the role that a file without a place would have if all roles were used; empty if it has none."""
        match = self._any_role.fullmatch(self._cut(path)[1]) if self._any_role and self.roles else None
        return match["role"] if match else ""

    def why_not(self, path: str) -> str:
        """Return the reason why a file has no place."""
        if role := self.other_role(path)[:MAX_ROLE]:
            shown = f"“{role}”" if role.isprintable() else ascii(role)
            return f"Its role would be {shown}, which is not one of {', '.join(self.roles)}."
        if self._any_role and self._any_role.fullmatch(self._cut(path)[1]):
            return f"The part that is its role is longer than {MAX_ROLE} characters."
        return f"It does not match the template {self.text}, which groups the files."

    def _cut(self, path: str) -> tuple[str, str]:
        """Return the folders above, with a slash at the end, and the part that is matched."""
        parts = path.rsplit("/", self._n_slashes + 1)
        if len(parts) <= self._n_slashes + 1:
            return "", path
        return f"{parts[0]}/", path[len(parts[0]) + 1 :]


# -- Reading a template -------------------------------------------------------------------------------
def _pieces(text: str) -> list[str]:
    if not text:
        raise GroupingProblem(f"Enter a template. {_EXAMPLE}")
    if not text.isprintable():
        raise GroupingProblem("A template must not contain line breaks or invisible characters.")
    if "\\" in text:
        raise GroupingProblem("Use / between folders, also on Windows.")
    if text.startswith("/"):
        raise GroupingProblem("A template is matched against the end of a path: remove the / at its beginning.")
    if text.endswith("/") or "//" in text:
        raise GroupingProblem(f"A name is missing after a /. {_EXAMPLE}")
    return _PIECE.findall(text)


def _named_roles(pieces: Sequence[str]) -> tuple[str, ...]:
    """Return the roles that the template names, as in ``{role:target,ref,diff}``."""
    named = [piece[len("{role:") : -1] for piece in pieces if piece.startswith("{role:")]
    return _checked_roles(named[0].split(",")) if named else ()


def _checked_roles(roles: Sequence[str]) -> tuple[str, ...]:
    tidy = tuple(role.strip() for role in roles)
    for role in tidy:
        if not role or not role.isprintable() or re.search(r"[/\\{},*]", role):
            raise GroupingProblem(f"{role!r} is not a valid role name. Example: target,ref,diff.")
        if len(role) > MAX_ROLE:
            raise GroupingProblem(f"The name of a role must have at most {MAX_ROLE} characters.")
    if len(set(tidy)) < len(tidy):
        raise GroupingProblem("A role is named twice. Name it once.")
    if len(tidy) > MAX_ROLES:
        raise GroupingProblem(f"An item can have at most {MAX_ROLES} roles.")
    return tidy


def _check(pieces: Sequence[str], *, has_roles: bool) -> None:
    for piece in pieces:
        if piece in "{}":
            raise GroupingProblem(f"There is a single {piece}. {_EXAMPLE}")
        if piece.startswith("{") and piece not in ("{id}", "{role}"):
            raise GroupingProblem(f"{piece} is unknown: use only {{id}} and {{role}}. {_EXAMPLE}")
    for name in ("{id}", "{role}"):
        if pieces.count(name) != 1:
            problem = "must contain" if name not in pieces else "may contain only one"
            raise GroupingProblem(f"The template {problem} {name}. {_EXAMPLE}")
    if pieces.count("*") > _MOST_STARS:
        raise GroupingProblem(f"A template may contain at most {_MOST_STARS} *.")
    for left, right in _adjacent_wildcards(pieces):
        if "*" in (left, right) or not has_roles:
            raise GroupingProblem(f"Put a separator, such as _ or /, between {left} and {right}.")


def _adjacent_wildcards(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of wildcards without a separator between them."""
    return [(left, right) for left, right in pairwise(pieces) if left[0] in "{*" and right[0] in "{*"]


def _pattern(pieces: Iterable[str], role: str) -> re.Pattern[str]:
    expressions = {"{id}": "(?P<id>[^/]+)", "{role}": f"(?P<role>{role})", "*": "[^/]*?"}
    return re.compile("".join(expressions.get(piece) or re.escape(piece) for piece in pieces), re.DOTALL)


# -- Roles --------------------------------------------------------------------------------------------
def in_order(roles: Iterable[str]) -> list[str]:
    """Return roles in their usual order: common roles first, the others by name, numbers by value."""
    return sorted(set(roles), key=_order_key)


def has_usual_roles(roles: Iterable[str]) -> bool:
    """Return whether all roles have common names."""
    return all(role.casefold() in _USUAL_ORDER for role in roles)


def _order_key(role: str) -> tuple[int, list[tuple[int, str]], str]:
    small = role.casefold()
    position = _USUAL_ORDER.index(small) if small in _USUAL_ORDER else len(_USUAL_ORDER)
    parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", small) if part]
    return position, parts, role
