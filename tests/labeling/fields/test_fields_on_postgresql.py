"""Fields on PostgreSQL: what finds items, fields and rounds in the database gives the same there."""

import pytest

from tests.parts import run_on_postgresql

IMPORT, EXPORT, CARDS = (f"tests/labeling/fields/test_{name}.py" for name in ("save_table", "export", "header_fields"))
QUEUES = "tests/sampling/queues/test_field_filter.py"
TESTS = (
    f"{IMPORT}::test_a_file_may_look_like_this",
    f"{IMPORT}::test_items_are_told_by_id_and_by_name",
    f"{IMPORT}::test_a_file_that_is_imported_again_changes_nothing",
    f"{IMPORT}::test_another_file_adds_columns_fills_in_and_corrects",
    f"{CARDS}::test_new_and_changed_files_are_read_after_an_ingest",
    f"{CARDS}::test_a_job_that_was_killed_reads_no_share_twice",
    f"{QUEUES}::test_a_filter_leaves_what_a_loop_over_the_items_leaves",
    f"{QUEUES}::test_an_address_is_kept_with_the_round_and_can_be_pulled_again",
    f"{QUEUES}::test_all_images_sorted_page_by_page",
    EXPORT,
    "tests/labeling/fields/test_split_groups.py",
)


@pytest.mark.postgres
def test_fields_are_imported_filtered_sorted_and_exported_on_postgresql() -> None:
    run_on_postgresql(*TESTS)
