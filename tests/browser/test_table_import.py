"""Importing labels on the page: what is not clear is asked, and the answers count."""

from playwright.sync_api import Page, expect

from labeling.models import Item
from tests.browser.conftest import Site


def test_the_page_asks_about_numbers_and_then_about_classes(site: Site, page: Page) -> None:
    dataset = site.dataset(12)
    page.goto(f"{site.address}/d/{dataset.slug}/import/")
    content = "galaxy|label\nimage0000|1\nimage0001|01\nimage0002|1.0\n".encode("utf-16")
    page.get_by_label("CSV file").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_label("Create missing classes").check()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("#import")).to_contain_text("Choose the column that names the images")
    page.get_by_text("Options").click()
    page.get_by_label("Column that names the images").fill("galaxy")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("#import")).to_contain_text("the same number written in different ways")
    page.get_by_role("button", name="Merge into one class").click()
    expect(page.locator("#import")).to_contain_text("3 applied")
    expect(page.locator("#import")).to_contain_text("New classes: 1.")
    labels = Item.objects.filter(dataset=dataset, label__isnull=False).values_list("row", "label__name")
    assert dict(labels) == {0: "1", 1: "1", 2: "1"}
