"""The list of maps in a real browser: options follow the method, refusals are said, maps are renamed and deleted."""

from dataclasses import asdict

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from hoshina.jobs.models import Job
from modeling.maps.options import MapOptions
from modeling.models import Projection
from tests.browser.axe import serious_violations
from tests.browser.bench import Bench, tell_job_finished
from tests.modeling.factories import add_vectors
from tests.sampling.maps.factories import add_map


def add_another(bench: Bench, name: str) -> Projection:
    return add_map(bench.dataset, np.random.default_rng(0).normal(size=(bench.dataset.n_items, 2)), name=name)


@pytest.fixture
def look(bench: Bench) -> Projection:
    """Provide vectors, and a map of them."""
    add_vectors(bench.dataset, np.random.default_rng(0).normal(size=(bench.dataset.n_items, 4)))
    return add_another(bench, "Quick look")


def open_map(bench: Bench) -> None:
    bench.page.goto(f"{bench.url}map/")
    bench.ready()


def test_a_map_is_made_renamed_and_deleted_in_the_dialog(bench: Bench, page: Page, look: Projection) -> None:
    open_map(bench)
    page.locator(".map-which > summary").click()
    page.get_by_role("button", name="Manage maps").click()
    form = page.locator("#map-new")
    form.locator("summary").click()
    expect(form.get_by_label("Neighbors")).to_be_visible()
    expect(form.get_by_label("Perplexity")).to_be_hidden()
    form.get_by_text("t-SNE").click()
    expect(form.get_by_label("Perplexity")).to_be_visible()
    expect(form.get_by_label("Neighbors")).to_be_hidden()
    form.get_by_label("Perplexity").fill("90")
    form.get_by_role("button", name="Compute map").click()
    expect(form.get_by_role("alert")).to_contain_text("choose a perplexity of at most")
    expect(form.get_by_label("Neighbors")).to_be_hidden()
    assert serious_violations(page, runOnly=["wcag2a", "wcag2aa"]) == []
    form.get_by_label("Perplexity").fill("5")
    form.get_by_label("Name", exact=True).fill("Neighbourhoods")
    form.get_by_role("button", name="Compute map").click()
    expect(page.locator("#map-list")).to_contain_text("Neighbourhoods is being computed")
    assert Job.objects.get(kind="project_map", params__name="Neighbourhoods").params["perplexity"] == 5

    page.locator(".map-rename summary").click()
    page.get_by_label("New name").fill("First look")
    page.get_by_label("New name").press("Enter")
    expect(page.locator("#map-list .map-name")).to_have_text("First look")
    assert Projection.objects.get(pk=look.pk).name == "First look"
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete First look").click()
    expect(page.locator("#map-list .map-name")).to_have_count(0)
    assert not Projection.objects.filter(pk=look.pk).exists()


@pytest.mark.usefixtures("look")
def test_the_map_that_is_shown_is_not_offered(bench: Bench, page: Page) -> None:
    """The page may be opened after a map was written and before its job is done."""
    open_map(bench)
    with page.expect_response(lambda response: response.request.method == "HEAD"):
        tell_job_finished(page, "project_map")
    page.wait_for_timeout(200)
    expect(page.locator("#map-notice")).not_to_contain_text("A map is ready")
    add_another(bench, "Neighbourhoods")
    tell_job_finished(page, "project_map")
    expect(page.locator("#map-notice")).to_contain_text("A map is ready")


def test_umap_follows_the_quick_look_with_one_offer(bench: Bench, page: Page, look: Projection) -> None:
    job = Job.objects.create(
        kind="project_map", queue="heavy", dataset_id=bench.dataset.pk, params=asdict(MapOptions(is_automatic=True))
    )
    open_map(bench)
    note = page.locator(".map-quick")
    expect(note).to_have_text("Quick look (PCA). The UMAP map is being computed.")
    umap = add_another(bench, "UMAP")
    Job.objects.filter(pk=job.pk).update(state=Job.State.SUCCEEDED)
    tell_job_finished(page, "project_map")
    expect(page.locator("#map-notice")).to_have_text("A map is ready. Show map")
    expect(note).to_have_count(0)
    expect(page.locator("#map")).to_have_attribute("data-map", str(look.pk))  # what is shown stays until asked
    page.locator("#map-notice a").click()
    expect(page.locator("#map")).to_have_attribute("data-map", str(umap.pk))
    # Later the page opens with UMAP; whoever goes back to the quick look finds one link.
    page.goto(f"{bench.url}map/")
    expect(page.locator("#map")).to_have_attribute("data-map", str(umap.pk))
    page.goto(f"{bench.url}map/?projection={look.pk}")
    expect(note).to_have_text("Quick look (PCA). Show UMAP")
    note.get_by_role("link").click()
    expect(page.locator("#map")).to_have_attribute("data-map", str(umap.pk))
