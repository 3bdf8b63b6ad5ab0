"""Jobs survive a machine whose clock is hours off: the same tests with a PostgreSQL server."""

import pytest

from tests.parts import run_on_postgresql

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


def test_liveness_by_the_time_of_the_server() -> None:
    run_on_postgresql("tests/jobs/test_lifecycle.py::test_a_clock_that_is_hours_off_kills_no_job")
