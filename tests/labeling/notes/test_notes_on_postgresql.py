"""Tags, notes, views and the search on PostgreSQL: what is unique, filtered and found is the same there."""

import pytest

from tests.parts import run_on_postgresql


@pytest.mark.postgres
def test_notes_on_postgresql() -> None:
    run_on_postgresql(
        "tests/labeling/notes/test_tags.py",
        "tests/labeling/notes/test_views.py",
        "tests/labeling/exporting/test_remarks.py",
        "tests/labeling/decisions/test_recent.py",
        "tests/sampling/queues/test_note_filter.py",
        "tests/sampling/queues/test_saved_views.py",
        "tests/sampling/queues/test_search.py",
    )
