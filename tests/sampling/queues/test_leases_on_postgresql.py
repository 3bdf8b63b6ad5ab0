"""Leases, provenance and the count of new labels on PostgreSQL, which takes nulls, ranges and bytes otherwise."""

import pytest

from tests.parts import run_on_postgresql

TESTS = (
    "sampling/queues/test_leases.py",
    "sampling/queues/test_provenance.py",
    "modeling/assistive/test_policy.py",
    "labeling/decisions/test_save.py::test_actions_from_before_keep_their_undo_but_not_the_session_key",
)


@pytest.mark.postgres
def test_leases_and_provenance_on_postgresql() -> None:
    run_on_postgresql(*(f"tests/{name}" for name in TESTS))
