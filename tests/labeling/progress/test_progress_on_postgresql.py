"""The counts of decisions on PostgreSQL, which formats days otherwise."""

import pytest

from tests.parts import run_on_postgresql


@pytest.mark.postgres
def test_tallies_on_postgresql() -> None:
    run_on_postgresql("tests/labeling/progress/test_tallies.py", "tests/labeling/progress/test_pace.py")
