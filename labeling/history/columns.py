"""Define the columns of annotations.csv and annotations.parquet: one line per decision, in order."""

from __future__ import annotations

# The kinds of values, which decide how they are written and read.
NUMBER, REAL, TEXT, TIME, FLAG = "number", "real", "text", "time", "flag"

COLUMNS: dict[str, str] = {
    "number": NUMBER,
    "item_id": NUMBER,
    "path": TEXT,
    "sha256": TEXT,
    "state": TEXT,
    "label": TEXT,
    "label_id": NUMBER,
    "previous": NUMBER,
    "content_changed_after": FLAG,
    "decided_at": TIME,
    "seconds": REAL,
    "annotator": TEXT,
    "queue": TEXT,
    "round": NUMBER,
    "rank": NUMBER,
    "score": REAL,
    "selection_probability": REAL,
    "is_random_draw": FLAG,
    "model_version": NUMBER,
    "suggestion_shown": FLAG,
    "suggested_label": TEXT,
    "suggested_label_id": NUMBER,
    "suggested_probability": REAL,
    "rendering": TEXT,
    "action": TEXT,
    "action_kind": TEXT,
    "action_at": TIME,
    "action_by": TEXT,
    "holder": TEXT,
    "undoes": TEXT,
    "undone_by": TEXT,
}
