"""Numbers with their nouns, and no number that is stuck to a plural."""

import re

import pytest

from hoshina.core.plural import counted
from tests.parts import ROOT

NOUNS = "images|items|labels|files|epochs|decisions|pairs|groups|checks|classes|rows|values|jobs"


@pytest.mark.parametrize(("n", "words"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1234, "1,234 images")])
def test_counted(n: int, words: str) -> None:
    assert counted(n, "image") == words


def test_counted_with_a_plural_of_its_own() -> None:
    assert (counted(1, "class", "classes"), counted(3, "class", "classes")) == ("1 class", "3 classes")


def test_no_template_sticks_a_plural_to_a_number() -> None:
    """A number that may be 1 takes ``pluralize``. Constants of more than one are named here."""
    # A quick training takes 20 labels; a single example has words of its own.
    always_many = ("min_audit", "check.facts.n_labelled", "examples.n")
    found = []
    for template in (ROOT / "templates").rglob("*.html"):
        for number, noun in re.findall(rf"\{{\{{ ?([^}}]+?) ?\}}\}}(?:</b>)? ({NOUNS})\b", template.read_text()):
            if not any(name in number for name in always_many):
                found.append(f"{template.relative_to(ROOT)}: {{{{ {number} }}}} {noun}")
    assert not found, found
