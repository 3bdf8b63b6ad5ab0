"""Build the controls with which a person filters by flag, tag and notes."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict

from labeling.models import FLAG, Dataset, Note
from labeling.notes.tags import tags_in_use
from sampling.queues.note_filter import NO_NOTE_FILTER, note_filter_from
from sampling.queues.strategy import BadParameter


def notes_form(dataset: Dataset, query: QueryDict) -> dict[str, Any] | None:
    """Return the context of the form's section on remarks, or None where there are none and no filter by them.

    Takes two queries for any dataset.
    """
    try:
        chosen = note_filter_from(query)
    except BadParameter:
        chosen = NO_NOTE_FILTER  # the grid reports the error
    names = list(tags_in_use(dataset).values_list("name", flat=True))
    has_notes = Note.objects.filter(dataset=dataset).exists()
    if not (names or has_notes or chosen):
        return None
    spelled = next((name for name in names if name.lower() == chosen.tag.lower()), "")
    return {
        "chosen": chosen,
        "tags": [name for name in names if name != FLAG],
        "tag": spelled or chosen.tag,
        # Conditions on tags that nobody uses any more: they stay until the person removes them.
        "lost": chosen.tag if chosen.tag and not spelled else "",
        "has_flags": FLAG in names or chosen.is_flagged,
        "has_notes": has_notes or chosen.is_noted,
        "rows": query.get("rows", "") if chosen.rows else "",
    }
