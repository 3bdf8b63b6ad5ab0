"""Images whose file changed after they were labeled: found, confirmed and cleared with one key each."""

import pytest
from playwright.sync_api import Page, expect

from labeling.decisions.content_changes import mark_content_changed
from labeling.models import Annotation, Item
from tests.browser.bench import Bench
from tests.factories import decide


@pytest.fixture
def changed(bench: Bench) -> Bench:
    """Label ten cats, then change the files of rows 2, 5 and 7, and of row 20, which nobody labeled."""
    decide(bench.dataset, "assign", range(10), "cat")
    rows = dict(Item.objects.values_list("row", "pk"))
    mark_content_changed([rows[row] for row in (2, 5, 7, 20)])
    return bench


def left() -> list[int]:
    return list(Item.objects.changed_since_decision().order_by("row").values_list("row", flat=True))


def test_the_filter_lists_them_and_a_key_settles_each(changed: Bench) -> None:
    page = changed.page
    page.goto(f"{changed.address}/d/{changed.dataset.slug}/export/")
    expect(page.locator("#content-changed")).to_contain_text("3 images changed after their files were labeled")
    page.get_by_role("link", name="Check them").click()
    changed.ready()
    expect(page.locator("#choice-state")).to_have_value("changed")
    expect(page.locator("#choice-state option:checked")).to_have_text("Changed since labeled")
    assert changed.n_tiles() == 3
    expect(page.locator(".tile .file-changed:visible")).to_have_count(3)

    changed.press("1")  # the same class: confirmed
    expect(page.locator(".tile .file-changed:visible")).to_have_count(2)
    changed.press("Backspace")  # cleared
    changed.settle()
    assert left() == [7]
    assert changed.chip(0) == "1 cat"
    assert changed.states() == ["1", "0", "1"]
    assert list(Annotation.objects.order_by("pk").values_list("queue", flat=True))[-2:] == ["confirmation", "all"]

    changed.press("z", "z")  # both are back
    expect(page.locator(".tile .file-changed:visible")).to_have_count(3)
    changed.settle()
    expect(page.locator(".tile .file-changed:visible")).to_have_count(3)
    assert left() == [2, 5, 7]

    changed.press("Home", "2", "1", "1")  # corrected, confirmed, confirmed
    changed.settle()
    assert left() == []
    changed.open("queue=all&state=changed")
    expect(page.locator("#grid")).to_contain_text("no file changed after its image was labeled")


def test_the_detail_pane_says_so_and_its_button_confirms(changed: Bench) -> None:
    page = changed.open("queue=all&state=changed").page
    changed.press("Enter")
    note = page.locator("#side-body .detail-changed")
    expect(note).to_contain_text("The file changed after this decision.")
    note.get_by_role("button", name="Confirm cat").click()
    changed.settle()
    assert left() == [5, 7]
    # Back on the first: the note is gone.
    changed.press("Home")
    expect(page.locator('#side-body #detail[data-row="2"]')).to_be_visible()
    expect(note).to_have_count(0)


def test_on_the_items_own_page(changed: Bench) -> None:
    page = changed.page
    note = page.locator(".detail-changed")
    for row, key, state in ((2, "1", "Now: cat"), (5, "Backspace", "Now: unlabeled")):
        page.goto(f"{changed.address}/d/{changed.dataset.slug}/items/{row}/")
        expect(note).to_be_visible()
        page.keyboard.press(key)
        expect(page.locator(".detail-state")).to_have_text(state)
        expect(note).to_have_count(0)
    assert left() == [7]
    expect(page.locator(".history")).not_to_contain_text("confirmed")
    page.goto(f"{changed.address}/d/{changed.dataset.slug}/items/7/")
    note.get_by_role("button", name="Clear label").click()
    expect(note).to_have_count(0)
    page.goto(f"{changed.address}/d/{changed.dataset.slug}/items/2/")
    expect(page.locator(".history")).to_contain_text("cat (confirmed)")
    assert left() == []


def test_the_keys_dialog_tells_the_key(changed: Bench) -> None:
    page: Page = changed.open().page
    changed.press("?")
    expect(page.locator("#keys")).to_contain_text("Confirm a label after its file changed")
    expect(page.locator("#keys")).to_contain_text("the key of its class")
