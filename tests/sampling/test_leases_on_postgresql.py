"""Leases, provenance and the count of new labels on PostgreSQL, which takes nulls, ranges and bytes otherwise."""

from __future__ import annotations

import pytest

from tests.parts import run_on_postgresql

TESTS = (
    "sampling/test_leases.py",
    "sampling/test_provenance.py",
    "modeling/test_policy.py",
    "labeling/test_actions.py::test_actions_from_before_keep_their_undo_but_not_the_session_key",
)


@pytest.mark.postgres
def test_leases_and_provenance_on_postgresql() -> None:
    run_on_postgresql(*(f"tests/{name}" for name in TESTS))
