"""Split a class in a real browser: propose parts, name them, review what is open, learn from it, and take it back."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from labeling.models import Annotation, Dataset, Item
from tests.browser.axe import serious_violations
from tests.browser.bench import Bench
from tests.browser.conftest import Site
from tests.modeling.factories import add_vectors, import_labels

pytestmark = pytest.mark.usefixtures("worker")
N = 60


@pytest.fixture
def dataset(site: Site) -> Dataset:
    """Provide 40 cats of two kinds, by whether the row is even, and 20 dogs."""
    dataset = site.dataset(N, classes=("cat", "dog"))
    rows = np.arange(N)
    kind = np.where(rows < 40, rows % 2, 2)
    noise = np.random.default_rng(4).normal(size=(N, 6))
    add_vectors(dataset, (6 * np.eye(3, 6)[kind] + noise).astype(np.float32))
    import_labels(dataset, list(range(N)), (rows >= 40).astype(int))
    return dataset


def label_counts(dataset: Dataset) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in Item.objects.filter(dataset=dataset).values_list("label__name", flat=True):
        found[str(name)] = found.get(str(name), 0) + 1
    return found


def test_a_class_is_split_reviewed_and_taken_back(page: Page, site: Site, dataset: Dataset) -> None:
    bench = Bench(page, site.address, dataset)
    page.goto(f"{site.address}/d/{dataset.slug}/classes/")
    page.get_by_label("More for cat").click()
    page.get_by_role("link", name="Split… cat").click()
    page.get_by_role("button", name="Propose parts").click()
    expect(page.locator(".split-part")).to_have_count(2)
    expect(page.locator(".split-part").first.locator("img")).to_have_count(12 + 4)
    page.get_by_label("Class of part 2").fill("cat")
    expect(page.locator("#split-preview")).to_contain_text("Give at least two parts different classes.")
    page.get_by_label("Class of part 2").fill("lynx")
    preview = page.locator("#split-preview")
    expect(preview).to_contain_text("lynx new")
    page.get_by_label("Review one by one").select_option("0.1")
    expect(preview).to_contain_text("4 images near the border keep the label cat")
    assert serious_violations(page) == []
    assert label_counts(dataset) == {"cat": 40, "dog": 20}, "a preview changes nothing"
    page.get_by_role("button", name="Split cat").click()
    expect(page.locator("#class-split")).to_contain_text("0 of 4 images near the border are reviewed.")
    n_lynx = label_counts(dataset)["lynx"]
    assert 16 <= n_lynx <= 20
    kinds = {row % 2 for row in Item.objects.filter(label__name="lynx").values_list("row", flat=True)}
    assert len(kinds) == 1
    lynxes = kinds.pop()

    page.get_by_role("link", name="Review 4 images").click()
    bench.ready()
    expect(bench.tiles).to_have_count(4)
    expect(bench.tiles.first.locator(".border-pair")).to_contain_text("cat")
    expect(bench.tiles.first).to_have_attribute("aria-label", re.compile(r"labeled cat, (cat or lynx|lynx or cat)\?"))
    expect(page.locator("#review-progress")).to_contain_text("0 of 4 reviewed")
    for row in bench.rows():
        bench.press("3" if row % 2 == lynxes else "1")
    bench.settle()
    bench.press("n")
    expect(page.locator("#grid")).to_contain_text("Every image that the split left open was decided.")
    expect(page.locator("#review-progress")).to_contain_text("4 of 4 reviewed")
    assert label_counts(dataset) == {"cat": 20, "dog": 20, "lynx": 20}
    assert set(Annotation.objects.filter(queue="review").values_list("seconds", flat=True)) != {None}

    page.locator("#review-progress a").click()
    expect(page.locator("#class-split")).to_contain_text("All 4 images to review are decided.")
    expect(page.get_by_role("button", name="Learn from")).to_have_count(0)  # the queue has learned from them
    expect(page.get_by_role("button", name="Undo the last step")).to_be_visible()
    assert serious_violations(page) == []
    page.get_by_role("button", name="Undo the last step").click()
    expect(page.locator("#class-split")).to_contain_text("labels restored.")
    found = label_counts(dataset)
    assert found["cat"] == 40 - found.get("lynx", 0)
    assert found.get("lynx", 0) == 20 - n_lynx, "what was reviewed stays"


def test_a_merge_is_previewed(page: Page, site: Site, dataset: Dataset) -> None:
    page.goto(f"{site.address}/d/{dataset.slug}/classes/")
    page.get_by_label("More for cat").click()
    page.get_by_role("button", name="Merge cat into another class").click()
    page.locator("#class-delete-target").select_option(label="dog")
    expect(page.locator("#merge-preview")).to_contain_text("40 labels move to dog.")


def test_find_more_of_a_class(page: Page, site: Site, dataset: Dataset) -> None:
    Item.objects.filter(dataset=dataset, row__in=range(2, 40)).update(state=0, label=None, decision_id=None)
    page.goto(f"{site.address}/d/{dataset.slug}/classes/")
    page.get_by_label("More for cat").click()
    page.get_by_role("link", name="Find more images of cat").click()
    bench = Bench(page, site.address, dataset)
    bench.ready()
    expect(page.locator("#queues .similar")).to_contain_text("of cat, and unlike the other classes")
    assert all(row < 40 for row in bench.rows())


def test_an_example_from_a_file(page: Page, site: Site, dataset: Dataset) -> None:
    bench = Bench(page, site.address, dataset).open("queue=similar")
    expect(page.locator("#grid")).to_contain_text("No example chosen")
    page.locator("#example-file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(page.locator("#example-status")).to_contain_text("cannot be read as an image")
    assert serious_violations(page) == []
    pixels = np.random.default_rng(0).integers(0, 255, (800, 800, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert len(buffer.getvalue()) > 1 << 20, "larger bodies than this need a permit"
    page.locator("#example-file").set_input_files(
        {"name": "photo.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    expect(page.locator("#queues .examples img")).to_have_count(1)
    expect(page).to_have_url(re.compile("file="))
    assert bench.n_tiles() == 0, "the vectors of this test are of no encoder, and the page says so"
    expect(page.locator("#grid")).to_contain_text("were computed with")
