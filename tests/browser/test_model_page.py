"""The model's page in a real browser: cells that open their images, plots by mouse and keys, going back to versions."""

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from django.db import connection
from playwright.sync_api import Locator, Page, expect

from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.models import Dataset, State
from modeling.models import ModelVersion
from modeling.versions import model_files
from modeling.versions.comparison import shared
from tests.browser.axe import require_accessible, require_no_wider_than_the_window, watch_layout_shifts
from tests.browser.bench import Bench, Held, open_whole, tell_job_finished
from tests.browser.conftest import Site
from tests.factories import not_none
from tests.modeling.factories import add_vectors, import_labels

N = 90
SIZES = (12, 30, 45, 60)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the folder that keeps what the first test trained, for the others."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def dataset(site: Site, store: Path, trained: Path) -> Dataset:
    """Provide ninety pictures of three overlapping clouds, and four model versions; the first held nothing out."""
    connection.ensure_connection()
    with closing(sqlite3.connect(trained / "kept.db")) as kept:
        if not (trained / "store").exists():
            dataset = _train(site)
            connection.connection.backup(kept)
            shutil.copytree(store, trained / "store", ignore=shutil.ignore_patterns("app.db*"))
            return dataset
        kept.backup(connection.connection)
    shutil.copytree(trained / "store", store, dirs_exist_ok=True)
    Dataset.objects.update(root=str(site.picture_folder(N, name="pictures")))
    return Dataset.objects.get()


def _train(site: Site) -> Dataset:
    dataset = site.dataset(N)
    rng = np.random.default_rng(2)
    y = np.arange(N) % 3
    add_vectors(dataset, (rng.normal(size=(N, 6)) + 1.5 * np.eye(3, 6)[y]).astype(np.float32))
    for size in SIZES:
        import_labels(dataset, list(range(size)), y)
        run_now("retrain", dataset_id=dataset.pk)
    Job.objects.all().delete()  # nobody waits for their toasts
    return dataset


def _open(page: Page, site: Site, path: str = "") -> None:
    open_whole(page, f"{site.address}/d/pictures/model/{path}")


def _unfold(page: Page) -> None:
    """Open what the page folds away."""
    for summary in page.locator(".learn-more:not([open]) > summary").all()[::-1]:
        summary.click()


def _tip(page: Page, plot: str) -> Locator:
    return page.locator(f"#plot-{plot} .plot-tip")


# -- Cells ----------------------------------------------------------------------------------------
def test_a_cell_opens_exactly_its_images(page: Page, site: Site, dataset: Dataset) -> None:
    version = ModelVersion.objects.get(is_active=True)
    table = version.metrics["confusion"]
    wrong = [(i, j, n) for i, row in enumerate(table) for j, n in enumerate(row) if n and i != j]
    assert wrong
    held = not_none(model_files.open_held_out(version))
    for i, j, n in [*wrong[:2], (0, 0, table[0][0])]:
        _open(page, site)
        cell = page.locator(f".confusion tbody tr:nth-child({i + 1}) td").nth(j)
        expect(cell).to_have_text(str(n))
        cell.get_by_role("link").click()
        page.wait_for_url("**/d/pictures/?queue=all*")
        bench = Bench(page, site.address, dataset)
        expect(bench.tiles).to_have_count(n)
        wanted = (held.columns == i) & (held.probabilities.argmax(axis=1) == j)
        assert sorted(bench.rows()) == held.rows[wanted].tolist()
        names = ("cat", "dog", "bird")
        expect(page.locator("#unseen")).to_contain_text(
            f"Images labeled {names[i]}, predicted as {names[j]} by model 4"
        )
        assert re.search(f"model 4 predicted {names[j]}", bench.tiles.first.get_attribute("title") or "")


def test_labels_are_corrected_where_a_cell_led(page: Page, site: Site, dataset: Dataset) -> None:
    classes = list(dataset.classes.values_list("pk", flat=True))
    table = ModelVersion.objects.get(is_active=True).metrics["confusion"]
    i, j = next((i, j) for i, row in enumerate(table) for j, n in enumerate(row) if n and i != j)
    query = f"queue=all&state=any&label={classes[i]}&predicted={classes[j]}&confused=4"
    bench = Bench(page, site.address, dataset).open(query)
    item = bench.ids()[0]
    page.keyboard.press(str(j + 1))
    bench.settle()
    assert bench.outcome(item) == (State.LABELLED, ("cat", "dog", "bird")[j])
    page.get_by_role("link", name="Show all images").click()
    expect(page.locator("#unseen")).to_have_count(0)
    expect(page.locator("#choice-label")).to_be_visible()
    expect(page).not_to_have_url(re.compile("confused"))


def test_what_two_versions_differ_on_is_opened_from_their_comparison(page: Page, site: Site, dataset: Dataset) -> None:
    third, fourth = ModelVersion.objects.filter(number__in=(3, 4)).order_by("number")
    both = not_none(shared(third, fourth))
    side = next(name for name in ("first", "second", "neither") if len(both.side(name)))
    _open(page, site, "3/")
    page.locator("#compare-with").select_option("4")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/model/compare/?a=3&b=4")
    expect(page.get_by_role("heading", name="Models 3 and 4")).to_be_visible()
    expect(page.locator("#plot-reliability .plot-key")).to_have_count(2)
    page.locator(f'a[href*="right={side}"]').click()
    bench = Bench(page, site.address, dataset)
    expect(bench.tiles).to_have_count(len(both.side(side)))
    expect(page.locator("#unseen")).to_contain_text("Images on which models 3 and 4 differ")


# -- Plots ----------------------------------------------------------------------------------------
def test_a_plot_is_walked_through_by_keys(page: Page, site: Site, dataset: Dataset) -> None:
    _open(page, site)
    _unfold(page)
    area, tip = page.locator("#plot-accuracy-area"), _tip(page, "accuracy")
    expect(tip).to_be_hidden()
    page.locator("#plot-accuracy-table summary").focus()
    page.keyboard.press("Shift+Tab")
    expect(area).to_be_focused()
    expect(tip).to_contain_text("Model 4, 60 labels")
    for key, words in (("ArrowLeft", "Model 3, 45"), ("Home", "Model 2, 30"), ("ArrowLeft", "Model 2, 30")):
        page.keyboard.press(key)
        expect(tip).to_contain_text(f"{words} labels")
    expect(page.locator("#plot-labels .plot-cross")).to_be_visible()  # plots of versions share their crosshair
    page.keyboard.press("End")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url("**/d/pictures/model/3/")


def test_lines_are_changed_between_and_switched_off(page: Page, site: Site, dataset: Dataset) -> None:
    _open(page, site)
    _unfold(page)
    tip = _tip(page, "ece")
    first = page.locator("#plot-ece-key-1")
    first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator("#plot-ece-area")).to_be_focused()
    place = page.locator("#plot-ece-area").evaluate("area => area.style.getPropertyValue('--y')")
    page.keyboard.press("ArrowDown")
    expect(tip).to_contain_text("Model 4")
    assert page.locator("#plot-ece .series.s2 .dot").last.get_attribute("data-y") == page.locator(
        "#plot-ece-area"
    ).evaluate("area => area.style.getPropertyValue('--y').replace('%', '')")
    page.keyboard.press("ArrowUp")
    assert page.locator("#plot-ece-area").evaluate("area => area.style.getPropertyValue('--y')") == place
    first.click()
    expect(first).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#plot-ece .series.s1 .line")).to_be_hidden()
    expect(page.locator("#plot-ece .series.s2 .line")).to_be_visible()
    page.locator("#plot-ece-area").focus()
    page.keyboard.press("ArrowUp")
    expect(tip).to_contain_text("Model")
    first.click()
    expect(page.locator("#plot-ece .series.s1 .line")).to_be_visible()


def test_the_mouse_finds_the_nearest_point(page: Page, site: Site, dataset: Dataset) -> None:
    _open(page, site)
    _unfold(page)
    area = page.locator("#plot-labels-area")
    area.scroll_into_view_if_needed()
    box = not_none(area.bounding_box())
    page.mouse.move(box["x"] + box["width"] * 0.36, box["y"] + 20)
    expect(_tip(page, "labels")).to_contain_text("Model 2, 30 labels")
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] - 2)
    expect(_tip(page, "labels")).to_contain_text("Model 1, 12 labels")
    page.mouse.move(box["x"] + 2, box["y"] - 60)
    expect(_tip(page, "labels")).to_be_hidden()
    table = page.locator("#plot-labels-table")
    table.locator("summary").click()
    expect(table.get_by_role("row")).to_have_count(5)
    table.get_by_role("link", name="3").click()
    page.wait_for_url("**/d/pictures/model/3/")


def test_a_newer_plot_takes_a_plots_place_and_what_was_hidden_stays_so(
    page: Page, site: Site, dataset: Dataset
) -> None:
    _open(page, site)
    _unfold(page)
    page.locator("#plot-ece-key-2").click()
    page.evaluate("""async () => {
        const answer = await fetch(location.href);
        const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
        const html = page.getElementById('plot-ece').outerHTML;
        htmx.swap('#plot-ece', html, {swapStyle: 'outerHTML'});
    }""")
    expect(page.locator("#plot-ece-key-2")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#plot-ece .series.s2 .line")).to_be_hidden()


# -- In use again ---------------------------------------------------------------------------------
def test_a_button_that_is_pressed_is_not_replaced(page: Page, site: Site, dataset: Dataset) -> None:
    """A press that begins on one button and ends on its replacement is no click."""
    ModelVersion.objects.filter(dataset=dataset, is_active=True).update(is_chosen=True)
    _open(page, site)
    head = page.locator("#head")
    page.get_by_role("button", name="Resume").hover()
    page.mouse.down()
    with page.expect_response(re.compile("/head/$")):
        tell_job_finished(page)
    page.wait_for_timeout(200)
    with page.expect_response(re.compile("/release/$")), page.expect_response(re.compile("/head/$")):
        page.mouse.up()
    expect(head).not_to_contain_text("because you chose it")


@pytest.mark.parametrize("is_first", [False, True], ids=["answered last", "answered first"])
def test_an_answer_from_before_a_change_does_not_come_back(
    page: Page, site: Site, dataset: Dataset, is_first: bool
) -> None:
    """A page asks for its head when a job ends, also while a change is sent: then either may be answered first."""
    ModelVersion.objects.filter(dataset=dataset, is_active=True).update(is_chosen=True)
    _open(page, site)
    head = page.locator("#head")
    expect(head).to_contain_text("because you chose it")
    before = page.evaluate(
        "url => fetch(url, { headers: { 'HX-Request': 'true' } }).then(response => response.text())",
        head.get_attribute("hx-get"),
    )
    assert "because you chose it" in before
    held = Held(page, re.compile(r"/(head|release)/$"))
    page.get_by_role("button", name="Resume").click()
    page.wait_for_function("document.querySelector('#resume.htmx-request')")
    url = head.get_attribute("hx-get")
    page.evaluate("url => { htmx.ajax('GET', url, { target: '#head', swap: 'outerHTML' }); }", url)
    held.wait_for(2)
    change, older = sorted(held.routes, key=lambda route: route.request.method, reverse=True)
    assert (change.request.method, older.request.method) == ("POST", "GET")
    if is_first:
        older.fulfill(body=before, content_type="text/html")  # as the server answered it before the change
        page.wait_for_timeout(300)
    change.continue_()
    expect(head).not_to_contain_text("because you chose it")
    if not is_first:
        older.fulfill(body=before, content_type="text/html")
        page.wait_for_timeout(300)
        expect(head).not_to_contain_text("because you chose it")


@pytest.mark.usefixtures("worker")
def test_going_back_to_a_version_and_on_again(page: Page, site: Site, dataset: Dataset) -> None:
    third = ModelVersion.objects.get(number=3)
    model_files.delete_probabilities(third)
    _open(page, site)
    page.locator("#versions").get_by_role("link", name="3", exact=True).click()
    page.wait_for_url("**/d/pictures/model/3/")
    expect(page.locator("#head")).to_contain_text("Model 4 is in use")
    page.get_by_role("button", name="Use this version").click()
    expect(page.locator("#head")).to_contain_text(
        "Model 3 is in use because you chose it. Automatic retraining is paused."
    )
    expect(page.locator("#toasts")).to_contain_text("Predicting again: done")
    expect(page.locator("#versions tr", has_text="in use, chosen")).to_contain_text("45")
    third.refresh_from_db()
    assert (third.is_active, third.is_chosen) == (True, True)
    assert model_files.open_probabilities(third) is not None

    bench = Bench(page, site.address, dataset).open("queue=uncertain")
    expect(page.locator("#badge")).to_contain_text("model 3")
    expect(page.locator("#badge")).to_contain_text("retraining paused")
    expect(bench.tiles.first.locator(".suggestion")).to_contain_text("%")
    page.locator("#badge").click()
    page.wait_for_url("**/d/pictures/results/")
    page.get_by_role("link", name="Model 3 in detail").click()
    page.wait_for_url("**/d/pictures/model/")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#head")).not_to_contain_text("because you chose it")
    page.get_by_role("button", name="Retrain").click()
    expect(page.locator("#head")).to_contain_text("Model 5 is in use. Show it")
    page.wait_for_timeout(1500)
    expect(page.locator("#toasts .toast", has_text="Training the model: done")).to_have_count(0)
    page.get_by_role("link", name="Show it").click()
    expect(page.get_by_role("heading", name="Model 5", exact=True)).to_be_visible()


def test_an_answer_that_was_asked_for_before_a_change_does_not_undo_it(
    page: Page, site: Site, dataset: Dataset
) -> None:
    _open(page, site)
    page.locator("#versions").get_by_role("link", name="3", exact=True).click()
    page.wait_for_url("**/d/pictures/model/3/")
    page.get_by_role("button", name="Use this version").click()
    expect(page.locator("#head")).to_contain_text("because you chose it")
    held = Held(page, "**/model/3/head/")
    tell_job_finished(page)
    held.wait_for(1)
    held.let_others_pass()  # answered now, and here after the change
    before = page.locator("#head").evaluate("head => head.outerHTML")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#head")).not_to_contain_text("because you chose it")
    held.routes[0].fulfill(body=before, content_type="text/html")
    page.wait_for_timeout(500)
    expect(page.locator("#head")).not_to_contain_text("because you chose it")


def test_a_version_at_hand_is_in_use_at_once(page: Page, site: Site, dataset: Dataset) -> None:
    _open(page, site, "2/")
    page.get_by_role("button", name="Use this version").click()
    expect(page.locator("#head .badge", has_text="chosen")).to_be_visible()
    assert ModelVersion.objects.get(is_active=True).number == 2


# -- To everyone ----------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["", "1/", "2/", "compare/?a=2&b=4", "compare/?a=2&b=2"])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_window(
    page: Page, site: Site, dataset: Dataset, path: str
) -> None:
    _open(page, site, path)
    _unfold(page)
    for table in page.locator(".plot-table summary").all():
        table.click()
    require_accessible(page)
    require_no_wider_than_the_window(page)


def test_nothing_moves_while_the_page_asks_for_more(page: Page, site: Site, dataset: Dataset) -> None:
    watch_layout_shifts(page)
    _open(page, site, "3/")
    page.wait_for_timeout(300)
    assert page.evaluate("window.shift") == 0
