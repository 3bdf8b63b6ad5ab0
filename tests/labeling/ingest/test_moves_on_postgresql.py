"""Test moved files on PostgreSQL, because the statements for many rows are handwritten SQL."""

import pytest

from tests.parts import run_on_postgresql

TESTS = (
    "test_file_moves.py::test_renumbered_files_keep_their_labels",
    "test_group_moves.py::test_a_renamed_folder_keeps_all_items[True-{role}/{id}.png]",
    "test_group_moves.py::test_two_groups_that_changed_places",
    "test_moves_of_edited_groups.py::test_two_groups_that_changed_places_while_one_was_edited[True-target-{role}/{id}.png]",
    "test_moves_of_edited_groups.py::test_an_edited_file_that_came_before_the_others_makes_way",
    "test_group_writer.py::test_where_nothing_is_decided_files_can_be_grouped_otherwise",
    "test_group_writer.py::test_a_template_by_which_items_stay_the_same_keeps_their_labels",
)


@pytest.mark.postgres
def test_moved_files_keep_their_items_on_postgresql() -> None:
    run_on_postgresql(*(f"tests/labeling/ingest/{name}" for name in TESTS))
