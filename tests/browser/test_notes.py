"""Flags, tags and notes in the workbench and on an item's page, with keys and the mouse."""

from playwright.sync_api import Page, expect

from labeling.models import Item, ItemTag, Note
from labeling.notes.tags import tags_of
from tests.browser.axe import require_accessible
from tests.browser.bench import Bench
from tests.parts import wait_until

FLAG_KEY, TAG_KEY, NOTE_KEY = "Shift+Digit8", "Shift+Digit3", ";"


def test_keys_flag_and_tag_the_selection_and_filters_find_it(bench: Bench, page: Page) -> None:
    bench.open()
    bench.press(FLAG_KEY)
    expect(bench.focused).to_have_attribute("data-flagged", "")
    expect(bench.focused).to_have_attribute("aria-label", "image0000.png, unlabeled, flagged")
    wait_until(ItemTag.objects.exists, why="the flag to be saved")
    expect(page.locator('#queues [name="flagged"]')).to_be_visible()
    bench.press("Shift+ArrowRight", "Shift+ArrowRight", FLAG_KEY)
    expect(page.locator("#grid [data-flagged]")).to_have_count(3)
    wait_until(lambda: ItemTag.objects.count() == 3, why="the flags to be saved")
    bench.press(TAG_KEY)
    page.keyboard.type("ring galaxy")
    bench.press("Enter")
    expect(page.locator('#grid [data-tags="ring galaxy"]')).to_have_count(3)
    wait_until(lambda: ItemTag.objects.count() == 6, why="the tags to be saved")
    bench.press("Escape", "End", TAG_KEY)
    page.keyboard.type("ring")
    expect(page.locator("#tag-list li")).to_have_count(2)
    bench.press("Enter")
    expect(bench.focused).to_have_attribute("data-tags", "ring galaxy")
    bench.press(TAG_KEY, "Enter")
    expect(page.locator('#grid [data-tags="ring galaxy"]')).to_have_count(3)
    bench.press("Home", FLAG_KEY)
    expect(page.locator("#grid [data-flagged]")).to_have_count(2)
    page.locator("#choice-tag").select_option("ring galaxy")
    expect(bench.tiles).to_have_count(3)
    page.get_by_role("checkbox", name="Flagged").check()
    expect(bench.tiles).to_have_count(2)
    assert "flagged=1" in page.url
    bench.press("1")
    bench.settle()
    expect(page.locator("#grid [data-flagged]")).to_have_count(2)
    require_accessible(page)


def test_a_change_that_fails_is_taken_back(bench: Bench, page: Page) -> None:
    bench.open()
    page.route("**/tags/", lambda route: route.abort())
    bench.press(FLAG_KEY)
    expect(bench.toasts).to_contain_text("The images are not changed")
    expect(page.locator("#grid [data-flagged]")).to_have_count(0)


def test_a_note_is_written_in_the_detail_and_never_lost(bench: Bench, page: Page) -> None:
    bench.open()
    bench.press(NOTE_KEY)
    field = page.locator("#side-body textarea")
    expect(field).to_be_focused()
    page.keyboard.type("A bar?")
    bench.press("Escape")
    expect(bench.focused).to_be_focused()
    bench.press("2")
    bench.settle()
    expect(page.locator("#side-body .detail-title")).to_have_text("image0001.png")
    expect(field).to_have_value("")
    page.reload()
    bench.ready()
    bench.press("Home", NOTE_KEY)
    expect(page.locator("#side-body .detail-title")).to_have_text("image0001.png")
    item = Item.objects.get(row=0)
    page.goto(f"{bench.url}items/0/")
    own = page.locator(f"#note-{item.pk}")
    expect(own).to_have_value("A bar?")
    page.route("**/notes/", lambda route: route.abort())
    page.get_by_role("button", name="Add note").click()
    expect(page.locator("#toasts")).to_contain_text("cannot be reached")
    expect(own).to_have_value("A bar?")
    page.unroute("**/notes/")
    own.press("Control+Enter")
    expect(page.locator(".note-text")).to_have_text("A bar?")
    expect(own).to_have_value("")
    assert Note.objects.get().text == "A bar?"
    page.reload()
    expect(own).to_have_value("")
    bench.open("queue=all&noted=1")
    expect(bench.tiles).to_have_count(1)
    expect(bench.focused).to_have_attribute("data-noted", "")


def test_the_detail_flags_tags_and_deletes(bench: Bench, page: Page) -> None:
    bench.open()
    bench.press("Enter")
    panel = page.locator("#side-body .item-notes")
    panel.get_by_role("button", name="Flag").click()
    expect(panel.get_by_role("button", name="Flagged")).to_have_attribute("aria-pressed", "true")
    expect(bench.focused).to_have_attribute("data-flagged", "")
    panel.get_by_label("Add a tag").fill("odd")
    panel.get_by_label("Add a tag").press("Enter")
    expect(bench.focused).to_have_attribute("data-tags", "odd")
    panel.get_by_label("Add a tag").fill("a;b")
    panel.get_by_label("Add a tag").press("Enter")
    expect(panel.get_by_role("alert")).to_contain_text("no comma, semicolon or bar")
    panel.get_by_label("Add a note").fill("Look again")
    panel.get_by_role("button", name="Add note").click()
    expect(panel.locator(".note-text")).to_have_text("Look again")
    expect(bench.focused).to_have_attribute("data-noted", "")
    require_accessible(page)
    panel.get_by_role("button", name="Remove the tag odd").click()
    expect(bench.focused).not_to_have_attribute("data-tags", "odd")
    page.on("dialog", lambda dialog: dialog.accept())
    panel.get_by_role("button", name="Delete the note").click()
    expect(panel.locator(".note-text")).to_have_count(0)
    assert tags_of([Item.objects.get(row=0).pk]) == {Item.objects.get(row=0).pk: ["flagged"]}
