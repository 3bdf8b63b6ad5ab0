"""Rules that the tests themselves keep."""

import re
from pathlib import Path

from tests.parts import ROOT


def test_no_test_imports_another_test() -> None:
    """What tests share is in factories, conftest.py and other modules whose name does not begin with ``test_``."""
    files = sorted(Path(ROOT, "tests").rglob("*.py"))
    assert len(files) > 100
    pattern = re.compile(r"^\s*(?:from|import) tests\.(?:\w+\.)*test_", re.MULTILINE)
    assert [str(file.relative_to(ROOT)) for file in files if pattern.search(file.read_text(encoding="utf-8"))] == []
