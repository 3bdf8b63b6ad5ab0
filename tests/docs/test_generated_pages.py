"""Pages of the documentation that are made from the code."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from django.conf import settings

from labeling.exporting.layouts import layouts

DOCS = Path(settings.BASE_DIR, "docs")
PAGES = (
    "reference/commands.md", "reference/settings.md", "reference/keys.md", "reference/queues.md",
    "reference/jobs.md", "reference/api.md", "adr/index.md",
)  # fmt: skip


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """Return the script ``docs/generate.py`` as a module."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_has_a_maker(generate: ModuleType) -> None:
    assert tuple(generate.PAGES) == PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(generate: ModuleType, name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == generate.PAGES[name](), "Run: uv run python docs/generate.py"


def test_the_table_of_layouts_is_what_the_code_says(generate: ModuleType) -> None:
    assert len(layouts()) > 1, "The environment is older than pyproject.toml: uv sync --group dev"
    for name, tables in generate.TABLES.items():
        page = (DOCS / name).read_text(encoding="utf-8")
        for table, make in tables.items():
            assert page == generate.with_table(page, table, make()), "Run: uv run python docs/generate.py"
            assert make() in page
    assert "| `parquet` | Parquet |" in page
    assert "| `coco` | pycocotools | classes, splits and counts equal | in the tests of every change |" in page


def test_what_the_pages_list(generate: ModuleType) -> None:
    commands = generate.commands_page()
    assert [f"## {name}\n" in commands for name in ("export", "ingest", "queue", "up", "worker")] == [True] * 5
    assert "`--with-predictions`" in commands
    assert "`--verbosity" not in commands
    assert "| `AL_ALLOWED_HOSTS` | `labels.example.org` |" in generate.settings_page()
    keys = generate.keys_page()
    assert any(line.startswith("| Undo") and line.endswith("| `Z` |") for line in keys.splitlines())
    assert "<" not in keys.removeprefix(generate.MARK)
    assert "**Auto** (`auto`)" in generate.queues_page()
    assert "| `retrain` |" in generate.jobs_page()
    assert "[1. SQLite by default" in generate.decisions_page()
