"""The links to the pages, in five groups, and the name of the dataset on every page."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import require_accessible
from tests.browser.conftest import Site


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_five_groups_lead_to_the_pages_at_every_width(site: Site, page: Page, width: int) -> None:
    site.dataset(3, name="first")
    site.dataset(3, name="second")
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{site.address}/d/first/")
    expect(page.locator("#nav")).to_be_visible(visible=width > 1024)
    page.goto(f"{site.address}/jobs/")
    names = ["Label", "Map", "Results", "Data", "Settings"]
    nav = page.locator("#nav")

    def open_nav() -> None:
        if not nav.is_visible():
            page.get_by_role("button", name="Pages").click()

    open_nav()
    expect(nav.locator("> a, > details > summary")).to_have_text(names)
    require_accessible(page)
    nav.locator("summary", has_text="Results").click()
    nav.locator("summary", has_text="Data").click()
    expect(nav.locator("details[open]")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(nav.get_by_role("link", name="Classes")).to_be_focused()
    for group, link, path in (
        ("Data", "Problems", "/d/first/problems/"),
        ("Settings", "Encoders", "/d/first/encoders/"),
        ("Settings", "Dataset", "/d/first/manage/"),
        ("Settings", "Retraining", "/d/first/model/policy/"),
        ("Results", "Accuracy", "/d/first/accuracy/"),
        ("Results", "Overview", "/d/first/results/"),
        ("Results", "Progress", "/d/first/progress/"),
    ):
        open_nav()
        if not nav.get_by_role("link", name=link, exact=True).is_visible():
            nav.locator("summary", has_text=group).click()
        nav.get_by_role("link", name=link, exact=True).click()
        page.wait_for_url(f"**{path}")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0


def test_the_dataset_is_named_and_changed_on_pages_of_no_dataset(site: Site, page: Page) -> None:
    site.dataset(3, name="first")
    site.dataset(3, name="second")
    page.goto(f"{site.address}/d/first/classes/")
    for path in ("/jobs/", "/datasets/", "/account/"):
        page.goto(site.address + path)
        expect(page.locator(".top .brand")).to_have_text("first")
    page.locator(".top summary.brand").click()
    page.get_by_role("link", name="second").click()
    page.wait_for_url("**/d/second/")
