"""Every queue in a real browser: pulled, the band by keyboard and by mouse, similar images with their slider."""

import re

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from hoshina.jobs.lifecycle import run_now
from labeling.models import Dataset, Item, LabelClass, State
from modeling.models import RetrainPolicy
from modeling.predictions import active_predictions
from sampling.queues.registry import STRATEGIES
from tests.browser.bench import Bench, tell_job_finished, wait_while_the_page_runs
from tests.browser.conftest import Site
from tests.factories import assert_contains, not_none
from tests.modeling.factories import add_vectors, import_labels

pytestmark = pytest.mark.usefixtures("worker")

N = 66  # 30 of them to label: they fit on one page
LISTED = [name for name, strategy in STRATEGIES.items() if strategy.is_listed and name not in {"similar", "unlike"}]


def _vectors() -> np.ndarray:
    """Return three clouds that overlap, all in one half of the space."""
    rng = np.random.default_rng(2)
    return (4 + rng.normal(size=(N, 6)) + 1.5 * rng.normal(size=(3, 6))[np.arange(N) % 3]).astype(np.float32)


@pytest.fixture
def dataset(site: Site) -> Dataset:
    """Provide 66 pictures with vectors, 36 labels with two mistakes, and the model that learnt from them."""
    dataset = site.dataset(N)
    add_vectors(dataset, _vectors())
    import_labels(dataset, list(range(36)), np.array([(row + (row in {4, 9})) % 3 for row in range(36)]))
    # Smoothed, the model is so certain that a band in the middle is empty.
    RetrainPolicy.objects.update_or_create(dataset=dataset, defaults={"is_smoothed": False})
    run_now("retrain", dataset_id=dataset.pk)
    return dataset


def _choose(page: Page, queue: str) -> Locator:
    """Choose the queue in the header's menu and wait for it to be the current one."""
    page.locator("#queue-menu summary").click()
    page.locator(f'#queue-menu button[value="{queue}"]').click()
    expect(page.locator("#queue-menu summary b")).to_have_text(STRATEGIES[queue].title)
    return page.locator(f'#grid[data-kind="{queue}"]')


def _band_rows(dataset: Dataset, low: float, high: float, class_id: int = 0) -> set[int]:
    """Return the unlabelled rows in the band, one at a time."""
    predictions = not_none(active_predictions(dataset))
    found = set()
    for row in Item.objects.filter(dataset=dataset, state=State.UNLABELLED).values_list("row", flat=True):
        chances = predictions.probabilities[row]
        chance = chances[predictions.columns()[class_id]].sum() if class_id else chances.max()
        if low <= chance <= high:
            found.add(row)
    return found


@pytest.mark.parametrize("queue", LISTED)
def test_a_queue_is_chosen_says_what_it_is_for_and_deals(page: Page, site: Site, dataset: Dataset, queue: str) -> None:
    bench = Bench(page, site.address, dataset).open("queue=all" if queue != "all" else "queue=random")
    grid = _choose(page, queue)
    expect(grid).to_be_visible()
    expect(page.locator("#queue-help")).to_have_text(STRATEGIES[queue].help)
    expect(bench.tiles.first.or_(page.locator("#grid .empty h1"))).to_be_visible()
    if queue not in {"sweep", "groups"}:  # a sweep may find nothing that keeps its promise, and says so
        expect(bench.tiles.first).to_be_visible()
    for tile in bench.tiles.all()[:3]:
        assert len((tile.get_attribute("title") or "").split("\n")) == 2, "its name and why it is shown"


def test_queues_are_chosen_by_keyboard_and_keep_the_filters(page: Page, site: Site, dataset: Dataset) -> None:
    bench = Bench(page, site.address, dataset).open("queue=random&seed=3&predicted=")
    page.locator("#choice-predicted").select_option(label="dog")
    expect(page).to_have_url(re.compile("predicted="))
    bench.press("q")
    expect(page.locator('#queue-menu button[value="random"]')).to_be_focused()
    expect(page.locator('#queue-menu button[value="uncertain"]')).to_contain_text(STRATEGIES["uncertain"].help)
    bench.press("ArrowDown")
    expect(page.locator('#queue-menu button[value="audit"]')).to_be_focused()
    bench.press("ArrowUp", "ArrowUp", "Escape")
    expect(page.locator("#queue-menu details")).not_to_have_attribute("open", "")
    bench.press("q", "ArrowDown", "ArrowDown", "Enter")
    expect(page.locator('#grid[data-kind="all"]')).to_be_visible()
    expect(page.locator("#choice-predicted option:checked")).to_have_text("dog")
    expect(bench.focused).to_be_focused()
    expect(page).to_have_url(re.compile("queue=all"))
    assert_contains(page.url, "predicted=")


def test_a_menu_that_is_open_stays_when_a_job_ends(page: Page, site: Site, dataset: Dataset) -> None:
    Bench(page, site.address, dataset).open("queue=all")
    page.locator("#queue-menu summary").click()
    with page.expect_response("**/queues/**"):
        tell_job_finished(page)
    page.wait_for_timeout(300)
    expect(page.locator('#queue-menu button[value="random"]')).to_be_visible()


def test_queues_that_are_not_available_yet_say_why(page: Page, site: Site) -> None:
    Bench(page, site.address, site.dataset(30, name="new")).open("queue=all")
    page.locator("#queue-menu summary").click()
    for queue, reason in (("uncertain", "Needs a model."), ("diverse", "Needs embeddings.")):
        button = page.locator(f'#queue-menu button[value="{queue}"]')
        expect(button).to_be_disabled()
        expect(button).to_contain_text(reason)
    expect(page.locator("#queue-menu .queue-note")).to_contain_text("once embeddings are computed")


def test_the_similar_icon_of_a_tile(page: Page, site: Site, dataset: Dataset, browser: Browser) -> None:
    bench = Bench(page, site.address, dataset).open("queue=all&state=unlabelled")
    icon = bench.tiles.nth(3).locator(".tile-similar")
    expect(icon).to_be_hidden()
    expect(bench.focused.locator(".tile-similar")).to_be_visible()
    bench.tiles.nth(3).hover()
    expect(icon).to_be_visible()
    row = bench.tiles.nth(3).get_attribute("data-row")
    icon.click()
    expect(page.locator('#grid[data-kind="similar"]')).to_be_visible()
    expect(page).to_have_url(re.compile(rf"\bto={row}\b"))
    expect(page.locator("#queues .examples img")).to_have_count(1)
    touch = browser.new_context(viewport={"width": 820, "height": 1180}, has_touch=True, is_mobile=True)
    tablet = touch.new_page()
    Bench(tablet, site.address, dataset).open("queue=all&state=unlabelled")
    for tile in tablet.locator("#grid .tile").all()[:4]:
        expect(tile.locator(".tile-similar")).to_be_visible()
    touch.close()


def test_the_band_follows_the_keyboard(page: Page, site: Site, dataset: Dataset) -> None:
    bench = Bench(page, site.address, dataset).open("queue=band&low=0.3&high=0.8")
    told, low, high = page.locator("#range-text"), page.locator("#band-low"), page.locator("#band-high")
    count = page.locator("#pull-count")
    before = _band_rows(dataset, 0.3, 0.8)
    expect(count).to_have_text(f"{len(before)} images")
    assert set(bench.rows()) == before
    high.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert (low.input_value(), high.input_value()) == ("0.3", "1")
    expect(told).to_contain_text("0.30 to 1.00")
    after = _band_rows(dataset, 0.3, 1)
    assert len(after) > len(before)
    expect(count).to_have_text(f"{len(after)} images")
    expect(high).to_be_focused()
    expect(bench.tiles).to_have_count(len(before))  # the page stays until the button asks for another
    page.keyboard.press("Enter")
    expect(bench.tiles).to_have_count(len(after))
    assert set(bench.rows()) == after
    expect(bench.focused).to_be_focused()
    high.focus()
    page.keyboard.press("Home")
    assert (low.input_value(), high.input_value()) == ("0.3", "0.3"), "the ends never cross"
    page.keyboard.press("Shift+Tab")
    expect(low).to_be_focused()
    page.keyboard.press("End")
    assert (low.input_value(), high.input_value()) == ("0.3", "0.3")
    assert not _band_rows(dataset, 0.3, 0.3)
    expect(told).to_have_text("Probability 0.30 to 0.30")
    expect(count).to_have_text("0 images")
    expect(page.get_by_role("button", name="Pull 0 images")).to_be_disabled()
    expect(page).to_have_url(re.compile("low=0.3&high=0.3"))


def test_the_band_of_a_class_follows_the_mouse(page: Page, site: Site, dataset: Dataset) -> None:
    bench = Bench(page, site.address, dataset).open("queue=band&low=0&high=1")
    dog = dataset.classes.get(name="dog")
    with page.expect_response("**/queues/**"):
        page.locator("#band-of").select_option(label="dog")
    expect(page.locator(f'#band-of option[value="{dog.pk}"][selected]')).to_have_count(1)
    page.wait_for_load_state("networkidle")
    told, low = page.locator("#range-text"), page.locator("#band-low")
    everything = _band_rows(dataset, 0, 1, dog.pk)
    count = page.locator("#pull-count")
    expect(count).to_have_text(f"{len(everything)} images")
    low.scroll_into_view_if_needed()
    box = not_none(low.bounding_box())
    thumb = {"x": box["x"] + 8, "y": box["y"] + box["height"] / 2}
    page.mouse.move(thumb["x"], thumb["y"])
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, thumb["y"], steps=8)
    expect(count).to_contain_text("about")  # at once, before the server is asked
    page.mouse.up()
    reached = float(low.input_value())
    assert 0.4 < reached < 0.6
    inside = _band_rows(dataset, reached, 1, dog.pk)
    assert 0 < len(inside) < len(everything)
    expect(told).to_have_text(re.compile(r"to 1\.00$"))
    page.get_by_role("button", name=f"Pull {len(inside)} images").click()
    expect(bench.tiles).to_have_count(len(inside))
    assert set(bench.rows()) == inside
    bars = page.locator(".band-slider rect")
    expect(bars).to_have_count(100)
    assert sum(int(bar) for bar in bars.evaluate_all("bars => bars.map(bar => bar.dataset.n)")) == len(everything)


def test_similar_images_with_their_slider_and_the_way_back(page: Page, site: Site, dataset: Dataset) -> None:
    bench = Bench(page, site.address, dataset).open("queue=uncertain&measure=entropy")
    chosen = bench.rows()[:2]
    bench.press("Shift+ArrowRight", "s")
    expect(page.locator('#grid[data-kind="similar"]')).to_be_visible()
    unit = _vectors() / np.linalg.norm(_vectors(), axis=1, keepdims=True)
    alike = (unit @ unit[chosen].T).max(axis=1)
    order = [row for row in np.argsort(-alike).tolist() if row >= 36 and row not in chosen]
    assert bench.rows()[:10] == order[:10]
    expect(page.locator("#queues .examples img")).to_have_count(2)
    expect(page.locator("#queues .similar")).to_contain_text("Similar to any of these 2 images")
    expect(page.locator("#choice-state")).to_have_value("unlabelled")

    slider = page.locator("#choice-at-least")
    slider.focus()
    page.keyboard.press("End")
    expect(page.locator("#range-text")).to_contain_text("similarity 1.00 or more: 0 of the")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert slider.input_value() == "0.95"
    near = [row for row in order if alike[row] >= 0.95]
    assert 0 < len(near) < len(order)
    expect(bench.tiles).to_have_count(len(near))
    expect(page.locator("#range-text")).to_have_text("similarity 0.95 or more (1: identical)")
    assert bench.rows() == near
    expect(slider).to_be_focused()

    page.locator("#choice-state").select_option("any")
    expect(bench.tiles).not_to_have_count(len(near))
    assert set(near) < set(bench.rows()) <= {row for row in range(N) if alike[row] >= 0.95 and row not in chosen}
    page.get_by_role("link", name="Back to Uncertain").click()
    expect(page.locator('#grid[data-kind="uncertain"]')).to_be_visible()
    expect(page).to_have_url(re.compile("measure=entropy"))
    expect(page.locator("#choice-measure")).to_have_value("entropy")
    page.go_back()
    expect(page.locator('#grid[data-kind="similar"]')).to_be_visible()


def test_back_undoes_one_filter_and_a_button_clears_all(page: Page, site: Site, dataset: Dataset) -> None:
    Bench(page, site.address, dataset).open("queue=all")
    clear = page.get_by_role("button", name="Clear filters")
    expect(clear).to_be_hidden()
    page.get_by_label("Class", exact=True).select_option(label="cat")
    expect(page).to_have_url(re.compile("label="))
    expect(clear).to_be_visible()
    n_cats = LabelClass.objects.get(name="cat").n_items
    expect(page.locator("#n-matching")).to_have_text(f"{n_cats} images found")
    page.go_back()
    expect(page).not_to_have_url(re.compile("label="))
    expect(clear).to_be_hidden()
    expect(page.locator("#n-matching")).to_have_text("")
    page.get_by_label("Class", exact=True).select_option(label="dog")
    page.get_by_label("State").select_option("labelled")
    expect(page).to_have_url(re.compile("state=labelled"))
    clear.click()
    expect(page).to_have_url(re.compile(r"\?queue=all$"))
    expect(page.get_by_label("Class", exact=True)).to_have_value("")


def test_audit_tells_how_many_images_are_missing(page: Page, site: Site, dataset: Dataset) -> None:
    bench = Bench(page, site.address, dataset).open("queue=audit")
    progress = page.locator("#audit-progress")
    expect(progress).to_have_text("0 of 20 random images labeled.")
    bench.press("1", "2")
    expect(progress).to_have_text("2 of 20 random images labeled.")
    bench.press(*"12" * 9)
    expect(progress).to_contain_text("20 random images labeled, enough to estimate the accuracy")


def test_a_job_that_ends_does_not_move_the_slider_back(page: Page, site: Site, dataset: Dataset) -> None:
    Bench(page, site.address, dataset).open("queue=band&low=0.3&high=0.8")
    high = page.locator("#band-high")
    high.focus()
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/queues/" in request.url else None)

    def late(route: Route) -> None:
        if len(asked) == 1:  # asked for before the thumb moved, answered after
            page.keyboard.press("ArrowRight")
        route.continue_()

    page.route("**/queues/**", late)
    tell_job_finished(page)
    expect(page.locator("#range-text")).to_have_text("Probability 0.30 to 0.81")
    wait_while_the_page_runs(page, lambda: len(asked) >= 3, why="the words, and the form once more")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    expect(high).to_have_value("0.81")
    expect(high).to_be_focused()
