"""The documentation site under the product's Content-Security-Policy, in a real browser."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from hoshina.web.docs import site_folder
from tests.browser.conftest import Site
from tests.parts import missing


@pytest.fixture(autouse=True)
def _built_site() -> None:
    if not (site_folder() / "index.html").is_file():
        missing("the documentation is not built: uv run --group docs zensical build --strict")


def test_pages_search_and_theme_work_without_another_server(site: Site, page: Page) -> None:
    """The fixture ``page`` fails on errors of scripts and on refusals by the policy."""
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.goto(f"{site.address}/docs/")
    expect(page.get_by_role("heading", name="HOSHINA", exact=False).first).to_be_visible()
    # It follows the system's dark theme.
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    page.wait_for_load_state("networkidle")  # the key is of use once the scripts of the page have run
    page.keyboard.press("/")
    page.keyboard.type("clopper pearson")
    expect(page.get_by_role("option").filter(has_text="Sweeps").first).to_be_visible()
    page.goto(f"{site.address}/docs/explanation/sweeps/")
    expect(page.get_by_role("heading", name=re.compile("How long a page is"))).to_be_visible()
    assert {host for host in hosts if host} == {urlsplit(site.address).netloc}


def test_the_question_mark_of_a_page_opens_its_documentation(site: Site, page: Page) -> None:
    site.dataset()
    page.goto(f"{site.address}/d/pictures/fields/")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Help: metadata fields").click()
    documentation = opened.value
    expect(documentation.get_by_role("heading", name=re.compile("Metadata fields"))).to_be_in_viewport()


def test_the_keys_lead_to_the_documentation(site: Site, page: Page) -> None:
    site.dataset()
    page.goto(f"{site.address}/d/pictures/?queue=all")
    page.locator("#grid .tile").first.wait_for()
    page.keyboard.press("?")
    expect(page.locator("#keys-docs")).to_have_attribute("href", "/docs/")
