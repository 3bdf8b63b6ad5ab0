"""Rules for the Markdown files of the repository."""

import re
from pathlib import Path

import pytest
from django.conf import settings

BASE = Path(settings.BASE_DIR)
LONGEST = 120
MOST_BYTES = 300_000


def markdown_files() -> list[Path]:
    """Return the Markdown files that belong to the project."""
    return sorted({*BASE.glob("*.md"), *BASE.glob("docs/**/*.md"), *BASE.glob(".github/**/*.md")})


def prose_of(file: Path) -> list[tuple[int, str]]:
    """Return the numbered lines outside of code, tables and front matter."""
    lines, is_code = [], False
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if re.match(r"\s*(```|~~~)", line):
            is_code = not is_code
        elif not is_code and not line.lstrip().startswith("|"):
            lines.append((number, line))
    return lines


def test_lines_are_short_enough() -> None:
    """The target of a link does not count: it cannot be broken."""
    files = markdown_files()
    assert len(files) > 40
    too_long = [
        f"{file.relative_to(BASE)}:{number}"
        for file in files
        for number, line in prose_of(file)
        if len(re.sub(r"\]\([^)]*\)", "]", line)) > LONGEST
    ]
    assert too_long == []


def test_the_readme_is_short() -> None:
    assert len((BASE / "README.md").read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_pictures_are_small() -> None:
    pictures = sorted([*BASE.glob("docs/images/*.png"), *BASE.glob("docs/images/screens/*.webp")])
    assert len(pictures) >= 100
    assert [picture.name for picture in pictures if picture.stat().st_size > MOST_BYTES] == []


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_path_named_exists(name: str) -> None:
    """A path is what stands in backticks and has a slash, or ends like a file of the repository."""
    missing = [path for path in named_paths((BASE / name).read_text(encoding="utf-8")) if not exists(path)]
    assert missing == []


def named_paths(text: str) -> list[str]:
    """Return the paths in backticks: no commands, no addresses, no placeholders."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    words = re.findall(r"`([^`\n]+)`", outside)
    return [
        word
        for word in words
        if re.fullmatch(r"[\w./*-]+", word)
        and not word.startswith(("/", "http"))
        and ("/" in word or re.search(r"\.(py|md|toml|yml|js|css|html|cff)$", word))
    ]


def exists(path: str) -> bool:
    """Return whether the path, which may hold ``*``, names something of the repository."""
    return any(True for _ in BASE.glob(path.rstrip("/")))


def test_paths_are_found_and_missed() -> None:
    text = "`hoshina/urls.py`, `uv run x/y`, `templates/*.html`, `/docs/`, `no/such.py` and `manage.py`"
    assert named_paths(text) == ["hoshina/urls.py", "templates/*.html", "no/such.py", "manage.py"]
    assert [exists(path) for path in named_paths(text)] == [True, True, False, True]


def test_each_linked_file_exists() -> None:
    """Links between the Markdown files outside of the site, which the strict build does not check."""
    missing = [
        f"{file.relative_to(BASE)}: {target}"
        for file in markdown_files()
        for target in re.findall(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)", file.read_text(encoding="utf-8"))
        if not (file.parent / target).exists()
    ]
    assert missing == []
