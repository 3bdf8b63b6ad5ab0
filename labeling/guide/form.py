"""Read the form of a class's guide: its description, and any number of classes with a difference each."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.http import QueryDict

from hoshina.core.errors import Refusal
from hoshina.core.parsing import whole_number
from labeling.guide.guides import Guide


@dataclass
class GuideForm:
    """Hold the values of the form, as they were typed; ``rows`` are ids of classes (as text) and differences.

    ``seen`` is the version of the guide when the form was opened.
    """

    description: str = ""
    rows: list[tuple[str, str]] = field(default_factory=list)
    seen: str | None = None
    problem: Refusal | None = None

    @classmethod
    def of(cls, guide: Guide) -> GuideForm:
        """Return the form filled in with the current guide."""
        rows = [(str(confusion.label.pk), confusion.difference) for confusion in guide.confusions]
        return cls(guide.description, [*rows, ("", "")], guide.version)

    @classmethod
    def read(cls, query: QueryDict) -> GuideForm:
        """Return the form as it was sent."""
        rows = zip(query.getlist("confused"), query.getlist("difference"), strict=False)
        return cls(query.get("description", ""), list(rows), query.get("seen"))

    def confusions(self) -> dict[int, str]:
        """Return the differences by the id of the class. Raises Refusal if a class is missing or listed twice."""
        found: dict[int, str] = {}
        for text, difference in self.rows:
            if not text and not difference.strip():
                continue
            pk = whole_number(text)
            if pk is None:
                raise Refusal("Choose the class that each difference is about.", field="confused")
            if pk in found:
                raise Refusal("A class is listed twice.", "Remove one of the two.", field="confused")
            found[pk] = difference
        return found

    def add_row(self) -> None:
        """Add a blank row."""
        self.rows.append(("", ""))
