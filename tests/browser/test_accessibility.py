"""Accessibility of every page and of labeling itself: axe, and what a screen reader gets."""

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from labeling.models import Annotation, Dataset
from tests.browser.axe import require_accessible
from tests.browser.bench import Bench
from tests.browser.conftest import Site
from tests.browser.factories import add_falling_model
from tests.browser.pages import PAGES
from tests.factories import decide
from tests.security.addresses import paths

# Pages of other tests: the page of signing in, and the documentation, which has its own style.
ELSEWHERE = {"/sign-in/", "/docs/", "/docs/index"}
IS_PAGE = """async path => {
    const response = await fetch(path);
    const isHtml = (response.headers.get('Content-Type') || '').startsWith('text/html');
    const isPage = response.ok && isHtml && /^\\s*<!doctype/i.test(await response.text());
    return isPage ? new URL(response.url).pathname : null;
}"""


def test_every_page_of_the_site_is_among_the_pages(page: Page, site: Site, furnished: Dataset) -> None:
    """A new page joins the tests of accessibility by failing here."""
    page.goto(f"{site.address}/datasets/")
    found = {address for _, path in paths(furnished) if (address := page.evaluate(IS_PAGE, path))}
    among = {re.sub(r"\d+", "N", path.partition("?")[0]) for path in PAGES.values()}
    home = {"/d/empty/", "/admin/labeling/labelclass/"}  # the workbench, and a list of the admin
    assert {re.sub(r"\d+", "N", one) for one in found - ELSEWHERE - home} <= among


# -- Axe, beyond the pages themselves ---------------------------------------------------------------
def test_a_workbench_of_a_hundred_small_tiles_with_suggestions(page: Page, site: Site) -> None:
    dataset = site.dataset(130)
    add_falling_model(dataset)
    page.add_init_script("localStorage.setItem('hoshina:tile-size', '64')")
    bench = Bench(page, site.address, dataset).open("queue=all&state=unlabelled")
    assert bench.n_tiles() >= 100
    expect(bench.tiles.first.locator(".suggestion")).to_contain_text("%")
    bench.press("1", "ArrowRight", "0", "x", "Shift+ArrowRight")
    require_accessible(page)


@pytest.mark.parametrize("key", ["Control+k", "y", "g", "w", "e", "i", ";", "Shift+#"])
def test_dialogs_and_layers_of_the_workbench(bench: Bench, page: Page, key: str) -> None:
    for row in range(6):
        decide(bench.dataset, "assign", [row], ("cat", "dog")[row % 2])
    add_falling_model(bench.dataset)
    bench.open("queue=all&state=unlabelled")
    bench.press(key)
    page.wait_for_load_state("networkidle")
    require_accessible(page)


def test_a_sweep_and_its_marks(bench: Bench, page: Page) -> None:
    add_falling_model(bench.dataset)
    bench.open("queue=sweep")
    bench.press("Space")
    require_accessible(page)


def test_the_sheet_of_a_phone(browser: Browser, site: Site, furnished: Dataset) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(site.address + PAGES["workbench"])
    page.locator("#open-filters").tap()
    expect(page.locator("#queues-slot")).to_be_visible()
    require_accessible(page)
    context.close()


# -- Screen readers -----------------------------------------------------------------------------------
def announcement(page: Page) -> Locator:
    return page.locator("#announcements[aria-live='polite']")


def option(page: Page, name: str) -> Locator:
    return page.get_by_role("listbox", name="Images").get_by_role("option", name=re.compile(name))


def test_labeling_by_roles_names_and_announcements(page: Page, site: Site) -> None:
    """Label, undo, select, skip and turn the page, found by roles and names only."""
    dataset = site.dataset(60)
    page.goto(f"{site.address}/d/pictures/?queue=all&state=unlabelled")
    images = page.get_by_role("listbox", name="Images")
    expect(images).to_have_attribute("aria-multiselectable", "true")
    first = option(page, "^image0000.png")
    expect(first).to_be_focused()
    expect(first).to_have_accessible_name("image0000.png, unlabeled")
    expect(page.get_by_role("button", name=re.compile("cat"))).to_be_visible()

    page.keyboard.press("1")
    expect(first).to_have_accessible_name("image0000.png, labeled cat")
    expect(announcement(page)).to_contain_text("cat")
    expect(option(page, "^image0001.png")).to_be_focused()

    page.keyboard.press("z")
    expect(page.get_by_role("status").filter(has_text="Undid cat on image0000.png.")).to_be_visible()
    expect(first).to_have_accessible_name("image0000.png, unlabeled")
    expect(first).to_be_focused()

    page.keyboard.press("Shift+ArrowRight")
    expect(images.get_by_role("option", selected=True)).to_have_count(2)
    page.keyboard.press("2")
    expect(announcement(page)).to_contain_text("2 images")
    expect(option(page, "^image0001.png, labeled dog")).to_have_count(1)

    page.keyboard.press("0")
    expect(option(page, "^image0002.png, unsure")).to_have_count(1)
    page.keyboard.press("x")
    expect(option(page, "^image0003.png, skipped")).to_have_count(1)

    page.keyboard.press("n")
    expect(announcement(page)).to_have_text(re.compile(r"^\d+ images\s*$"))
    expect(option(page, "^image0000.png")).to_have_count(0)
    expect(images.get_by_role("option").first).to_be_focused()
    assert Annotation.objects.filter(item__dataset=dataset).exists()
