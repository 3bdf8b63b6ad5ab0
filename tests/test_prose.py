"""The project's language: docstrings start with a verb, and phrases that were replaced do not come back."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from tests.parts import ROOT

# One verb a line; add a verb there when a docstring needs a new one.
VERBS = frozenset(Path(ROOT, "tests", "verbs.txt").read_text(encoding="utf-8").split())
PACKAGES = ("hoshina", "labeling", "modeling", "sampling")
BANNED = (
    "by itself", "of its own", "so many", "in words", "the way that", "dealt", "told", "by chance", "sure enough",
    "labelled", "colour", "grey", "neighbour", "take the mark off", "all of it", "the surest", "is taken for",
    "belongs together", "whence", "learnt",
)  # fmt: skip
_PATTERN = re.compile(r"\b(?:" + "|".join(BANNED) + r")", re.IGNORECASE)
_SPOKEN = frozenset({"title", "aria-label", "placeholder", "alt"})


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for file in sorted(Path(ROOT, folder).rglob("*.py")):
            if "migrations" not in file.parts:
                yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def test_docstrings_of_functions_and_modules_start_with_a_verb() -> None:
    """As PEP 257 asks: "Return the rows …", not "The rows …". Classes are things and may start with a noun."""
    n_checked, wrong = 0, []
    for name, module in modules(*PACKAGES, "benchmarks", "tests"):
        for node in ast.walk(module):
            if not isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            text = ast.get_docstring(node)
            # Tests say what holds; Django's and pytest's own hooks are named by them.
            if text is None or (
                name.startswith("tests/") and (isinstance(node, ast.Module) or node.name[:4] == "test")
            ):
                continue
            n_checked += 1
            first = re.match(r"\w+", text)
            if first is None or first[0] not in VERBS:
                wrong.append(f"{name}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}")
    assert n_checked > 1500
    assert wrong == []


class _VisibleText(HTMLParser):
    """Collects what a reader sees or hears of a template."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [value for name, value in attrs if name in _SPOKEN and value]


def test_no_template_shows_a_phrase_that_was_replaced() -> None:
    found = []
    for file in sorted(Path(ROOT, "templates").rglob("*.html")):
        source = re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}", " ", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        parser = _VisibleText()
        parser.feed(source)
        found += [f"{file.relative_to(ROOT)}: {text.strip()}" for text in parser.texts if _PATTERN.search(text)]
    assert found == []


def sentences(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the string constants that read like sentences, docstrings aside, with their lines."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        if is_text and re.search(r"\w \w+ \w", node.value):
            yield node.lineno, node.value


def test_no_message_has_a_phrase_that_was_replaced() -> None:
    n_checked, found = 0, []
    for name, module in modules(*PACKAGES):
        for line, text in sentences(module):
            n_checked += 1
            if _PATTERN.search(text):
                found.append(f"{name}:{line}: {text}")
    assert n_checked > 500
    assert found == []
