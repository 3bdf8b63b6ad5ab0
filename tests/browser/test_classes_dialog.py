"""The list of classes in a real browser: in the workbench's dialog, by keyboard alone."""

import re

from playwright.sync_api import Page, expect

from labeling.models import Item, LabelClass
from tests.browser.bench import Bench
from tests.browser.conftest import Site


def names() -> list[str]:
    return list(LabelClass.objects.active().values_list("name", flat=True))


def test_enter_adds_one_class_after_the_other(site: Site, page: Page) -> None:
    dataset = site.dataset(5, classes=())
    bench = Bench(page, site.address, dataset).open()
    page.get_by_role("button", name="Not now").click()
    bench.press("c")
    field = page.get_by_label("New class")
    for number, name in enumerate(("spiral", "elliptical", "merger"), start=1):
        expect(field).to_be_focused()
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        expect(page.locator(".class-row")).to_have_count(number)
        expect(field).to_have_value("")
    page.keyboard.type("SPIRAL")
    page.keyboard.press("Enter")
    expect(page.locator("#class-add-error")).to_have_text("The class “spiral” already exists. Choose another name.")
    expect(field).to_have_value("SPIRAL")
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).not_to_be_visible()
    # The workbench knows them at once.
    expect(page.locator("#class-pane [data-class]")).to_have_count(3)
    bench.press("2")
    expect(page.locator("#grid .tile").first).to_have_attribute("data-state", "1")
    assert names() == ["spiral", "elliptical", "merger"]


def test_rename_swap_and_reorder_by_keyboard(bench: Bench) -> None:
    page = bench.open().page
    bench.press("c")
    page.get_by_role("button", name="Edit dog").press("Enter")
    name = page.locator("#class-form-name")
    expect(name).to_be_focused()
    name.fill("wolf")
    page.locator("#class-form-key").select_option("1")
    name.press("Enter")
    expect(page.locator("#class-form-key-error")).to_contain_text("Key 1 belongs to “cat”.")
    page.get_by_role("button", name="Swap keys with cat").press("Enter")
    expect(page.get_by_role("button", name="Edit wolf")).to_be_focused()
    assert dict(LabelClass.objects.values_list("name", "key")) == {"wolf": 1, "cat": 2, "bird": 3}

    up = page.get_by_role("button", name="Move bird up")
    up.press("Enter")
    expect(page.locator(".class-row").nth(1)).to_contain_text("bird")
    expect(up).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".class-row").nth(0)).to_contain_text("bird")
    assert names() == ["bird", "cat", "wolf"]


def test_deleting_a_class_in_use_asks_and_moves_the_labels(bench: Bench) -> None:
    page = bench.open().page
    bench.press("1", "1", "1")
    bench.settle()
    expect(page.locator("#class-pane [data-class-count]").first).to_have_text("3")
    bench.press("c")
    page.get_by_label("More for cat").press("Enter")
    page.get_by_role("button", name="Delete cat").press("Enter")
    target = page.locator("#class-delete-target")
    expect(target).to_be_focused()
    expect(page.locator("#class-delete")).to_contain_text("3 labels. Where should they go?")
    page.locator("#class-delete .danger").press("Enter")
    expect(page.locator("#class-delete-error")).to_have_text("Choose where its labels go.")
    target.select_option(label="dog")
    page.locator("#class-delete .danger").press("Enter")
    expect(page.locator(".class-list-message")).to_have_text("Merged “cat” into “dog”: 3 labels moved.")
    assert Item.objects.filter(label__name="dog").count() == 3
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator("#class-pane [data-class]")).to_have_count(2)


def test_the_page_of_its_own_does_the_same(site: Site, page: Page) -> None:
    dataset = site.dataset(3, classes=("cat",))
    page.goto(f"{site.address}/d/{dataset.slug}/classes/")
    page.get_by_label("New class").fill("dog")
    page.keyboard.press("Enter")
    expect(page.locator(".class-row")).to_have_count(2)
    page.get_by_label("More for dog").click()
    page.get_by_role("button", name="Delete dog").click()
    page.locator("#class-delete .danger").click()
    expect(page.locator(".class-row")).to_have_count(1)
    expect(page.get_by_label("New class")).to_be_focused()
    assert names() == ["cat"]


PRESS = """([key, shiftKey]) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", {key, shiftKey, code: "KeyS", bubbles: true, cancelable: true}))"""


def test_a_letter_assigns_its_class_and_the_command_takes_shift(bench: Bench) -> None:
    page = bench.open().page
    bench.press("c")
    page.get_by_role("button", name="Edit dog").press("Enter")
    expect(page.locator("#class-form")).to_contain_text("A free letter is D.")
    page.locator("#class-form-key").select_option("s")
    page.locator("#class-form-name").press("Enter")
    expect(page.get_by_role("button", name="Edit dog")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#class-pane [data-key=s] kbd")).to_have_text("S")
    expect(page.locator(".foot [data-key-of=similar]")).to_have_text("⇧S")
    bench.press("s")
    expect(page.locator("#grid .tile .chip").first).to_contain_text("S")
    expect(page.locator("#grid .tile .chip").first).to_contain_text("dog")
    page.evaluate(PRESS, ["S", False])  # with Caps Lock
    expect(page.locator("#grid .tile .chip").nth(1)).to_contain_text("dog")
    bench.settle()
    assert Item.objects.filter(label__name="dog").count() == 2
    bench.press("?")
    expect(page.locator("#keys-letters")).to_contain_text("dog")
    page.keyboard.press("Escape")
    page.evaluate(PRESS, ["s", True])  # with Caps Lock and Shift; there are no embeddings, which the command says
    expect(page).to_have_url(re.compile("queue=similar"))
