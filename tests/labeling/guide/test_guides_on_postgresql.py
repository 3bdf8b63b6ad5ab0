"""The class guide on PostgreSQL: what classes, items and datasets leave of it is the same there."""

import pytest

from tests.parts import run_on_postgresql


@pytest.mark.postgres
def test_guides_on_postgresql() -> None:
    run_on_postgresql("tests/labeling/guide/test_guides.py", "tests/sampling/guide/test_views.py")
