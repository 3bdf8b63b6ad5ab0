"""What belongs together, chosen on the page, kept by export and accuracy."""

import io

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from hoshina.jobs.lifecycle import run_now
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.models import Dataset
from tests.browser.axe import serious_violations
from tests.browser.conftest import Site
from tests.modeling.factories import add_vectors, import_labels

N, SIZE = 120, 6


@pytest.fixture
def dataset(site: Site) -> Dataset:
    """Provide six all but equal pictures of each of twenty nights; what they are is the night's own."""
    dataset = site.dataset(N)
    rng = np.random.default_rng(0)
    nights = np.arange(N) // SIZE
    add_vectors(dataset, rng.normal(size=(N // SIZE, 40))[nights] + 0.05 * rng.normal(size=(N, 40)))
    y = rng.permutation(np.arange(N // SIZE) % 2)[nights]
    import_labels(dataset, list(range(N)), y)
    lines = ["path,night,depth", *(f"image{row:04d}.png,2026-03-{1 + nights[row]:02d},{row}.5" for row in range(N))]
    import_fields(dataset, io.BytesIO("\n".join(lines).encode()), Wish(), {"night": "text"})
    return dataset


def _accuracy(page: Page, site: Site) -> str:
    page.goto(f"{site.address}/d/pictures/model/")
    return page.locator("#facts-title + dl").inner_text()


def test_the_choice_is_made_once_and_kept_everywhere(page: Page, site: Site, dataset: Dataset) -> None:
    plain = run_now("retrain", dataset_id=dataset.pk).result["accuracy"]
    page.goto(f"{site.address}/d/pictures/fields/")
    choice = page.get_by_label("Images with the same value of")
    expect(choice).to_have_value("")
    choice.select_option("depth")
    told = page.locator("#together-summary")
    expect(told).to_contain_text("No two images have the same depth")
    choice.focus()
    choice.select_option("night")
    expect(told).to_contain_text("20 groups; the largest has 6 of 120 images.")
    expect(told).to_contain_text("Exports use it now")
    expect(choice).to_be_focused()  # the keyboard goes on from where it was
    assert serious_violations(page) == []
    page.reload()
    expect(choice).to_have_value("night")

    assert "By the current setting, images of one night are held out together" in _accuracy(page, site)
    run_now("retrain", dataset_id=dataset.pk)
    words = _accuracy(page, site)
    assert "Images of one night were held out together: 20 groups, the largest with 6 labels." in words
    assert "By the current setting" not in words
    model = dataset.model_versions.get(is_active=True)  # type: ignore[attr-defined]
    assert model.metrics["accuracy"] < plain - 0.2
    assert serious_violations(page) == []
    page.get_by_role("link", name="Change").click()
    expect(choice).to_be_visible()

    page.goto(f"{site.address}/d/pictures/export/")
    expect(page.get_by_label("Group by")).to_have_value("night")
    page.get_by_label("Group by").select_option("")
    expect(page.locator("#splits-title + .hint")).to_contain_text("Identical files always go to the same split")

    # A field that images are kept together by does not go without a word.
    page.goto(f"{site.address}/d/pictures/fields/")
    page.get_by_role("button", name="Delete night").click()
    expect(page.locator("#fields-list")).to_contain_text("Splits group images by this field.")
    page.get_by_role("button", name="Delete night").click()
    expect(choice).to_have_value("")
