"""The list of maps in a real browser: options follow the method, refusals are said, maps are renamed and deleted."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from hoshina.jobs.models import Job
from modeling.maps.options import MapOptions
from modeling.models import Projection
from tests.browser.bench import Bench
from tests.modeling.factories import add_vectors
from tests.sampling.maps.factories import add_map


def test_a_map_is_made_renamed_and_deleted_in_the_dialog(bench: Bench, page: Page) -> None:
    n = bench.dataset.n_items
    rng = np.random.default_rng(0)
    add_vectors(bench.dataset, rng.normal(size=(n, 4)))
    old = add_map(bench.dataset, rng.normal(size=(n, 2)), name="Old one")
    page.goto(f"{bench.url}map/")
    bench.ready()
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
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]})
    grave = [one for one in found.response["violations"] if one["impact"] in {"serious", "critical"}]
    assert not grave, [(one["id"], one["nodes"][0]["html"]) for one in grave]
    form.get_by_label("Perplexity").fill("5")
    form.get_by_label("Name", exact=True).fill("Neighbourhoods")
    form.get_by_role("button", name="Compute map").click()
    expect(page.locator("#map-list")).to_contain_text("Neighbourhoods is being computed")
    assert Job.objects.get(kind="project_map", params__name="Neighbourhoods").params["perplexity"] == 5

    page.locator(".map-rename summary").click()
    page.get_by_label("New name").fill("First look")
    page.get_by_label("New name").press("Enter")
    expect(page.locator("#map-list .map-name")).to_have_text("First look")
    assert Projection.objects.get(pk=old.pk).name == "First look"
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete First look").click()
    expect(page.locator("#map-list .map-name")).to_have_count(0)
    assert not Projection.objects.filter(pk=old.pk).exists()


def test_the_map_that_is_shown_is_not_offered(bench: Bench, page: Page) -> None:
    """The page may be opened after a map was written and before its job is done."""
    n = bench.dataset.n_items
    rng = np.random.default_rng(0)
    add_vectors(bench.dataset, rng.normal(size=(n, 4)))
    add_map(bench.dataset, rng.normal(size=(n, 2)), name="Quick look")
    page.goto(f"{bench.url}map/")
    bench.ready()
    tell = """() => document.body.dispatchEvent(new CustomEvent("hoshina:job-finished",
        { detail: { kinds: ["project_map"], states: { project_map: "succeeded" } } }))"""
    with page.expect_response(lambda response: response.request.method == "HEAD"):
        page.evaluate(tell)
    page.wait_for_timeout(200)
    expect(page.locator("#map-notice")).not_to_contain_text("A map is ready")
    add_map(bench.dataset, rng.normal(size=(n, 2)), name="Neighbourhoods")
    page.evaluate(tell)
    expect(page.locator("#map-notice")).to_contain_text("A map is ready")


def test_umap_follows_the_quick_look_with_one_offer(bench: Bench, page: Page) -> None:
    n = bench.dataset.n_items
    rng = np.random.default_rng(0)
    add_vectors(bench.dataset, rng.normal(size=(n, 4)))
    look = add_map(bench.dataset, rng.normal(size=(n, 2)), name="Quick look")
    job = Job.objects.create(
        kind="project_map", queue="heavy", dataset_id=bench.dataset.pk, params=asdict(MapOptions(is_automatic=True))
    )
    page.goto(f"{bench.url}map/")
    bench.ready()
    note = page.locator(".map-quick")
    expect(note).to_have_text("Quick look (PCA). The UMAP map is being computed.")
    umap = add_map(bench.dataset, rng.normal(size=(n, 2)), name="UMAP")
    Job.objects.filter(pk=job.pk).update(state=Job.State.SUCCEEDED)
    finished = """() => document.body.dispatchEvent(new CustomEvent("hoshina:job-finished",
        { detail: { kinds: ["project_map"], states: { project_map: "succeeded" } } }))"""
    page.evaluate(finished)
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
