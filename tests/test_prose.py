"""The project's language: docstrings start with a verb; phrases and names that were replaced do not come back."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from tests.parts import ROOT

# One verb a line; add a verb there when a docstring needs a new one.
VERBS = frozenset(Path(ROOT, "tests", "verbs.txt").read_text(encoding="utf-8").split())
PACKAGES = ("hoshina", "labeling", "modeling", "sampling", "clients/python")
# Nowhere: metaphors, odd idioms and British spelling.
BANNED = (
    "by itself", "so many", "in words", "the way that", "dealt", "told", "sure enough", "take the mark off",
    "the surest", "is taken for", "belongs together", "whence", "learnt", "power cut", "by a hair", "honest",
    "somebody", "kept together", "data set", "is the truth", "made anew", "up to date with",
    "labelled", "colour", "grey", "neighbour", "behaviour", "licence", "centre", "favour", "normalis", "recognis",
)  # fmt: skip
# Not on pages and in messages.
BANNED_ON_PAGES = (*BANNED, "of its own", "by chance", "all of it\\b", "who runs", "of our own", "drawn at random")
_EVERYWHERE, _ON_PAGES = (
    re.compile(r"\b(?:" + "|".join(phrases) + ")", re.IGNORECASE) for phrases in (BANNED, BANNED_ON_PAGES)
)
# Texts that are stored with labels.
CONTRACTS = frozenset({"as one colour image"})
# Names that say nothing: "rows", "message" or "batch" do.
FILLERS = frozenset({"one", "told", "known", "kept", "words", "given", "mine", "asked", "those", "thing", "stuff"})
# Fields of dataclasses: the ranks that a round stores; the given labels of confident learning.
FIELDS = frozenset({"kept", "given"})
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
        found += [f"{file.relative_to(ROOT)}: {text.strip()}" for text in parser.texts if _ON_PAGES.search(text)]
    assert found == []


def test_no_script_shows_a_phrase_that_was_replaced() -> None:
    n_checked, found = 0, []
    for file in sorted(Path(ROOT, "static", "js").rglob("*.js")):
        for match in re.finditer(r"""(["'`])((?:\\.|(?!\1).)*)\1""", file.read_text(encoding="utf-8")):
            if re.search(r"\w \w+ \w", match[2]) and match[2] not in CONTRACTS:
                n_checked += 1
                if _ON_PAGES.search(match[2]):
                    found.append(f"{file.relative_to(ROOT)}: {match[2]}")
    assert n_checked > 100
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
            if _ON_PAGES.search(text):
                found.append(f"{name}:{line}: {text}")
    assert n_checked > 500
    assert found == []


def without_code(text: str) -> str:
    """Return prose without code spans and the targets of links, which may be contracts."""
    return re.sub(r"`+[^`]*`+|\]\([^)]*\)", " ", text)


def test_no_docstring_or_comment_has_a_phrase_that_was_replaced() -> None:
    n_checked, found = 0, []
    for name, module in modules(*PACKAGES):
        texts = [
            (getattr(node, "lineno", 1), ast.get_docstring(node) or "")
            for node in ast.walk(module)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        ]
        tokens = tokenize.generate_tokens(io.StringIO(Path(ROOT, name).read_text(encoding="utf-8")).readline)
        texts += [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
        n_checked += len(texts)
        found += [f"{name}:{line}: {text}" for line, text in texts if _EVERYWHERE.search(without_code(text))]
    assert n_checked > 3000
    assert found == []


def test_no_page_of_the_documentation_has_a_phrase_that_was_replaced() -> None:
    found = []
    for file in [*Path(ROOT).glob("*.md"), *Path(ROOT, "docs").rglob("*.md")]:
        text = re.sub(r"^```.*?^```", " ", file.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for match in _EVERYWHERE.finditer(without_code(text))]
    assert found == []


def test_no_variable_has_a_name_that_says_nothing() -> None:
    found = []
    for name, module in modules(*PACKAGES):
        fields = {
            id(field.target)
            for node in ast.walk(module)
            if isinstance(node, ast.ClassDef)
            for field in node.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id in FIELDS
        }
        for node in ast.walk(module):
            match node:
                case ast.Name(id=variable, ctx=ast.Store()) if variable in FILLERS and id(node) not in fields:
                    found.append(f"{name}:{node.lineno}: {variable}")
                case ast.arg(arg=variable) if variable in FILLERS:
                    found.append(f"{name}:{node.lineno}: {variable}")
    assert found == []
