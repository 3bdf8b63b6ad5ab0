"""The panel that asks for the first classes, in the place of the images."""

import shutil

import pytest
from playwright.sync_api import Page, expect

from labeling.models import Dataset, LabelClass
from tests.browser.axe import require_accessible, require_no_wider_than_the_window
from tests.browser.bench import Bench
from tests.browser.conftest import Site

PASTE = """(text) => {
    const data = new DataTransfer();
    data.setData("text/plain", text);
    const options = {clipboardData: data, bubbles: true, cancelable: true};
    document.activeElement.dispatchEvent(new ClipboardEvent("paste", options));
}"""


def names() -> list[str]:
    return list(LabelClass.objects.active().values_list("name", flat=True))


@pytest.fixture
def dataset(site: Site) -> Dataset:
    return site.dataset(6, classes=())


def test_enter_after_each_name_then_escape_then_a_digit(site: Site, page: Page, dataset: Dataset) -> None:
    bench = Bench(page, site.address, dataset).open()
    field = page.get_by_label("Name", exact=True)
    for number, name in enumerate(("spiral", "elliptical", "merger"), start=1):
        expect(field).to_be_focused()
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        expect(page.locator(".first-classes-list li")).to_have_count(number)
        expect(field).to_have_value("")
    page.keyboard.type("Spiral")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The class “spiral” already exists. Choose another name.")
    expect(field).to_have_value("Spiral")
    page.keyboard.type("galaxy")
    expect(field).to_have_value("galaxy")
    require_accessible(page)
    require_no_wider_than_the_window(page)
    page.keyboard.press("Escape")
    expect(page.locator("#first-classes")).to_have_count(0)
    bench.press("2")
    expect(page.locator("#grid .tile").first).to_have_attribute("data-state", "1")
    assert names() == ["spiral", "elliptical", "merger"]
    bench.open()
    expect(page.locator("#first-classes")).to_have_count(0)


def test_a_pasted_list_and_the_names_of_folders(site: Site, page: Page, dataset: Dataset) -> None:
    for folder in ("train", "val"):
        for name in ("owl10", "owl9"):
            (dataset.data_dir / folder / name).mkdir(parents=True)
    Bench(page, site.address, dataset).open()
    page.get_by_role("button", name="Use the names of folders: owl9, owl10").click()
    expect(page.locator(".first-classes-list li")).to_have_count(2)
    expect(page.get_by_role("button", name="Use the names of folders")).to_have_count(0)
    page.evaluate(PASTE, "great tit\nrobin\r\n\n")
    expect(page.get_by_label("Name", exact=True)).to_have_value("great tit, robin")
    page.keyboard.press("Enter")
    expect(page.locator(".first-classes-list li")).to_have_count(4)
    assert names() == ["owl9", "owl10", "great tit", "robin"]
    shutil.rmtree(dataset.data_dir / "train")


def test_the_classes_of_another_dataset_are_copied_with_their_colors(site: Site, page: Page, dataset: Dataset) -> None:
    other = site.make_dataset(1, name="others", classes=("a", "b"))
    LabelClass.objects.filter(dataset=other, name="b").update(colour="#123456")
    Bench(page, site.address, dataset).open()
    page.get_by_role("button", name="others (2)").click()
    expect(page.locator(".first-classes-list li")).to_have_count(2)
    page.get_by_role("button", name="Begin labeling").click()
    expect(page.locator("#first-classes")).to_have_count(0)
    copied = LabelClass.objects.filter(dataset=dataset)
    assert list(copied.values_list("name", "key", "colour"))[1] == ("b", 2, "#123456")
