"""The table of attacks in the documentation is that of the tests, with at least as many attempts as it says."""

import importlib
import inspect
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.parts import ROOT

TABLE = ROOT / "docs" / "explanation" / "attacks.md"
ROW = re.compile(r"^\| (?P<kind>[^|]+?) +\| (?P<n>\d+) +\|", re.MULTILINE)


def _functions(place: Any) -> Iterator[Any]:
    """Yield the tests of a module, also those of its classes."""
    for name, value in vars(place).items():
        if name.startswith("Test") and inspect.isclass(value):
            yield from _functions(value)
        elif name.startswith("test_") and inspect.isfunction(value):
            yield value


def _attempts() -> Counter[str]:
    """Count the attempts of each kind: a test, or each of its cases. Requests within one count once."""
    found: Counter[str] = Counter()
    for file in sorted((ROOT / "tests" / "security").glob("test_*.py")):
        for function in _functions(importlib.import_module(f"tests.security.{file.stem}")):
            marks = getattr(function, "pytestmark", [])
            cases = math.prod(len(mark.args[1]) for mark in marks if mark.name == "parametrize")
            found.update({mark.args[0]: cases for mark in marks if mark.name == "attack"})
    return found


def test_the_table_lists_what_is_tried() -> None:
    listed = {row["kind"]: int(row["n"]) for row in ROW.finditer(TABLE.read_text())}
    found = _attempts()
    assert sorted(listed) == sorted(found)
    assert [kind for kind, n in listed.items() if found[kind] < n] == []


def test_there_are_enough() -> None:
    found = _attempts()
    assert len(found) >= 25
    assert sum(found.values()) >= 300
