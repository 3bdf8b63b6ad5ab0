"""The page Encoders in a browser: another one chosen while the old vectors go on, a model file refused and added."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hoshina.jobs.lifecycle import claim, execute, run_now
from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling.models import EmbeddingSet
from tests.browser.axe import serious_violations
from tests.browser.conftest import Site
from tests.factories import not_none


@pytest.fixture
def embedded(site: Site) -> Dataset:
    """Provide pictures with vectors of HOG + colour."""
    dataset = site.dataset(12)
    run_now("embed", dataset_id=dataset.pk)
    return dataset


def work(kind: str) -> None:
    """Run the waiting job of that kind here, as a worker would."""
    job = not_none(claim(Job.objects.get(kind=kind, state=Job.State.QUEUED).pk))
    execute(job)


def test_another_encoder_takes_over_once_its_vectors_are_whole(page: Page, site: Site, embedded: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/encoders/")
    expect(page.get_by_role("row", name="HOG + colour")).to_contain_text("in use")
    page.get_by_role("button", name="Use Scattering").click()
    expect(page.locator("#encoders")).to_contain_text("use those of HOG + colour")
    expect(page.get_by_role("row", name=re.compile("^Scattering"))).to_contain_text("chosen")
    assert EmbeddingSet.objects.get(is_active=True).backend == "hog"
    work("embed")
    expect(page.get_by_role("row", name=re.compile("^Scattering"))).to_contain_text(
        "in use"
    )  # the page asks again by itself
    page.get_by_role("button", name="Use HOG + colour").click()
    expect(page.get_by_role("row", name="HOG + colour")).to_contain_text("in use")  # at once: they are there
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
    page.get_by_label("Name").fill("Birds of Mey")
    page.get_by_label("Preprocessing of pixels").select_option("0..1")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#add")).to_contain_text("Added file:birds.tflite")
    expect(page.get_by_role("row", name="Birds of Mey")).to_contain_text("pixels scaled to 0..1")


def test_in_dark_and_light_and_at_any_width(page: Page, site: Site, embedded: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/encoders/")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert serious_violations(page) == [], scheme
    for size in ((640, 360), (1280, 720), (2560, 1440)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
