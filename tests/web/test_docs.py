"""The documentation site under ``/docs/``, and the links to it."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from hoshina.templatetags.docs import docs_link, docs_url
from tests.factories import assert_contains, not_none

pytestmark = pytest.mark.django_db

SCRIPT = "document.documentElement.dataset.theme = 'dark'"
PAGE = (
    f"<!doctype html><html><head><script>{SCRIPT}</script><script src='a.js'></script></head><body>Sweeps</body></html>"
)


@pytest.fixture
def site(tmp_path: Path, settings: Any) -> Path:
    """Make a small built site, with a secret beside it."""
    folder = tmp_path / "site"
    (folder / "explanation" / "sweeps").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>Home", encoding="utf-8")
    (folder / "explanation" / "sweeps" / "index.html").write_text(PAGE, encoding="utf-8")
    (folder / "a.js").write_text("export {};", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    settings.RESOURCES_DIR = tmp_path
    return folder


def test_pages_and_their_files(client: Client, site: Path) -> None:
    home = client.get("/docs/")
    assert (home.status_code, home["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"Home" in home.content
    assert client.get("/docs/a.js")["Content-Type"] == "text/javascript; charset=utf-8"
    assert b"Sweeps" in client.get("/docs/explanation/sweeps/").content
    assert client.post("/docs/").status_code == 405


def test_a_folder_without_its_slash_is_redirected(client: Client, site: Path) -> None:
    answer = client.get("/docs/explanation/sweeps")
    assert (answer.status_code, answer["Location"]) == (302, "/docs/explanation/sweeps/")


@pytest.mark.parametrize("path", ["missing/", "explanation/", "../secret.txt", "%2e%2e/secret.txt", "a.js/b", "a%00b"])
def test_nothing_else_is_served(client: Client, site: Path, path: str) -> None:
    assert client.get(f"/docs/{path}").status_code == 404


def test_a_page_is_not_sent_twice(client: Client, site: Path) -> None:
    first = client.get("/docs/explanation/sweeps/")
    again = client.get("/docs/explanation/sweeps/", headers={"if-none-match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    since = client.get("/docs/a.js", headers={"if-modified-since": client.get("/docs/a.js")["Last-Modified"]})
    assert since.status_code == 304
    (site / "explanation" / "sweeps" / "index.html").write_text(
        PAGE.replace("Sweeps", "Other sweeps"), encoding="utf-8"
    )
    assert client.get("/docs/explanation/sweeps/", headers={"if-none-match": first["ETag"]}).status_code == 200


@pytest.mark.parametrize("is_cached", [False, True])
def test_only_the_inline_scripts_of_the_page_are_allowed(client: Client, site: Path, is_cached: bool) -> None:
    url = "/docs/explanation/sweeps/"
    headers = {"if-none-match": client.get(url)["ETag"]} if is_cached else {}
    policy = client.get(url, headers=headers)["Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    scripts = not_none(re.search(r"script-src ([^;]*)", policy))
    assert scripts[1].split() == ["'self'", f"'sha256-{digest}'"]
    assert "sha256" not in client.get("/docs/")["Content-Security-Policy"]


def test_people_sign_in_first(client: Client, site: Path, settings: Any) -> None:
    settings.LOGIN_REQUIRED = True
    answer = client.get("/docs/explanation/sweeps/")
    assert (answer.status_code, answer["Location"]) == (302, "/sign-in/?next=/docs/explanation/sweeps/")


@pytest.fixture
def no_site(tmp_path: Path, settings: Any) -> Path:
    """Provide Markdown files and no built site."""
    files = {
        "index.md": "# Start\n\n![grid](images/grid.png){ width=48% } [sweeps](explanation/sweeps.md#two-words)\n",
        "explanation/index.md": "# Explanation\n\n[Up](../index.md), [file](../../README.md), [web](https://example.org)\n",
        "explanation/sweeps.md": "# Sweeps\n\n<!-- a comment -->\n\n## Two words\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "images/grid.png": "pixels",
    }
    for name, text in files.items():
        file = tmp_path / "docs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    settings.RESOURCES_DIR = tmp_path
    return tmp_path


def test_without_a_site_the_markdown_files_are_pages(client: Client, no_site: Path) -> None:
    start = client.get("/docs/").content.decode()
    assert_contains(start, 'src="/docs/images/grid.png"', 'href="/docs/explanation/sweeps/#two-words"', lacks=["48%"])
    page = client.get("/docs/explanation/sweeps/").content.decode()
    assert_contains(page, '<h2 id="two-words">', "<td>2</td>", "<title>Sweeps")
    section = client.get("/docs/explanation/").content.decode()
    assert_contains(section, 'href="/docs/"', 'href="../../README.md"', 'href="https://example.org"')
    assert b"".join(client.get("/docs/images/grid.png")) == b"pixels"


@pytest.mark.parametrize("path", ["nothing/", "../settings.py", "images/", "explanation/sweeps.html"])
def test_without_a_site_nothing_else_is_served(client: Client, no_site: Path, path: str) -> None:
    assert client.get(f"/docs/{path}").status_code == 404


def test_links_name_their_topic() -> None:
    assert docs_url("index") == "/docs/"
    assert docs_url("reference/formats#damaged-files") == "/docs/reference/formats/#damaged-files"
    link = docs_link("explanation/sweeps", "sweeps")
    assert 'href="/docs/explanation/sweeps/"' in link
    assert "Help: sweeps" in link


def linked_pages() -> list[tuple[str, str]]:
    """Return (template, page) for each link from a template to the documentation."""
    return [
        (path.name, page)
        for path in sorted(Path(settings.BASE_DIR, "templates").rglob("*.html"))
        for page in re.findall(r'{% docs_(?:link|url) "([^"]+)"', path.read_text(encoding="utf-8"))
    ]


def test_every_linked_page_exists() -> None:
    """An anchor is the heading in lower case, with dashes for spaces, without other signs."""
    links = linked_pages()
    assert len(links) >= 14
    missing = []
    for template, page in links:
        name, _, anchor = page.partition("#")
        file = next((f for f in (DOCS / f"{name}.md", DOCS / name / "index.md") if f.is_file()), None)
        if file is None or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            missing.append((template, page))
    assert missing == []


DOCS = Path(settings.BASE_DIR, "docs")


def anchors(markdown: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#{1,4} (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_pages_about_each_feature_are_linked() -> None:
    pages = {page.partition("#")[0] for _, page in linked_pages()}
    assert pages >= {
        "index", "explanation/queues", "explanation/sweeps", "explanation/map", "explanation/encoders",
        "explanation/audited-accuracy", "explanation/calibration", "explanation/quick-training",
        "reference/formats", "reference/tables", "reference/exports",
    }  # fmt: skip
