"""The page Encoders in a browser: another one chosen while the old vectors go on, a model file refused and added."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hoshina.jobs.lifecycle import run_now
from labeling.models import Dataset
from modeling.models import EmbeddingSet
from tests.browser.axe import require_accessible, require_no_wider_than_the_window
from tests.browser.conftest import Site

# Not that of encoders joined with it.
HOG_ROW = re.compile(r"^HOG \+ color (?!\+)")


@pytest.fixture
def embedded(site: Site) -> Dataset:
    """Provide pictures with vectors of HOG + color."""
    dataset = site.dataset(12)
    run_now("embed", dataset_id=dataset.pk)
    return dataset


def test_another_encoder_takes_over_once_its_vectors_are_whole(page: Page, site: Site, embedded: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/encoders/")
    expect(page.get_by_role("row", name=HOG_ROW)).to_contain_text("in use")
    page.get_by_role("button", name="Use Scattering", exact=True).click()
    expect(page.locator("#encoders")).to_contain_text("use those of HOG + color")
    expect(page.get_by_role("row", name=re.compile("^Scattering"))).to_contain_text("chosen")
    assert EmbeddingSet.objects.get(is_active=True).backend == "hog"
    run_now("embed", dataset_id=embedded.pk)  # the job that waits
    expect(page.get_by_role("row", name=re.compile("^Scattering"))).to_contain_text("in use")  # asked again by itself
    page.get_by_role("button", name="Use HOG + color", exact=True).click()
    expect(page.get_by_role("row", name=HOG_ROW)).to_contain_text("in use")  # at once: they are there
    assert EmbeddingSet.objects.get(is_active=True).backend == "hog"
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete the embeddings of Scattering").click()
    expect(page.get_by_role("row", name=re.compile("^Scattering"))).to_contain_text("none")
    assert EmbeddingSet.objects.count() == 1


def test_a_model_file_is_refused_with_words_or_added(page: Page, site: Site, embedded: Dataset, tmp_path: Path) -> None:
    page.goto(f"{site.address}/d/pictures/encoders/")
    bad, good = tmp_path / "birds.keras", tmp_path / "birds.tflite"
    bad.write_bytes(b"no archive")
    good.write_bytes(b"\x1c\0\0\0TFL3 and so on")
    page.get_by_label("Model file").set_input_files(bad)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#add .error")).to_contain_text("does not start like a .keras file")
    page.get_by_label("Model file").set_input_files(good)
    page.locator("#add").get_by_label("Name").fill("Birds of Mey")
    page.get_by_label("Preprocessing of pixels").select_option("0..1")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#add")).to_contain_text("Added file:birds.tflite")
    expect(page.get_by_role("row", name="Birds of Mey")).to_contain_text("pixels scaled to 0..1")


def test_in_dark_and_light_and_at_any_width(page: Page, site: Site, embedded: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/encoders/")
    require_accessible(page)
    require_no_wider_than_the_window(page)
