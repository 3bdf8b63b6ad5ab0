"""Define what an export shows of a dataset: up to when, and whether people have names or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Min

from labeling.exporting.past import Past, past_of
from labeling.models import Annotation, Dataset


class Annotators:
    """Give the names that an export has for people."""

    def name_of(self, username: str | None) -> str:
        """Return the name of a person; "" for nobody."""
        return username or ""


class NumberedAnnotators(Annotators):
    """Give people numbers in the order of their first decisions, so that an export names nobody."""

    def __init__(self, dataset: Dataset) -> None:
        firsts = Annotation.objects.filter(item__dataset=dataset, annotator__isnull=False).order_by()
        names = firsts.values_list("annotator__username").annotate(first=Min("pk")).order_by("first")
        self._names = {username: f"annotator-{number}" for number, (username, _) in enumerate(names, 1)}

    def name_of(self, username: str | None) -> str:
        """Return ``annotator-1`` …; others, such as people who only wrote notes, follow as they occur."""
        if not username:
            return ""
        return self._names.setdefault(username, f"annotator-{len(self._names) + 1}")


@dataclass(frozen=True)
class Scope:
    """Tell what an export shows. ``past``: None for all decisions."""

    past: Past | None
    annotators: Annotators

    @property
    def until(self) -> datetime | None:
        """Return the time up to which tags and notes are shown; None for all."""
        return self.past.until if self.past else None


def scope_of(dataset: Dataset, as_of: str = "", *, is_numbered: bool = False) -> Scope:
    """Return the scope for options of an export. Raises Refusal for an impossible time."""
    return Scope(past_of(dataset, as_of), NumberedAnnotators(dataset) if is_numbered else Annotators())
