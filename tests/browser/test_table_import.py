"""Importing labels on the page: the preview asks and shows, the import writes, and undo takes it back."""

from playwright.sync_api import Page, expect

from labeling.models import Annotation, Item
from tests.browser.axe import serious_violations
from tests.browser.conftest import Site


def test_a_file_is_previewed_corrected_imported_and_undone(site: Site, page: Page) -> None:
    dataset = site.dataset(12)
    page.goto(f"{site.address}/d/{dataset.slug}/import/")
    content = "galaxy|kind|note\nimage0000|1|a\nimage0001|01|b\nimage0002|1.0|c\nimage0099|1|d\n".encode("utf-16")
    page.get_by_label("File with labels").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_role("button", name="Preview").click()
    preview = page.locator("#import-preview")
    expect(preview).to_contain_text("Choose the column that names the images")
    expect(page.get_by_role("button", name="Import", exact=True)).to_be_disabled()
    page.get_by_label("galaxy").select_option(label="names the image")
    page.get_by_label("kind").select_option(label="label")
    expect(preview).to_contain_text("the same number written in different ways")
    page.get_by_label("Merge into one class").check()
    expect(preview).to_contain_text("3 new labels, 0 unchanged, 0 replaced")
    expect(preview).to_contain_text("New classes: 1 (3).")
    expect(preview).to_contain_text("1 line will not be imported: this dataset has no such images")
    page.get_by_label("note", exact=True).select_option(label="metadata field")
    expect(preview).to_contain_text("Metadata fields: note.")
    assert serious_violations(page) == []
    assert not Annotation.objects.filter(item__dataset=dataset).exists()

    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("#import")).to_contain_text("3 applied, 0 unchanged, of 4 lines.")
    labels = Item.objects.filter(dataset=dataset, label__isnull=False).values_list("row", "label__name")
    assert dict(labels) == {0: "1", 1: "1", 2: "1"}

    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#past-imports")).to_contain_text("Undo this import?")
    page.get_by_role("button", name="Undo the import").click()
    expect(page.locator("#past-imports")).to_contain_text("3 images went back")
    assert not Item.objects.filter(dataset=dataset, label__isnull=False).exists()


def test_a_file_of_no_known_format_is_refused_on_the_page(site: Site, page: Page) -> None:
    dataset = site.dataset(2)
    page.goto(f"{site.address}/d/{dataset.slug}/import/")
    page.get_by_label("File with labels").set_input_files(
        {"name": "labels.h5", "mimeType": "application/x-hdf5", "buffer": b"\x89HDF\r\n\x1a\n"}
    )
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#import")).to_contain_text("not a text file but an HDF5 file")
