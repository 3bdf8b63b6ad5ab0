"""How every page looks and behaves to everyone: accessibility, dark and light, small and zoomed, without jumps."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, BrowserContext, Page, expect

from hoshina.jobs.models import Job
from labeling.models import Annotation, Dataset
from modeling.models import ModelVersion
from modeling.versions.model_files import save_probabilities
from tests.browser.axe import (
    require_accessible,
    require_large_targets,
    require_no_motion,
    require_no_wider_than_the_window,
    watch_layout_shifts,
)
from tests.browser.bench import Bench, Held, open_whole, tell_job_finished, wait_while_the_page_runs
from tests.browser.conftest import Site
from tests.browser.pages import PAGES
from tests.factories import not_none
from tests.modeling.factories import make_version


def _open(page: Page, address: str) -> None:
    open_whole(page, address)
    if page.locator("#bench").count():
        expect(page.locator("#grid:not(.is-waiting)")).to_be_visible()


# -- Accessibility and width --------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_fits(page: Page, site: Site, furnished: Dataset, name: str) -> None:
    _open(page, site.address + PAGES[name])
    require_accessible(page)
    require_large_targets(page)
    require_no_motion(page)
    require_no_wider_than_the_window(page)


@pytest.mark.parametrize("keys", [["Enter"], ["Enter", "Enter"], ["?"], ["/"], ["c"], ["1", "0", "Shift+ArrowRight"]])
def test_axe_finds_nothing_serious_in_the_workbench(
    page: Page, site: Site, furnished: Dataset, keys: list[str]
) -> None:
    _open(page, site.address + PAGES["workbench"])
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_timeout(500)
    page.wait_for_load_state("networkidle")
    require_accessible(page)


def test_axe_finds_nothing_serious_at_the_door(page: Page, site: Site, settings: Any) -> None:
    settings.LOGIN_REQUIRED = True
    User.objects.create_user("ana", password="a good password")
    page.goto(f"{site.address}/datasets/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    require_accessible(page)
    page.get_by_label("Name").fill("ana")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("correct")


# -- Sizes ------------------------------------------------------------------------------------------
def test_tiles_fill_the_screen_and_keys_work_at_200_percent(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 640, "height": 360})
    bench = Bench(page, site.address, site.dataset()).open()
    assert bench.n_tiles() >= 6
    bench.press("1", "ArrowDown", "2")
    assert bench.states().count("1") == 2
    box = not_none(bench.focused.bounding_box())
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 360


@pytest.mark.parametrize(("presses", "at_least"), [("-----", 150), ("", 24)])
def test_as_many_tiles_as_fit(page: Page, site: Site, presses: str, at_least: int) -> None:
    bench = Bench(page, site.address, site.dataset(260)).open()
    bench.press(*presses)
    page.reload()
    bench.ready()
    assert at_least <= bench.n_tiles() <= 200
    inside = page.evaluate("""() => {
        const stage = document.getElementById('stage').getBoundingClientRect();
        const last = document.querySelector('#grid .tile:last-child').getBoundingClientRect();
        return [stage.bottom - last.bottom, stage.scrollHeight];
    }""")
    assert 0 <= inside[0] < 60


# -- Without jumps ------------------------------------------------------------------------------------
def test_nothing_moves_while_thumbnails_load(page: Page, site: Site) -> None:
    watch_layout_shifts(page)
    held = Held(page, "**/api/thumb/**")
    bench = Bench(page, site.address, site.dataset()).open()
    held.wait_for(1)
    page.wait_for_timeout(500)
    before = [tile.bounding_box() for tile in bench.tiles.all()[:5]]
    held.release_all()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.tile img')].every(image => image.complete && image.naturalWidth)"
    )
    bench.press("1", "2")
    bench.settle()
    page.wait_for_timeout(500)
    assert page.evaluate("window.shift") == 0
    assert [tile.bounding_box() for tile in bench.tiles.all()[:5]] == before


def test_growing_numbers_and_other_queues_move_nothing_in_the_header(bench: Bench, page: Page) -> None:
    bench.open()
    page.locator("#badge").wait_for()
    page.locator("#queue-menu details").wait_for()
    places = page.locator("#queue-menu, #badge-slot, .progress > *, #class-pane .count, .others .count")
    rounded = "places => places.map(place => Object.values(place.getBoundingClientRect().toJSON()).map(Math.round))"
    before = places.evaluate_all(rounded)
    page.evaluate("""() => {
        for (const count of document.querySelectorAll('[data-count="labelled"]')) count.textContent = "59";
        for (const count of document.querySelectorAll(".classes .count")) count.textContent = "123";
        document.querySelector("#queue-menu b").textContent = "Uncertain";
    }""")
    assert places.evaluate_all(rounded) == before


def test_the_local_time_takes_the_space_of_the_servers_time(page: Page, site: Site, furnished: Dataset) -> None:
    watch_layout_shifts(page)
    Job.objects.create(kind="retrain", queue="interactive", state="succeeded", dataset_id=furnished.pk)
    held = Held(page, "**/js/app*.js")  # which writes the local times
    page.goto(site.address + PAGES["jobs"], wait_until="commit")
    held.wait_for(1)
    time = page.locator("main table time").first
    before = time.bounding_box()
    held.release_all()
    expect(time).to_have_attribute("title", re.compile("UTC"))
    assert time.bounding_box() == before
    assert page.evaluate("window.shift") == 0


def test_small_images_are_enlarged_without_blur_and_never_cropped(page: Page, site: Site) -> None:
    bench = Bench(page, site.address, site.dataset()).open()
    image = bench.tiles.first.locator("img")
    style = image.evaluate(
        "image => { const style = getComputedStyle(image); return [style.imageRendering, style.objectFit]; }"
    )
    assert style == ["pixelated", "contain"]


# -- Suggestions ------------------------------------------------------------------------------------
def test_suggestions_show_and_blind_is_recorded(page: Page, site: Site, furnished: Dataset) -> None:
    bench = Bench(page, site.address, furnished).open("queue=uncertain")
    first, second = bench.ids()[:2]
    expect(bench.tiles.first.locator(".suggestion")).to_contain_text("%")
    bench.press("1", "b")
    expect(bench.tiles.nth(1).locator(".suggestion")).to_be_hidden()
    bench.press("1")
    bench.settle()
    seen = {one.item_id: one for one in Annotation.objects.filter(item__in=[first, second])}
    assert [seen[first].suggestion_shown, seen[second].suggestion_shown] == [True, False]
    assert seen[first].suggested_label_id is not None
    assert seen[first].model_version_id is not None
    assert seen[first].queue == "uncertain"


def test_a_page_fetched_ahead_for_an_older_model_is_dropped(page: Page, site: Site, furnished: Dataset) -> None:
    bench = Bench(page, site.address, furnished).open("queue=all&state=unlabelled")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/grid/" in request.url else None)
    n = bench.n_tiles()
    bench.press(*["1"] * (n // 2 + 1))
    bench.settle()
    wait_while_the_page_runs(page, lambda: asked, why="the next page")
    page.wait_for_load_state("networkidle")
    assert len(asked) == 1
    ModelVersion.objects.update(is_active=False)
    old = ModelVersion.objects.get()
    facts = {"class_ids": old.class_ids, "metrics": old.metrics, "embedding_set": old.embedding_set}
    new = make_version(furnished, 2, n_rows=60, n_decisions=40, is_active=True, **facts)
    with save_probabilities(new, 60, 3) as probabilities:
        probabilities[:] = (0.1, 0.1, 0.8)
    with page.expect_response("**/model/badge/"):
        page.evaluate("document.body.dispatchEvent(new CustomEvent('hoshina:job'))")
    expect(page.locator("#badge")).to_contain_text("model 2")
    shown = bench.ids()
    bench.press(*["1"] * (n - n // 2 - 1))
    expect(page.locator(f"#item-{shown[0]}")).to_have_count(0)
    wait_while_the_page_runs(page, lambda: len(asked) >= 2, why="a page of the new model")
    expect(page.locator("#grid")).to_have_attribute("data-model", str(new.pk))


def test_the_next_page_is_fetched_again_as_soon_as_a_job_ends(page: Page, site: Site, furnished: Dataset) -> None:
    """A page fetched ahead is leased, so nothing is fetched before half of this page is decided."""
    bench = Bench(page, site.address, furnished).open("queue=all&state=unlabelled")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/grid/" in request.url else None)
    n = bench.n_tiles()
    tell_job_finished(page, "retrain")
    bench.press(*["1"] * (n // 2 - 1))
    bench.settle()
    page.wait_for_load_state("networkidle")
    assert asked == []
    bench.press("1", "1")
    wait_while_the_page_runs(page, lambda: asked, why="the next page")
    page.wait_for_load_state("networkidle")
    assert len(asked) == 1
    tell_job_finished(page, "retrain")
    wait_while_the_page_runs(page, lambda: len(asked) == 2, why="the next page by the new model")


# -- Around the pages -------------------------------------------------------------------------------
def test_the_theme_follows_the_system_until_it_is_chosen(page: Page, site: Site, furnished: Dataset) -> None:
    _open(page, f"{site.address}/datasets/")

    def ground() -> int:
        colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return int(colour.split("(")[1].split(",")[0])

    assert ground() < 60
    page.emulate_media(color_scheme="light")
    assert ground() > 200
    page.get_by_role("button", name="Theme").click()
    assert ground() < 60
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert ground() < 60
    page.get_by_role("button", name="Theme: dark").click()
    page.emulate_media(color_scheme="dark")
    assert ground() > 200
    page.get_by_role("button", name="Theme: light").click()
    assert ground() < 60


def test_the_menu_opens_by_keyboard_and_closes(page: Page, site: Site, furnished: Dataset) -> None:
    page.set_viewport_size({"width": 1024, "height": 700})
    _open(page, site.address + PAGES["workbench"])
    button = page.get_by_role("button", name="Pages")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("navigation", name="Pages")).to_be_hidden()
    assert page.evaluate("document.activeElement.getAttribute('aria-controls')") == "nav"


def test_the_switcher_shows_the_other_datasets(page: Page, site: Site, furnished: Dataset) -> None:
    _open(page, site.address + PAGES["workbench"])
    page.locator("#header summary").click()
    page.get_by_role("link", name="empty").click()
    expect(page.locator("#grid.is-empty")).to_be_visible()
    expect(page).to_have_title("empty · HOSHINA")


def test_first_images_appear_while_the_folder_is_read(page: Page, site: Site) -> None:
    empty = site.make_dataset(0, name="pictures")
    page.goto(f"{site.address}/d/{empty.slug}/?queue=random")
    expect(page.locator("#grid.is-empty")).to_contain_text("Reading the folder")
    empty.delete()
    dataset = site.dataset(6)
    expect(page.locator("#grid .tile")).to_have_count(6)
    assert dataset.slug in page.url


def test_moments_are_in_the_readers_own_time(browser: Browser, site: Site, furnished: Dataset) -> None:
    context: BrowserContext = browser.new_context(timezone_id="Pacific/Honolulu")
    page = context.new_page()
    _open(page, site.address + PAGES["model"])
    ModelVersion.objects.update(created_at=datetime(2026, 3, 4, 5, 6, tzinfo=UTC))
    page.reload()
    moment = page.locator("table time").first
    expect(moment).to_have_text("3 Mar 2026, 19:06")
    expect(moment).to_have_attribute("title", "4 Mar 2026, 05:06 UTC")
    context.close()


def test_no_motion_when_none_is_wanted(browser: Browser, site: Site, furnished: Dataset) -> None:
    context: BrowserContext = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    _open(page, site.address + PAGES["workbench"])
    durations = page.evaluate(
        "() => [...document.querySelectorAll('*')].map(one => parseFloat(getComputedStyle(one).transitionDuration))"
    )
    assert max(durations) == 0
    context.close()


def test_a_badge_that_comes_or_grows_moves_no_job(bench: Bench, page: Page) -> None:
    """Jobs fill the header from its end, so that Cancel stays under the pointer."""
    bench.open()
    page.locator("#badge").wait_for()
    page.locator("#strip").evaluate("""strip => strip.innerHTML =
        '<span class="strip-job"><span class="strip-title">Computing embeddings</span>'
        + ' <button type="button" class="link">Cancel</button></span>'""")
    cancel = page.locator("#strip button")
    before = cancel.bounding_box()
    page.locator("#badge").evaluate("badge => badge.insertAdjacentHTML('beforeend', '<b class=badge>training…</b>')")
    assert cancel.bounding_box() == before
    train = page.locator("#open-quick").bounding_box()
    page.locator("#badge-slot").evaluate("slot => slot.innerHTML = ''")
    page.locator("#strip-slot").evaluate("slot => slot.innerHTML = ''")  # as the page comes
    assert page.locator("#open-quick").bounding_box() == train
