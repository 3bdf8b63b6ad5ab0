"""Moved files on PostgreSQL: the statements for many rows at once are our own, so they are tried there too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.conf import settings

from tests.parts import postgres_server

TESTS = (
    "test_moving.py::test_renumbered_files_keep_their_labels",
    "test_moving_groups.py::test_a_renamed_folder_keeps_all_items[True-{role}/{id}.png]",
    "test_moving_groups.py::test_two_groups_that_changed_places",
    "test_moving_edited_groups.py::test_two_groups_that_changed_places_while_one_was_edited[True-target-{role}/{id}.png]",
    "test_moving_edited_groups.py::test_an_edited_file_that_came_before_the_others_makes_way",
    "test_ingest_groups.py::test_where_nothing_is_decided_files_can_be_grouped_otherwise",
    "test_ingest_groups.py::test_a_template_by_which_items_stay_the_same_keeps_their_labels",
)


@pytest.mark.postgres
def test_moved_files_keep_their_items_on_postgresql() -> None:
    with postgres_server() as url:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AL_", "PYTEST_"))}
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *(f"tests/labeling/{name}" for name in TESTS)],
            env=environment | {"AL_DATABASE_URL": url},
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "skipped" not in ran.stdout
