"""What guides a person on the workbench: the introduction, reasons, messages while waiting, toasts, the palette."""

import re

import pytest
from playwright.sync_api import Page, expect

from hoshina.jobs.lifecycle import run_now
from labeling.models import Annotation, Dataset, Item
from tests.browser.axe import require_accessible
from tests.browser.bench import Bench, Held
from tests.browser.conftest import Site
from tests.browser.factories import add_falling_model
from tests.modeling.factories import add_vectors, import_labels, two_clouds

WRONG = [7, 20, 33]


@pytest.fixture
def suspects(site: Site, page: Page) -> Bench:
    """Provide Suspects of sixty labels, three of them wrong."""
    dataset = site.dataset(80)
    X, y = two_clouds(80)
    X += 3 * y[:, None]
    given = y.copy()
    given[WRONG] = 1 - given[WRONG]
    add_vectors(dataset, X)
    import_labels(dataset, list(range(60)), given)
    run_now("retrain", dataset_id=dataset.pk)
    return Bench(page, site.address, dataset).open("queue=suspects")


def _newest(dataset: Dataset, row: int) -> Annotation:
    return Annotation.objects.filter(item=Item.objects.get(dataset=dataset, row=row)).latest("pk")


def test_enter_keeps_a_label_that_the_model_doubts(suspects: Bench, page: Page) -> None:
    expect(page.locator("#sweep-bar")).to_contain_text("3 labels the model disagrees with")
    expect(page.locator(".hints [data-do=detail]")).to_contain_text("keep label")
    assert sorted(suspects.rows()) == WRONG
    first, second, third = suspects.rows()
    suspects.press("Enter")
    expect(suspects.focused).to_have_attribute("data-row", str(second))
    expect(page.locator(f'.tile[data-row="{first}"]')).to_have_attribute("data-review", "done")
    page.locator("#sweep-bar").get_by_role("button", name="Keep label").click()
    expect(suspects.focused).to_have_attribute("data-row", str(third))
    label = Item.objects.get(dataset=suspects.dataset, row=third).label
    assert label is not None
    suspects.press("2" if label.name == "cat" else "1")  # the other class is right
    expect(page.locator("#grid.is-empty")).to_be_visible()  # all are decided, so the page turned
    suspects.settle()
    assert [_newest(suspects.dataset, row).queue for row in (first, second, third)] == ["suspects"] * 3
    assert _newest(suspects.dataset, third).label != label


def test_space_opens_the_detail_in_suspects_and_undo_reopens_a_tile(suspects: Bench, page: Page) -> None:
    row = suspects.rows()[0]
    suspects.press(" ")
    expect(page.locator("#side")).to_be_visible()
    suspects.press("Enter")
    expect(page.locator(f'.tile[data-row="{row}"]')).to_have_attribute("data-review", "done")
    suspects.press("z")
    expect(page.locator(f'.tile[data-row="{row}"]')).to_have_attribute("data-review", "open")
    expect(suspects.focused).to_have_attribute("data-row", str(row))


def test_a_wrong_tile_of_a_sweep_offers_the_runner_up(bench: Bench, page: Page) -> None:
    add_falling_model(bench.dataset)
    bench.open(f"queue=sweep&of={bench.dataset.classes.get(name='cat').pk}")
    tile, other = bench.tiles.nth(1), bench.tiles.nth(2)
    item = int(tile.get_attribute("data-item") or 0)
    expect(tile.locator(".runner-up")).to_be_hidden()
    tile.click()
    other.click()
    expect(tile.locator(".runner-up")).to_have_text("2dog")
    tile.locator(".runner-up").click()
    expect(tile).to_have_attribute("data-state", "1")
    expect(tile.locator(".runner-up")).to_be_hidden()
    expect(other).to_have_attribute("aria-selected", "true")
    expect(page.locator("#sweep-bar")).to_contain_text("1 marked")
    bench.settle()
    assert bench.outcome(item) == (1, "dog")


def test_reasons_on_demand(bench: Bench, page: Page) -> None:
    bench.open("queue=random")
    expect(bench.focused.locator(".reason")).to_be_hidden()
    bench.press("w")
    expect(bench.focused.locator(".reason")).to_contain_text("rank 1")
    require_accessible(page)
    page.reload()
    bench.ready()
    expect(bench.focused.locator(".reason")).to_be_visible()
    bench.press("w")
    expect(bench.focused.locator(".reason")).to_be_hidden()


def test_a_slow_change_of_the_queue_dims_the_grid_and_says_why(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    held = Held(page, re.compile("/grid/"))
    bench.press("q")
    page.locator("#queue-menu .queue", has_text="Auto").click()
    expect(page.locator("#loading-note")).to_have_text("Ranking 60 images…")
    expect(page.locator("#stage")).to_have_class(re.compile("dimmed"))
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "true")
    held.wait_for(1)
    held.release_all()
    expect(page.locator("#loading-note")).to_have_count(0)
    expect(page.locator("#stage")).not_to_have_class(re.compile("dimmed"))
    assert not page.locator("#stage").get_attribute("aria-busy")


def test_empty_tiles_until_the_first_page_comes(bench: Bench, page: Page) -> None:
    held = Held(page, re.compile("/grid/"))
    page.goto(f"{bench.url}?queue=all")
    held.wait_for(1)
    n = page.locator(".empty-tile").count()
    assert n >= 12
    held.release_all()
    bench.ready()
    assert bench.n_tiles() == n
    expect(page.locator(".empty-tile")).to_have_count(0)


def test_one_toast_at_a_time(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    bench.press("b", "b", "w")
    shown = bench.toasts.locator(".toast:visible")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text("Each tile says why")
    page.evaluate("""
        document.dispatchEvent(new CustomEvent('hoshina:toast', { detail: { text: 'It failed.', kind: 'error' } }));
        document.dispatchEvent(new CustomEvent('hoshina:toast', { detail: { text: 'Later.' } }));
    """)
    expect(shown).to_contain_text("It failed.")
    page.wait_for_timeout(1500)
    expect(shown).to_contain_text("It failed.")  # an error does not give way
    shown.get_by_role("button", name="Dismiss").click()
    expect(shown).to_contain_text("Later.")
    expect(shown).to_have_count(1)


def test_the_palette_finds_commands_queues_classes_and_pages(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    bench.press("Control+k")
    palette = page.locator("#palette")
    expect(palette).to_be_visible()
    require_accessible(page)
    page.keyboard.type("unsure")
    bench.press("Enter")
    expect(palette).to_be_hidden()
    assert bench.states()[0] == "2"
    bench.press("Control+k")
    page.keyboard.type("dog")
    bench.press("Enter")
    expect(bench.tiles.nth(1)).to_have_attribute("data-state", "1")
    bench.press("Control+k")
    page.keyboard.type("rando")
    bench.press("Enter")
    page.wait_for_url("**/*queue=random*")
    bench.ready()
    bench.press("Control+k")
    page.keyboard.type("encod")
    bench.press("Enter")
    page.wait_for_url("**/encoders/")
    page.keyboard.press("Control+k")  # also on the other pages
    page.keyboard.type("nothing of that name")
    expect(page.locator("#palette-none")).to_be_visible()
    page.keyboard.press("Control+a")
    page.keyboard.type("label")
    page.keyboard.press("Enter")
    bench.ready()


def test_the_width_of_the_class_pane_is_stored(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    pane, handle = page.locator(".left"), page.get_by_role("separator", name="Width of the class pane")
    before = pane.bounding_box()
    box = handle.bounding_box()
    assert before is not None
    assert box is not None
    page.mouse.move(box["x"] + 2, 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 82, 300)
    page.mouse.up()
    wide = pane.bounding_box()
    assert wide is not None
    assert abs(wide["width"] - before["width"] - 80) < 8
    handle.focus()
    bench.press("ArrowRight")
    page.reload()
    bench.ready()
    again = pane.bounding_box()
    assert again is not None
    assert again["width"] > wide["width"]
    handle.dblclick()
    last = pane.bounding_box()
    assert last is not None
    assert last["width"] == before["width"]
    assert bench.index() == 0, "the arrow keys moved the handle, not the focus"


def test_the_introduction_follows_the_person_and_ends(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    box = page.get_by_role("region", name="Introduction")
    expect(box.locator("[aria-current=step]")).to_contain_text("0 of 10")
    require_accessible(page)
    bench.press(*"12" * 5)
    expect(box.locator("[aria-current=step]")).to_contain_text("See the model appear")
    bench.settle()
    add_falling_model(bench.dataset)
    page.reload()
    bench.ready()
    expect(box.locator("[aria-current=step]")).to_contain_text("Try a sweep")
    bench.press("q")
    page.locator("#queue-menu .queue", has_text="Sweep").click()
    expect(page.locator("#sweep-bar")).to_be_visible()
    expect(box.locator("[aria-current=step]")).to_contain_text("Try a sweep")
    bench.press("a")
    expect(box.get_by_text("That is all you need.")).to_be_visible()
    page.reload()
    bench.ready()
    expect(box).to_be_hidden()


def test_the_introduction_can_be_closed(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    page.get_by_role("button", name="Close the introduction").click()
    expect(page.locator("#introduction")).to_be_hidden()
    bench.press("1")
    assert bench.states()[0] == "1"  # the keys act on the tiles again
    page.reload()
    bench.ready()
    expect(page.locator("#introduction")).to_be_hidden()


def test_long_class_names_take_two_lines(bench: Bench, page: Page) -> None:
    bench.dataset.classes.filter(name="cat").update(name="planetary nebula")
    add_falling_model(bench.dataset)
    bench.open("queue=all&state=unlabelled")
    name = bench.tiles.nth(20).locator(".suggestion .name")
    expect(name).to_have_text("planetary nebula")
    assert name.evaluate("name => name.scrollHeight <= name.clientHeight + 1 && name.scrollWidth <= name.clientWidth")
    pane = page.locator("#class-pane .name").first
    assert pane.evaluate("name => name.scrollHeight <= name.clientHeight + 1")
    for _ in range(4):
        bench.press("-")
    expect(bench.tiles.first.locator(".suggestion kbd")).to_have_text("1")  # never by color alone
    expect(bench.tiles.first.locator(".suggestion kbd")).to_be_visible()


def test_redo_follows_undo_until_the_next_decision(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    bench.press("1", "2", "z")
    expect(bench.toasts).to_contain_text("Undid dog on image0001.png.")
    bench.press("z", "Shift+z", "Shift+z")
    assert bench.states()[:3] == ["1", "1", "0"]
    expect(bench.focused).to_have_attribute("data-row", "2")  # the next key labels an image without a label
    bench.press("Shift+z")
    expect(bench.toasts.locator(".toast:visible")).to_contain_text("Nothing to redo.")
    bench.press("z", "3")
    bench.press("Shift+z")
    bench.settle()
    first, second = bench.ids()[:2]
    assert [bench.outcome(item) for item in (first, second)] == [(1, "cat"), (1, "bird")]


def test_back_returns_to_the_queue_before(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    bench.press("q")
    page.locator("#queue-menu .queue[value=random]").click()
    expect(page.locator('#grid[data-kind="random"]')).to_be_visible()
    page.go_back()
    expect(page.locator('#grid[data-kind="all"]')).to_be_visible()
    expect(page.locator("#queue-menu .queue-current b")).to_have_text("All")


def test_audit_hides_suggestions(bench: Bench, page: Page) -> None:
    add_falling_model(bench.dataset)
    bench.open("queue=all&state=unlabelled")
    expect(bench.focused.locator(".suggestion")).to_be_visible()
    bench.press("q")
    page.locator("#queue-menu .queue[value=audit]").click()
    expect(page.locator('#grid[data-kind="audit"]')).to_be_visible()
    expect(bench.focused.locator(".suggestion")).to_be_hidden()
    expect(page.get_by_role("option", name="suggested")).to_have_count(0)
    bench.press("1")
    bench.settle()
    assert Annotation.objects.latest("pk").suggestion_shown is False
    bench.press("q")
    page.locator("#queue-menu .queue[value=random]").click()
    expect(page.locator('#grid[data-kind="random"]')).to_be_visible()
    expect(bench.focused.locator(".suggestion")).to_be_visible()
